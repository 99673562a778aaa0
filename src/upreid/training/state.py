"""Everything a run needs to go on, as plain tensors and values; and what it has made.

State format 2:

    format, step, hash, world_size
    parameters       name in the method -> tensor
    buffers          name -> [ranks, ...]: the buffers of BatchNorm, which each rank has for itself
    shared           name -> tensor: every other buffer, the same on all ranks (queues, centres, memories)
    optimiser        of torch
    feed             fingerprint and number of the images, and what the feed remembers (files that were skipped)
    header           what the encoder file says of itself: on resume the encoder is rebuilt from it, not from `--init`

Format 1, of version 0.1.0's first runs, kept the networks of each program under names of their own; `upgrade` reads it.
"""

from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from upreid.errors import DataError, InputError
from upreid.methods.method import Method
from upreid.runtime.distributed import World, gather

FORMAT = 2
Part = TypeVar("Part", bound=nn.Module)


def capture(method: Method, optimiser: torch.optim.Optimizer, world: World) -> dict[str, Any]:
    """Collect the state of what learns. On several ranks all must call it: BatchNorm's buffers are gathered."""
    per_rank = names_of_batch_norm(method)
    return {
        "format": FORMAT,
        "world_size": world.size,
        "parameters": dict(method.named_parameters()),
        "buffers": {name: gather(buffer[None], world) for name, buffer in method.named_buffers() if name in per_rank},
        "shared": {name: buffer for name, buffer in method.named_buffers() if name not in per_rank},
        "optimiser": optimiser.state_dict(),
    }


@torch.no_grad()
def restore(method: Method, optimiser: torch.optim.Optimizer, state: dict[str, Any], world: World) -> None:
    """Put a captured state back, tensor by tensor.

    Raises InputError where it was made by another number of processes, DataError where it does not hold what the method has.
    """
    check_world(state, world)
    restore_method(method, state, world)
    optimiser.load_state_dict(state["optimiser"])


@torch.no_grad()
def restore_method(method: Method, state: dict[str, Any], world: World) -> None:
    """Put parameters and this rank's buffers back; DataError where the state does not hold what the method has."""
    per_rank = {name: rows[world.rank] for name, rows in state["buffers"].items()}
    saved = {**state["parameters"], **state["shared"], **per_rank}
    method.make_room({name: tensor.shape for name, tensor in saved.items()})
    own = {**dict(method.named_parameters()), **dict(method.named_buffers())}
    if odd := sorted(own.keys() ^ saved.keys()):
        raise DataError(
            f"the state does not fit this version of its method: {len(odd)} tensors differ, such as {odd[0]}; "
            "go on with the version of upreid that wrote it, or start a new run"
        )
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def check_world(state: dict[str, Any], world: World) -> None:
    """Refuse a state of another number of processes."""
    if state["world_size"] != world.size:
        raise InputError(
            f"this run was saved by {state['world_size']} processes and cannot go on with {world.size}; "
            f"start torchrun with --nproc-per-node {state['world_size']} in all"
        )


def names_of_batch_norm(module: nn.Module) -> set[str]:
    """Return the names of the buffers that each rank has for itself: the statistics of BatchNorm."""
    return {
        f"{name}.{buffer}" if name else buffer
        for name, part in module.named_modules()
        if isinstance(part, _BatchNorm)
        for buffer, _ in part.named_buffers(recurse=False)
    }


def exported(module: Part, world: World) -> Part:
    """Copy a module as it is exported: running statistics averaged over the ranks (all must call it)."""
    rows = {name: gather(buffer[None], world) for name, buffer in module.named_buffers()}
    copy = deepcopy(module)
    for name, buffer in copy.named_buffers():
        buffer.copy_(rows[name].mean(dim=0) if buffer.is_floating_point() else rows[name][0])
    return copy


def plain(value: Any) -> Any:
    """Return plain values only: tuples become lists."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


STUDENTS = ("network", "trainee")
"""What format 1 called the student: of a pre-training, of a fine-tuning."""


def upgrade(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state in today's format; one of format 1 has no header, and a fine-tuning's has no fingerprint of its images."""
    if state.get("format") == FORMAT:
        return state
    if "format" in state:
        raise DataError(
            f"the state has format {str(state['format'])[:40]}, this version reads {FORMAT}; use the upreid that wrote it"
        )
    students = [name for name in STUDENTS if name in state]
    if len(students) != 1:
        raise DataError("the state holds neither a pre-training nor a fine-tuning; put a copy back, or start anew")
    modules = {students[0]: "student", **({"teacher": "teacher"} if "teacher" in state else {})}
    queues = {"keys": "keys", "originals": "intra_identity.consistency.originals"}
    feed = {"fingerprint": state.get("source"), "images": state.get("images"), "skipped": state.get("skipped", [])}
    return {
        "format": FORMAT,
        **{name: state[name] for name in ("step", "hash", "world_size", "optimiser")},
        "parameters": prefixed({new: state[old] for old, new in modules.items()}),
        "buffers": prefixed({new: state[f"{old}_buffers"] for old, new in modules.items()}),
        "shared": prefixed({new: state[old] for old, new in queues.items() if state.get(old) is not None}),
        "feed": feed,
        "header": None,
    }


def prefixed(tables: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join tables of tensors under dotted names."""
    return {f"{prefix}.{name}": tensor for prefix, table in tables.items() for name, tensor in table.items()}
