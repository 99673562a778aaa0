"""Checkpoints as others write them, around real timm models with random weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from upreid.models.backbone import create_backbone


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def trained(name: str, seed: int, height: int = 64, width: int = 32) -> nn.Module:
    """A backbone whose batch normalisation has seen images, so that its statistics matter too."""
    torch.manual_seed(seed)
    backbone = create_backbone(name, height=height, width=width)
    with torch.no_grad():
        backbone(torch.randn(4, 3, height, width))
    return backbone.eval()


@pytest.fixture(scope="session")
def resnet() -> nn.Module:
    return trained("resnet18", seed=1)


@pytest.fixture(scope="session")
def momentum_resnet() -> nn.Module:
    return trained("resnet18", seed=2)


@pytest.fixture(scope="session")
def vit() -> nn.Module:
    backbone = trained("vit_tiny_patch16_224", seed=3, height=224, width=224)
    nn.init.normal_(backbone.pos_embed)
    return backbone


@pytest.fixture
def moco(resnet: nn.Module, momentum_resnet: nn.Module) -> dict[str, object]:
    """What the training program of LUPerson and MoCo v2 saves."""
    head = {"fc.0.weight": torch.zeros(8, 8), "fc.0.bias": torch.zeros(8)}
    head |= {"fc.2.weight": torch.zeros(4, 8), "fc.2.bias": torch.zeros(4)}
    tensors = prefixed("module.encoder_q.", resnet.state_dict() | head)
    tensors |= prefixed("module.encoder_k.", momentum_resnet.state_dict() | head)
    tensors |= {"module.queue": torch.zeros(4, 16), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    optimizer = {
        "state": {0: {"momentum_buffer": torch.zeros(64, 3, 7, 7)}},
        "param_groups": [{"lr": 0.3, "params": [0]}],
    }
    return {"epoch": 200, "arch": "resnet18", "state_dict": tensors, "optimizer": optimizer}


@pytest.fixture
def save(tmp_path: Path):
    def write(content: object, name: str = "checkpoint.pth", **options: bool) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return write
