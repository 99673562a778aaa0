"""ONNX files: a network written with its weights inside and a free batch, run by onnxruntime, and what it says of itself."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from upreid.errors import InputError


def require_export() -> None:
    """Raise InputError where a package that writes or runs ONNX files is missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"upreid export needs {', '.join(missing)}; install them: pip install 'upreid[export]'")


def save(path: Path, network: nn.Module, example: Tensor, image_name: str, output_name: str) -> None:
    """Write a network, which takes images [batch, 3, height, width] of the example's height and width."""
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        input_names=[image_name],
        output_names=[output_name],
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)


def load(path: Path, image_name: str, output_name: str) -> Callable[[Tensor], Tensor]:
    """Return the function that a file computes, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(np.asarray(session.run([output_name], {image_name: images.numpy()})[0]))


def describe(path: Path, props: Mapping[str, str]) -> None:
    """Write facts into the file's `metadata_props`."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, dict(props))
    onnx.save(model, str(path))
