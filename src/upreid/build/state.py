"""Everything a pre-training run would need to go on, as plain tensors and values; and the encoder it has made."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from upreid.errors import InputError
from upreid.method import Method
from upreid.runtime.distributed import World, gather


def capture(method: Method, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Collect the state. On several ranks all must call it: BatchNorm buffers differ per rank and are gathered."""
    return {
        "network": dict(method.network.named_parameters()),
        "teacher": dict(method.teacher.named_parameters()),
        "network_buffers": all_buffers(method.network, method.world),
        "teacher_buffers": all_buffers(method.teacher, method.world),
        "keys": method.keys.state_dict(),
        "originals": None if method.originals is None else method.originals.state_dict(),
        "optimiser": optimiser.state_dict(),
        "world_size": method.world.size,
    }


def all_buffers(module: nn.Module, world: World) -> dict[str, Tensor]:
    """Name -> [ranks, ...]: each rank's buffer."""
    return {name: gather(buffer[None], world) for name, buffer in module.named_buffers()}


@torch.no_grad()
def restore(method: Method, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a captured state back; InputError where it was made on another number of processes."""
    world = method.world
    if state["world_size"] != world.size:
        raise InputError(
            f"this run was saved by {state['world_size']} processes and cannot go on with {world.size}; "
            f"start torchrun with --nproc-per-node {state['world_size']} in all"
        )
    for module, name in ((method.network, "network"), (method.teacher, "teacher")):
        for key, parameter in module.named_parameters():
            parameter.copy_(state[name][key])
        for key, buffer in module.named_buffers():
            buffer.copy_(state[f"{name}_buffers"][key][world.rank])
    method.keys.load_state_dict(state["keys"])
    if method.originals is not None:
        method.originals.load_state_dict(state["originals"])
    optimiser.load_state_dict(state["optimiser"])


def exported_backbone(method: Method) -> nn.Module:
    """Copy the backbone as it is exported: running statistics averaged over the ranks (all must call it)."""
    rows = all_buffers(method.network.backbone, method.world)
    backbone = deepcopy(method.network.backbone)
    for name, buffer in backbone.named_buffers():
        buffer.copy_(rows[name].mean(dim=0) if buffer.is_floating_point() else rows[name][0])
    return backbone
