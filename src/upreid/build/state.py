"""Everything a run would need to go on, as plain tensors and values; and what it has made."""

from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.method import Method
from upreid.runtime.distributed import World, gather

Part = TypeVar("Part", bound=nn.Module)


def capture(method: Method, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Collect the state. On several ranks all must call it: BatchNorm buffers differ per rank and are gathered."""
    return {
        **module_state("network", method.network, method.world),
        **module_state("teacher", method.teacher, method.world),
        "keys": method.keys.state_dict(),
        "originals": None if method.originals is None else method.originals.state_dict(),
        "optimiser": optimiser.state_dict(),
        "world_size": method.world.size,
    }


def module_state(name: str, module: nn.Module, world: World) -> dict[str, Any]:
    """Parameters, and the buffers of every rank (all must call it)."""
    return {name: dict(module.named_parameters()), f"{name}_buffers": all_buffers(module, world)}


@torch.no_grad()
def restore_module(name: str, module: nn.Module, state: dict[str, Any], world: World) -> None:
    """Put parameters and this rank's buffers back."""
    for key, parameter in module.named_parameters():
        parameter.copy_(state[name][key])
    for key, buffer in module.named_buffers():
        buffer.copy_(state[f"{name}_buffers"][key][world.rank])


def check_world(state: dict[str, Any], world: World) -> None:
    """Refuse a state of another number of processes."""
    if state["world_size"] != world.size:
        raise InputError(
            f"this run was saved by {state['world_size']} processes and cannot go on with {world.size}; "
            f"start torchrun with --nproc-per-node {state['world_size']} in all"
        )


def all_buffers(module: nn.Module, world: World) -> dict[str, Tensor]:
    """Name -> [ranks, ...]: each rank's buffer."""
    return {name: gather(buffer[None], world) for name, buffer in module.named_buffers()}


@torch.no_grad()
def restore(method: Method, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a captured state back; InputError where it was made on another number of processes."""
    check_world(state, method.world)
    restore_module("network", method.network, state, method.world)
    restore_module("teacher", method.teacher, state, method.world)
    method.keys.load_state_dict(state["keys"])
    if method.originals is not None:
        method.originals.load_state_dict(state["originals"])
    optimiser.load_state_dict(state["optimiser"])


def exported(module: Part, world: World) -> Part:
    """Copy a module as it is exported: running statistics averaged over the ranks (all must call it)."""
    rows = all_buffers(module, world)
    copy = deepcopy(module)
    for name, buffer in copy.named_buffers():
        buffer.copy_(rows[name].mean(dim=0) if buffer.is_floating_point() else rows[name][0])
    return copy
