"""The encoder file: what a run hands to the world, and how to get it back.

`encoder.safetensors` holds `backbone.*`, perhaps `neck.*`, and one JSON header that decides architecture, input size and
normalisation of every later program.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.models.backbone import create_backbone, num_features
from upreid.runtime.files import write_aside
from upreid.types import Preprocess

FORMAT = 1
KEY = "upreid"


@dataclass(frozen=True, kw_only=True)
class EncoderHeader:
    """What an encoder file says about itself."""

    backbone: str
    channels: int | None
    last_stride: int | None
    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    neck: bool = False
    """Whether features pass a BNNeck."""
    recipe: str = ""
    recipe_hash: str = ""
    step: int = 0
    licence_note: str = ""
    format: int = FORMAT


class Encoder(nn.Module):
    """Normalised images [batch, 3, height, width] to features [batch, dim], not scaled to unit length."""

    def __init__(self, backbone: nn.Module, header: EncoderHeader, neck: nn.BatchNorm1d | None = None) -> None:
        super().__init__()
        self.backbone, self.header, self.neck = backbone, header, neck

    @property
    def preprocess(self) -> Preprocess:
        """How images become input."""
        header = self.header
        return Preprocess(height=header.height, width=header.width, mean=header.mean, std=header.std)

    def before_neck(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features of the backbone."""
        return self.backbone(images)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Features after the neck, where there is one."""
        features = self.before_neck(images)
        return features if self.neck is None else self.neck(features)


def save_encoder(path: Path, backbone: nn.Module, header: EncoderHeader, neck: nn.BatchNorm1d | None = None) -> None:
    """Write an encoder file; same weights and header, same bytes. A crash leaves an older file whole."""
    parts = nn.ModuleDict({"backbone": backbone} if neck is None else {"backbone": backbone, "neck": neck})
    tensors = {name: plain(tensor) for name, tensor in parts.state_dict().items()}
    with write_aside(path) as aside:
        aside.write_bytes(save(tensors, metadata={KEY: json.dumps(asdict(header), sort_keys=True)}))


def plain(tensor: Tensor) -> Tensor:
    """Detach, bring to the CPU, and to single precision where it is a floating number."""
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensor.float() if tensor.is_floating_point() else tensor


def load_encoder(path: Path | str, device: torch.device | str = "cpu") -> Encoder:
    """Rebuild an encoder in evaluation mode.

    Raises InputError where the file is missing, cut short, not ours, of a later format, or does not fit its own header
    tensor for tensor.
    """
    path = Path(path)
    header, tensors = read_file(path)
    backbone = create_backbone(
        header.backbone,
        height=header.height,
        width=header.width,
        channels=header.channels,
        last_stride=header.last_stride,
    )
    neck = nn.BatchNorm1d(num_features(backbone)) if header.neck else None
    encoder = Encoder(backbone, header, neck)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} does not fit its own header ({header.backbone}): {reason}") from error
    return encoder.to(device).eval()


def read_file(path: Path) -> tuple[EncoderHeader, dict[str, Tensor]]:
    """Read header and tensors of an encoder file."""
    if not path.is_file():
        raise InputError(f"no encoder file {path}; give the encoder.safetensors of a run")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); it is cut short or not a safetensors file") from error
    if KEY not in metadata:
        raise InputError(f"{path} has no upreid header; give an encoder.safetensors written by upreid")
    return read_header(path, metadata[KEY]), tensors


def read_header(path: Path, text: str) -> EncoderHeader:
    """Parse the header; InputError where it is of another format."""
    known = {field.name for field in fields(EncoderHeader)}
    try:
        values: dict[str, Any] = json.loads(text)
        if values["format"] != FORMAT or set(values) != known:
            raise InputError(
                f"{path} has a header of format {values['format']}, this version reads {FORMAT}; update upreid"
            )
        values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return EncoderHeader(**values)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} has a header that cannot be read ({error})") from error
