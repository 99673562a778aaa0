"""An encoder as one ONNX file that a tracker loads: weights inside, height and width fixed, the batch free.

What comes in differs from program to program, and a wrong guess ruins the features without a word. So the normalisation belongs
to the contract: it is inside the graph, or the graph turns another program's normalisation into the encoder's own. It stays an
operation of its own before the network: folded into a padded convolution it would be wrong at the border.
"""

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.errors import InputError, RunError
from upreid.models.encoder import Encoder
from upreid.models.foreign.statistics import IMAGENET
from upreid.runtime.files import sha256, write_aside, write_text
from upreid.types import Neck

BATCHES = (1, 2, 7)
"""Batches in which a file is compared with PyTorch; an example of one image would freeze the batch."""
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
}
"""Word of `--for` -> contract, as of BoxMOT 25.0 and Ultralytics 8.4."""


class Graph(nn.Module):
    """From a program's input to features [batch, dim] in single precision, not scaled to unit length."""

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, contract: Contract, *, neck: Neck | None = None, half: bool = False) -> None:
        super().__init__()
        self.encoder, self.half_inside = without_cameras(encoder), half
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


def without_cameras(encoder: Encoder) -> Encoder:
    """Copy an encoder in evaluation mode; an embedding of cameras is left out, because trackers know none."""
    copied = copy.deepcopy(encoder).cpu().eval()
    if embeds_cameras(encoder):
        copied.head.camera_weight = 0.0  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    return copied


def embeds_cameras(encoder: Encoder) -> bool:
    """Whether features of an encoder depend on the camera."""
    return bool(getattr(encoder.head, "camera_weight", 0.0))


def check_name(path: Path, contract: Contract) -> None:
    """Refuse a name from which the program would guess something else; InputError."""
    if path.suffix != ".onnx":
        raise InputError(f"{path}: the name must end in .onnx")
    if words := [word for word in contract.misleading if word in path.name.lower()]:
        raise InputError(
            f"{path.name} holds '{words[0]}', from which {contract.name} guesses another network and input size; "
            "give another name"
        )


def write_onnx(
    path: Path, encoder: Encoder, contract: Contract, *, neck: Neck | None = None, half: bool = False
) -> dict[str, Any]:
    """Write an encoder for a program, and return how far the file's features are from PyTorch's in single precision, by batch.

    Raises InputError for a name that misleads the program, and where the extra `export` is not installed; RunError where the
    features differ: then nothing is written.
    """
    check_name(path, contract)
    require_export()
    import onnx

    header = encoder.header
    graph = Graph(encoder, contract, neck=neck, half=half).eval()
    with write_aside(path) as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                graph,
                (torch.rand(2, 3, header.height, header.width),),
                dynamo=True,
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
                input_names=[contract.image_name],
                output_names=[contract.output_name],
                verbose=False,
            )
        assert program is not None
        program.save(str(aside), external_data=False)
        parity = measure_parity(
            aside, Graph(encoder, contract, neck=neck).eval(), contract, header.height, header.width
        )
        check_parity(path, parity, half=half)
        model = onnx.load(str(aside))
        props = facts(encoder, contract, neck, half, parity)
        onnx.helper.set_model_props(model, {name: text(value) for name, value in props.items()})
        onnx.save(model, str(aside))
    if contract.name == "boxmot":
        write_sidecar(path, encoder)
    return parity


def facts(
    encoder: Encoder, contract: Contract, neck: Neck | None, half: bool, parity: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the file says of itself, in its `metadata_props`."""
    header = encoder.header
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
        "cameras": "left out" if embeds_cameras(encoder) else "none",
        "trained_on": header.trained_on,
        "parity": dict(parity),
    }


def text(value: Any) -> str:
    """Write a fact: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def measure_parity(path: Path, graph: Graph, contract: Contract, height: int, width: int) -> dict[str, Any]:
    """Compare a file with PyTorch on noise, in batches of several sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    numbers, found = torch.Generator().manual_seed(0), {}
    for batch in BATCHES:
        images = torch.rand(batch, 3, height, width, generator=numbers)
        with torch.no_grad():
            ours = graph(images).float()
        theirs = torch.from_numpy(
            np.asarray(session.run([contract.output_name], {contract.image_name: images.numpy()})[0])
        )
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


def write_sidecar(path: Path, encoder: Encoder) -> None:
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
    }
    write_text(sidecar(path), json.dumps(about, indent=2) + "\n")


def require_export() -> None:
    """Raise InputError where a package that exports is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputError(f"upreid export needs {', '.join(missing)}; install them: pip install 'upreid[export]'")
