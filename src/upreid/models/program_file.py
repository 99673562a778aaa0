"""Programs of torch.export: a network that `torch.export.load(path).module()` runs without the code that made it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

FACTS = "upreid.json"
"""Name under which the file carries what it says of itself: `torch.export.load(path, extra_files={"upreid.json": ""})`."""


def require_export() -> None:
    """Do nothing: torch alone writes and runs programs."""


def save(path: Path, network: nn.Module, example: Tensor, image_name: str, output_name: str) -> None:
    """Write a network, which takes images [batch, 3, height, width] of the example's height and width."""
    del image_name, output_name  # arguments and results of a program have their places
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (example,), dynamic_shapes={"images": {0: batch}})
    with path.open("wb") as file:  # torch warns of names that do not end in .pt2
        torch.export.save(program, file)


def load(path: Path, image_name: str, output_name: str) -> Callable[[Tensor], Tensor]:
    """Return the function that a file computes."""
    del image_name, output_name
    with path.open("rb") as file:
        return torch.export.load(file).module()


def describe(path: Path, props: Mapping[str, str]) -> None:
    """Write facts into the file."""
    with path.open("rb") as file:
        program = torch.export.load(file)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={FACTS: json.dumps(props)})
