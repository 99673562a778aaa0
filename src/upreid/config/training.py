"""The knobs that pre-training and fine-tuning have in common."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from upreid.ranges import Count, CountOrZero, Epochs, EpochsOrZero, Seed


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Device, threads and processes of a program."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU where there is one."""
    threads: Count | None = None
    """Number of CPU threads that compute; by default the cores that the workers leave."""
    workers: CountOrZero | None = None
    """Number of processes that read images (and on a CPU augment them); by default chosen from the number of cores."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ComputeConfig):
    """Length of a training, its saved states, and how it computes."""

    epochs: Epochs
    """Number of passes over the images."""
    steps: Count | None = None
    """Number of optimiser steps; overrules the number of epochs."""
    accumulate: Count = 1
    """Number of backward passes that the batch of a step is split into; each is a BatchNorm group of its own."""
    seed: Seed = 1
    """Seed of the random numbers: initial weights, order of the images, augmentation."""
    save_every: Count = 1000
    """Number of steps between two saved states."""
    keep_states: Count = 2
    """Number of saved states that are kept: where the newest turns out damaged, a run goes on from the one before."""
    bf16: bool = False
    """Forward passes in bfloat16 (autocast)."""
    auto_precision: bool = False
    """Precision chosen by the machine: bfloat16 in channels-last where the device has instructions for it, else single."""
    compile: bool = False
    """Compilation of the backbone with torch.compile."""
    channels_last: bool = False
    """Channels-last memory format: faster convolutions on GPUs, unless BatchNorm groups make copies necessary."""


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """Retrieval on a labelled set during the training; it observes only."""

    every_epochs: EpochsOrZero = 0.0
    """Number of epochs between two evaluations; 0 means that none takes place."""
    name: str = "market1501"
    """Layout of the labelled set, such as market1501 or msmt17-v2."""
    root: Path | None = None
    """Folder of the labelled set that is evaluated; by default the set that the run is evaluated on at its end, if it is."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A training: its recipe, its method, and its folder."""

    without_effect: ClassVar[tuple[str, ...]] = (
        "out",
        "data.root",
        "data.patience",
        "train.threads",
        "train.workers",
        "train.save_every",
        "train.keep_states",
        "monitor",
        "tensorboard",
    )
    """Settings that decide where, how fast and how closely watched a run is, but not its result (config/files.py)."""
    added_later: ClassVar[tuple[str, ...]] = ("method", "train.auto_precision")
    """Settings that the first saved states do not have: they count in the digest only where they differ from their default."""

    recipe: str
    """Name of a shipped recipe, or a path to one."""
    method: str
    """Name of the training method; the recipe chooses it."""
    out: Path
    """Folder of the run; it must be new or empty."""
    train: TrainConfig
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    tensorboard: bool = False
    """TensorBoard events beside the journal (needs the extra `tensorboard`)."""
