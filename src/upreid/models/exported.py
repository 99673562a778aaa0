"""An encoder as one file that another program loads: weights inside, height and width fixed, the batch free.

What comes in differs from program to program, and a wrong guess ruins the features without a word. So the normalisation belongs
to the contract: it is inside the graph, or the graph turns another program's normalisation into the encoder's own. It stays an
operation of its own before the network: folded into a padded convolution it would be wrong at the border.
"""

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.errors import InputError, RunError
from upreid.models import onnx_file, program_file
from upreid.models.encoder import Encoder
from upreid.models.foreign.statistics import IMAGENET
from upreid.models.heads.transreid import TransReID, require_vit
from upreid.runtime.files import sha256, write_aside, write_text
from upreid.types import Neck

BATCHES = (1, 2, 7)
"""Batches in which a file is compared with PyTorch; an example of one image would freeze the batch."""
Run = Callable[[Float[Tensor, "batch 3 height width"]], Float[Tensor, "batch dim"]]
"""A file that is loaded: from what its program gives it to features."""
LEAST_COSINE = 0.999
"""Cosine of a file's features and PyTorch's below which the file is not written."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a program gives a graph, and what it calls input and output."""

    name: str
    given: Literal["pixels", "imagenet", "own"]
    """Pixels from 0 to 1; pixels normalised by ImageNet's statistics; or by the encoder's own."""
    image_name: str = "images"
    output_name: str = "embeddings"
    suffix: str = ".onnx"
    """What the file's name ends in: an ONNX file, or a program of torch.export."""
    misleading: tuple[str, ...] = ()
    """Words in a file's name from which the program would guess another network and size."""

    @property
    def description(self) -> str:
        """Say what the graph takes."""
        return {
            "pixels": "RGB from 0 to 1; the encoder's normalisation is inside",
            "imagenet": "RGB normalised by ImageNet's mean and std; the graph turns that into the encoder's own",
            "own": "RGB normalised by the encoder's own mean and std, which stand in the metadata",
        }[self.given]


CONTRACTS = {
    "plain": Contract(name="plain", given="pixels"),
    "plain-normalised": Contract(name="plain-normalised", given="own"),
    "boxmot": Contract(name="boxmot", given="imagenet", output_name="output0", misleading=("veri", "lmbn", "hacnn")),
    "ultralytics": Contract(name="ultralytics", given="pixels", output_name="output0"),
    "program": Contract(name="program", given="pixels", suffix=".pt2"),
}
"""Word of `--for` -> contract, as of BoxMOT 25.0, Ultralytics 8.4 and torch 2.6 to 2.15."""
APPEARANCE: dict[str, Callable[[float], float]] = {"boxmot": lambda d: d, "ultralytics": lambda d: 1 - d / 2}
"""Name of a contract -> its tracker's `appearance_thresh` for a cosine distance: the distance, or the least similarity."""
Cameras = Literal["left-out", "mean"]
"""What becomes of an embedding of cameras: it is left out, or the mean over the cameras of the training stands in for all."""


class Graph(nn.Module):
    """From a program's input to features [batch, dim] in single precision, not scaled to unit length."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        encoder: Encoder,
        contract: Contract,
        *,
        neck: Neck | None = None,
        half: bool = False,
        cameras: Cameras = "left-out",
    ) -> None:
        super().__init__()
        self.encoder, self.half_inside = without_cameras(encoder, cameras), half
        self.features = self.encoder.at_neck(neck)
        own = encoder.header.mean, encoder.header.std
        given = {"pixels": ((0.0,) * 3, (1.0,) * 3), "imagenet": (IMAGENET.mean, IMAGENET.std), "own": own}
        (own_mean, own_std), (mean, std) = (
            [torch.tensor(values).view(3, 1, 1) for values in pair] for pair in (own, given[contract.given])
        )
        self.register_buffer("scale", std / own_std)
        self.register_buffer("shift", (mean - own_mean) / own_std)
        if half:
            self.encoder.half()

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Normalise and encode."""
        images = images * self.scale + self.shift
        if self.half_inside:
            images = images.half()
        return self.features(images).float()


def without_cameras(encoder: Encoder, cameras: Cameras = "left-out") -> Encoder:
    """Copy an encoder in evaluation mode as one that knows no cameras.

    The mean of the embeddings of cameras is added to all tokens, as the embeddings are, and becomes part of the positions.
    """
    copied = copy.deepcopy(encoder).cpu().eval()
    if isinstance(head := copied.head, TransReID) and head.camera_weight:
        if cameras == "mean":
            vit, mean = require_vit(copied.backbone), head.camera_weight * head.camera_embedding.mean(dim=0)
            for tokens in (vit.pos_embed, vit.cls_token if vit.no_embed_class else None):  # else it has a position too
                if tokens is not None:
                    tokens.data += mean.detach()
        head.camera_weight = 0.0
    return copied


def embeds_cameras(encoder: Encoder) -> bool:
    """Whether features of an encoder depend on the camera."""
    return bool(getattr(encoder.head, "camera_weight", 0.0))


def check_name(path: Path, contract: Contract) -> None:
    """Refuse a name from which the program would guess something else; InputError."""
    if path.suffix != contract.suffix:
        raise InputError(f"{path}: the name must end in {contract.suffix} with --for {contract.name}")
    if words := [word for word in contract.misleading if word in path.name.lower()]:
        raise InputError(
            f"{path.name} holds '{words[0]}', from which {contract.name} guesses another network and input size; "
            "give another name"
        )


def write_exported(
    path: Path,
    encoder: Encoder,
    contract: Contract,
    *,
    neck: Neck | None = None,
    half: bool = False,
    cameras: Cameras = "left-out",
) -> dict[str, Any]:
    """Write an encoder for a program, and return how far the file's features are from PyTorch's in single precision, by batch.

    Raises InputError for a name that misleads the program, and where the extra `export` is missing for an ONNX file; RunError
    where the features differ: then nothing is written.
    """
    check_name(path, contract)
    if cameras == "mean" and not embeds_cameras(encoder):
        raise InputError("--cameras mean: this encoder embeds no cameras; leave it out")
    header = encoder.header
    how: dict[str, Any] = {"neck": neck, "cameras": cameras}
    graph = Graph(encoder, contract, **how, half=half).eval()
    kind = onnx_file if contract.suffix == ".onnx" else program_file
    kind.require_export()
    names = contract.image_name, contract.output_name
    with write_aside(path) as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            kind.save(aside, graph, torch.rand(2, 3, header.height, header.width), *names)
        in_single_precision = Graph(encoder, contract, **how).eval()
        parity = measure_parity(kind.load(aside, *names), in_single_precision, header.height, header.width)
        check_parity(path, parity, half=half)
        props = facts(encoder, contract, parity, half=half, **how)
        kind.describe(aside, {name: text(value) for name, value in props.items()})
    if contract.name == "boxmot":
        write_sidecar(path, encoder, appearance_thresh(encoder, contract, neck))
    return parity


def misfit(encoder: Encoder, neck: Neck | None) -> str:
    """Say why the encoder's calibration is not one for what a tracker computes; an empty text where it is."""
    calibration = encoder.header.calibration
    if calibration is None:
        return "the encoder is not calibrated (upreid calibrate)"
    wrong = {
        "its calibration is of Euclidean distances, and trackers compare by cosine": calibration.metric != "cosine",
        f"its calibration is of features {calibration.neck} the neck": calibration.neck
        != (neck or encoder.header.neck),
        "its calibration is of means over an image and its mirror image": calibration.flip,
        "its calibration is of features that know the camera": embeds_cameras(encoder),
    }
    return next((reason for reason, is_so in wrong.items() if is_so), "")


def appearance_thresh(encoder: Encoder, contract: Contract, neck: Neck | None) -> float | None:
    """Return the tracker's setting that is the encoder's threshold; None where there is none."""
    calibration = encoder.header.calibration
    if calibration is None or misfit(encoder, neck) or contract.name not in APPEARANCE:
        return None
    return round(APPEARANCE[contract.name](calibration.image.distance), 4)


def facts(
    encoder: Encoder,
    contract: Contract,
    parity: Mapping[str, Any],
    *,
    neck: Neck | None,
    half: bool,
    cameras: Cameras,
) -> dict[str, Any]:
    """Return what the file says of itself."""
    header, calibration = encoder.header, encoder.header.calibration
    found = appearance_thresh(encoder, contract, neck)
    return {
        "producer": "upreid",
        "for": contract.name,
        "input": contract.description,
        "backbone": header.backbone,
        "height": header.height,
        "width": header.width,
        "mean": list(header.mean),
        "std": list(header.std),
        "interpolation": header.interpolation,
        "channel_order": "RGB",
        "neck": neck or header.neck,
        "l2_normalised": False,
        "half": half,
        "cameras": cameras.replace("-", " ") if embeds_cameras(encoder) else "none",
        "trained_on": header.trained_on,
        "parity": dict(parity),
        **({"calibration": asdict(calibration)} if calibration and not misfit(encoder, neck) else {}),
        **({} if found is None else {"appearance_thresh": found}),
    }


def text(value: Any) -> str:
    """Write a fact: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def measure_parity(run: Run, graph: Graph, height: int, width: int) -> dict[str, Any]:
    """Compare a file with PyTorch on noise, in batches of several sizes."""
    numbers, found = torch.Generator().manual_seed(0), {}
    for batch in BATCHES:
        images = torch.rand(batch, 3, height, width, generator=numbers)
        with torch.no_grad():
            ours, theirs = graph(images).float(), run(images).float()
        found[str(batch)] = {
            "largest_difference": float((ours - theirs).abs().max() / ours.abs().max()),
            "smallest_cosine": float(F.cosine_similarity(ours, theirs).min()),
        }
    return found


def check_parity(path: Path, parity: Mapping[str, Any], *, half: bool) -> None:
    """Refuse a file whose features are not the encoder's."""
    worst = min(found["smallest_cosine"] for found in parity.values())
    if not worst >= LEAST_COSINE:
        remedy = "export without --half" if half else "report it, with this line and the encoder's header"
        raise RunError(
            f"{path} would compute other features than the encoder (cosine {worst:.4f}), and was not written; {remedy}"
        )


def sidecar(path: Path) -> Path:
    """Name the file beside a model that BoxMOT reads."""
    return path.with_name(f"{path.name}.metadata.json")


def write_sidecar(path: Path, encoder: Encoder, appearance: float | None) -> None:
    """Write what BoxMOT reads beside a file, so that it guesses nothing from the name."""
    header = encoder.header
    digest = sha256(path)
    about = {
        "schema_version": 1,
        "model_name": path.stem,
        "num_classes": 0,
        "preprocess": "resize",
        "img_size": [header.height, header.width],
        "model_kwargs": {},
        "dynamic_batch": True,
        "artifact_sha256": digest,
        "export_fingerprint": digest[:16],
        **({} if appearance is None else {"appearance_thresh": appearance}),
    }
    write_text(sidecar(path), json.dumps(about, indent=2) + "\n")
