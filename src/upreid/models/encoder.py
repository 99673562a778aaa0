"""Encoder files: what a run leaves for other programs, and how an encoder is rebuilt from one.

`encoder.safetensors` holds `backbone.*`, perhaps `head.*`, and a header in JSON (`models/header.py`).
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from upreid.errors import DataError, InputError, first_line
from upreid.models import calibration as calibrations
from upreid.models.backbone import create_backbone, feature_size
from upreid.models.file_kinds import SAFETENSORS, kind_of
from upreid.models.header import EncoderHeader, read_header
from upreid.models.heads import Parts, create_head
from upreid.models.heads.parts import Head, joined
from upreid.runtime.files import write_aside
from upreid.types import Neck, Preprocess

KEY = "upreid"
ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder file in the folder of a run."""
MODEL_FILE = "model.safetensors"
"""Name of the encoder file in a model folder, as `upreid convert --to folder` writes it."""


class Encoder(nn.Module):
    """A backbone, perhaps with a head, that turns normalised images into features, which are not scaled to unit length.

    `cameras`, the camera of each image, matters only to heads that embed it.
    """

    def __init__(self, backbone: nn.Module, header: EncoderHeader, head: Head | None = None) -> None:
        super().__init__()
        self.backbone, self.header, self.head = backbone, header, head

    @property
    def preprocess(self) -> Preprocess:
        """Return how an image becomes input of this encoder."""
        header = self.header
        size = {"height": header.height, "width": header.width}
        return Preprocess(**size, mean=header.mean, std=header.std, interpolation=header.interpolation)

    def parts(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None = None
    ) -> Parts:
        """Return the features of each part before and after its neck; without a head both are the backbone's."""
        if self.head is None:
            features = self.backbone(images)
            return Parts((features,), (features,))
        return self.head(self.backbone, images, cameras)

    def before_neck(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return the features before the necks, with the parts joined."""
        return joined(self.parts(images, cameras).before, self.feature_weights)

    def after_neck(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return the features after the necks, with the parts joined; without a head the backbone's features."""
        return joined(self.parts(images, cameras).after, self.feature_weights)

    def at_neck(self, neck: Neck | None = None) -> Callable[..., Float[Tensor, "batch dim"]]:
        """Return the function that gives the features on a side of the necks, by default the header's."""
        return self.before_neck if (neck or self.header.neck) == "before" else self.after_neck

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], cameras: Int64[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return the features on the header's side of the necks, with the parts joined."""
        return self.at_neck()(images, cameras)

    @property
    def feature_weights(self) -> tuple[float, ...]:
        """Return the weight of each part in the joined feature."""
        return (1.0,) if self.head is None else self.head.feature_weights


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder file. The same weights and header give the same bytes, and a crash leaves an older file whole."""
    tensors = {name: plain(tensor) for name, tensor in encoder.state_dict().items()}
    with write_aside(path) as aside:
        aside.write_bytes(save(tensors, metadata={KEY: json.dumps(encoder.header.as_dict(), sort_keys=True)}))


def plain(tensor: Tensor) -> Tensor:
    """Return a detached copy on the CPU, in single precision where the tensor holds floating-point numbers."""
    tensor = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensor.float() if tensor.is_floating_point() else tensor


def load_encoder(path: Path | str, device: torch.device | str = "cpu") -> Encoder:
    """Rebuild an encoder, in evaluation mode, from its file or from the folder of its run.

    Raises InputError where there is no such file; DataError where it is cut short, not ours, of a later format, does not
    fit its own header tensor for tensor, or holds weights that are not finite.
    """
    path = encoder_file(Path(path))
    return rebuild(path, *read_file(path), device=device)


def encoder_file(path: Path) -> Path:
    """Return the encoder file that a path names: the file itself, or the one in the folder of a run."""
    if not path.is_dir():
        return path
    for name in (ENCODER_FILE, MODEL_FILE):
        if (path / name).is_file():
            return path / name
    is_run = (path / "config.json").is_file()
    why = (
        "its run was stopped before its first save; resume it first"
        if is_run
        else "give the folder of a run, or a file"
    )
    raise InputError(f"no {ENCODER_FILE} in the folder {path}: {why}")


def rebuild(
    path: Path, header: EncoderHeader, tensors: dict[str, Tensor], *, device: torch.device | str = "cpu"
) -> Encoder:
    """Rebuild an encoder, in evaluation mode, from what `read_file` returned; raise DataError where header and tensors differ."""
    try:
        with torch.device("meta"):  # shapes without memory: a header may lie, and the file's tensors are all there is
            skeleton(header).load_state_dict({name: tensor.to("meta") for name, tensor in tensors.items()})
    except (InputError, RuntimeError) as error:  # of create_backbone and create_head; of load_state_dict
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{path} does not fit its own header ({header.backbone[:40]}): {reason}") from error
    encoder = skeleton(header)
    encoder.load_state_dict(tensors)
    return encoder.to(device).eval()


def skeleton(header: EncoderHeader) -> Encoder:
    """Make the encoder that a header describes, with random weights."""
    backbone = create_backbone(
        header.backbone,
        height=header.height,
        width=header.width,
        channels=header.channels,
        last_stride=header.last_stride,
        patch_stride=header.patch_stride,
        attention_heads=header.attention_heads,
    )
    return Encoder(backbone, header, create_head(backbone, header.head) if header.head else None)


def fit_to_header(encoder: Encoder) -> None:
    """Fit the backbone, in place, to the size of input that its header says: a ViT resamples its position embedding.

    Raises InputError where other weights depend on that size too, so that a file of this encoder could not be read back.
    """
    header, backbone = encoder.header, encoder.backbone
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in skeleton(header).state_dict().items()}
    strange = [name for name, tensor in encoder.state_dict().items() if wanted.get(name) != tensor.shape]
    strange = [name for name in strange if name != "backbone.pos_embed"]
    if strange:
        raise InputError(
            f"backbone '{header.backbone}' has {len(strange)} tensors of another shape for inputs of "
            f"{header.height}x{header.width} than for the size that it was made for ({', '.join(strange[:5])}); keep that size"
        )
    if isinstance(fit := getattr(backbone, "set_input_size", None), Callable):
        fit(img_size=(header.height, header.width))
    feature_size(backbone, header.backbone, header.height, header.width)


def calibrate_file(path: Path, calibration: calibrations.Calibration) -> None:
    """Write a calibration into the header of an encoder file; its tensors keep their bytes, and a crash leaves it whole."""
    calibrations.write_calibration(path, KEY, calibration)


def encoder_sha256(path: Path) -> str:
    """Return the hash that says which encoder a file holds, calibrated or not."""
    return calibrations.encoder_sha256(path, KEY)


def is_encoder_file(path: Path) -> bool:
    """Return whether a file has the header of an encoder file."""
    try:
        with safe_open(path, framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def read_file(path: Path) -> tuple[EncoderHeader, dict[str, Tensor]]:
    """Read the header and the tensors of an encoder file."""
    if not path.is_file():
        raise InputError(f"no encoder file {path}; give the {ENCODER_FILE} of a run, or its folder")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(no_encoder(path, first_line(error))) from error
    if KEY not in metadata:
        raise DataError(f"{path} has no upreid header, so it is a file of another program; {INSTEAD}")
    strange = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if strange:
        raise DataError(
            f"{path} holds NaN or infinity in {len(strange)} of its {len(tensors)} tensors ({', '.join(strange[:5])}); its "
            "training diverged: give another encoder"
        )
    header = read_header(path, metadata[KEY])
    if tensors and not any(name.startswith("backbone.") for name in tensors):  # of a model folder that timm reads too
        tensors = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    return header, tensors


INSTEAD = f"give the {ENCODER_FILE} of a run; a checkpoint of another program becomes one by `upreid convert`"


def no_encoder(path: Path, reason: str) -> str:
    """Return the message for a file that cannot be read as an encoder file: what it is, and what to give instead."""
    kind = kind_of(path)
    if kind in ("", SAFETENSORS):
        return f"{path} cannot be read ({reason}); it is cut short or not a safetensors file"
    return f"{path} is {kind}, and no encoder file; {INSTEAD}"
