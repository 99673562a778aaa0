"""How the forwards of a run compute: in bfloat16 under autocast or in single precision, and in which memory format."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from upreid.config.files import read_json
from upreid.config.training import TrainConfig
from upreid.runtime.distributed import World, from_lead


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How forwards compute; parameters, losses and the optimiser are in single precision always."""

    device: torch.device
    bf16: bool = False
    channels_last: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context for one forward."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    @property
    def resolved(self) -> dict[str, bool]:
        """What config.json says of it."""
        return {"bf16": self.bf16, "channels_last": self.channels_last}

    def __str__(self) -> str:
        """Name it, for the log."""
        memory = ", channels-last" if self.channels_last else ""
        return ("bfloat16 (autocast)" if self.bf16 else "single precision") + memory


def precision_of(wanted: TrainConfig, device: torch.device) -> Precision:
    """Follow the settings; what they leave to the machine is bfloat16 in channels-last where that is faster."""
    chosen = wanted.auto_precision and has_bf16(device)
    return Precision(device=device, bf16=wanted.bf16 or chosen, channels_last=wanted.channels_last or chosen)


def settle_precision(wanted: TrainConfig, device: torch.device, world: World, begun: Path | None) -> Precision:
    """Choose the precision of a run, alike on all ranks; a run that goes on keeps that of `begun`, its folder.

    The lead's machine decides where the settings leave it to the machine.
    """

    def choose() -> dict[str, bool]:
        return precision_of(wanted, device).resolved | (recorded(begun) if begun is not None else {})

    return Precision(device=device, **from_lead(choose, world))


def recorded(folder: Path) -> dict[str, bool]:
    """Return what the config.json of a run says of its precision; runs of older versions follow their settings."""
    resolved: Any = read_json(folder / "config.json").get("resolved")
    known = resolved if isinstance(resolved, Mapping) else {}
    return {name: bool(known[name]) for name in ("bf16", "channels_last") if name in known}


def has_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16, with which convolutions are about twice as fast."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    known: Mapping[str, Any] = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(name, False) is True for name in ("avx512_bf16", "amx_bf16", "bf16"))
