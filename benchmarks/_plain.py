"""The same steps as a paper's pseudo-code has them, and MoCo from lightly's building blocks: what ours is measured against."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.config.pretrain import MocoV2Config
from upreid.models.backbone import create_backbone, num_features
from upreid.types import Views

Work = Callable[[], object]
Autocast = Callable[[], AbstractContextManager[object]]


class Plain:
    """Encoders as modules, a Python loop for the momentum copy, one loss after the other."""

    def __init__(self, config: MocoV2Config, batch: Views, autocast: Autocast) -> None:
        self.config, self.batch, self.autocast = config, batch, autocast
        self.encoder = encoder(config, batch["query"])
        self.key_encoder = deepcopy(self.encoder)
        device, dim = batch["query"].device, config.model.embed_dim
        self.queue, self.originals = (
            F.normalize(torch.randn(dim, config.contrast.queue, device=device), dim=0) for _ in range(2)
        )
        self.optimiser = torch.optim.SGD(self.encoder.parameters(), lr=0.01, momentum=0.9)

    def step(self) -> None:
        """Do a step of MoCo v2, and of both I2 terms where the batch has their views."""
        with self.autocast():
            query = embed(self.encoder, self.batch["query"])
            with torch.no_grad():
                key = embed(self.key_encoder, self.batch["key"])
            loss = contrast(query, key, self.queue, self.config.contrast.temperature)
            original = None
            if "original" in self.batch:
                with torch.no_grad():
                    original = embed(self.key_encoder, self.batch["original"])
                consistency = contrast(query, original, self.originals, self.config.consistency.temperature)
                loss = loss + self.config.consistency.weight * consistency
            if "query_patches" in self.batch:
                patches = self.patches(self.encoder, self.batch["query_patches"])
                with torch.no_grad():
                    key_patches = self.patches(self.key_encoder, self.batch["key_patches"])
                loss = loss + self.config.intrinsic.weight * self.intrinsic(patches, key_patches)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        for theirs, ours in zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True):
            theirs.data.mul_(0.99).add_(ours.data, alpha=0.01)
        self.queue[:, : len(key)] = key.T.float()
        if original is not None:
            self.originals[:, : len(original)] = original.T.float()

    def patches(self, parts: nn.ModuleDict, pictures: Tensor) -> Tensor:
        """Embed patches by themselves, or the parts of each picture's last feature map."""
        backbone: Any = parts["backbone"]
        wanted = self.config.intrinsic
        if wanted.source == "pixels":
            features = backbone(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        else:
            maps = backbone.forward_features(pictures.flatten(0, 1))
            if maps.ndim == 3:  # tokens of a transformer
                maps = maps[:, backbone.num_prefix_tokens :].mT.unflatten(2, backbone.patch_embed.grid_size)
            features = F.adaptive_avg_pool2d(maps, (wanted.rows, wanted.columns)).flatten(2).mT
        return F.normalize(parts["patch"](features).float(), dim=2)

    def intrinsic(self, query: Tensor, key: Tensor) -> Tensor:
        """Compute reading i-a: contrast with the other patches of the image."""
        images, patches = query.shape[:2]
        logits = torch.einsum("bmd,bnd->bmn", query, key).flatten(0, 1) / self.config.intrinsic.temperature
        return F.cross_entropy(logits, torch.arange(patches, device=query.device).repeat(images))


def encoder(config: MocoV2Config, like: Tensor) -> nn.ModuleDict:
    """Make a timm backbone and MLP heads, with nothing of ours in them."""
    wanted, (height, width) = config.model, like.shape[2:]
    name, channels, last_stride = wanted.backbone, wanted.channels, wanted.last_stride
    backbone = create_backbone(name, height=height, width=width, channels=channels, last_stride=last_stride)
    dim = num_features(backbone)
    heads = [nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, wanted.embed_dim)) for _ in range(2)]
    parts = nn.ModuleDict({"backbone": backbone, "image": heads[0], "patch": heads[1]}).to(like.device)
    return parts.to(memory_format=torch.channels_last) if config.train.channels_last else parts  # pyright: ignore


def embed(parts: nn.ModuleDict, images: Tensor) -> Tensor:
    """Embed images."""
    return F.normalize(parts["image"](parts["backbone"](images)).float(), dim=1)


def contrast(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE against a queue."""
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue], dim=1)
    return F.cross_entropy(logits / temperature, first(logits))


def first(logits: Tensor) -> Tensor:
    """Return the labels: the right answer is in the first column."""
    return torch.zeros(len(logits), dtype=torch.long, device=logits.device)


def lightly_moco(config: MocoV2Config, batch: Views, autocast: Autocast) -> Work | None:
    """Return MoCo v2's step as in lightly's example, or None where lightly is not installed (`pip install --group bench`)."""
    try:
        from lightly.loss import NTXentLoss  # pyright: ignore[reportMissingImports]
        from lightly.models.modules.heads import MoCoProjectionHead  # pyright: ignore[reportMissingImports]
        from lightly.models.utils import (  # pyright: ignore[reportMissingImports]
            deactivate_requires_grad,
            update_momentum,
        )
    except ImportError:
        return None
    backbone = encoder(config, batch["query"])["backbone"]
    dim, device = num_features(backbone), batch["query"].device
    model = nn.Sequential(backbone, MoCoProjectionHead(dim, dim, config.model.embed_dim)).to(device)
    momentum_model = deepcopy(model)
    deactivate_requires_grad(momentum_model)
    criterion = NTXentLoss(
        temperature=config.contrast.temperature, memory_bank_size=(config.contrast.queue, config.model.embed_dim)
    ).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        update_momentum(model, momentum_model, m=0.99)
        with autocast():
            query = model(batch["query"])
            with torch.no_grad():
                key = momentum_model(batch["key"])
            loss = criterion(query, key)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step
