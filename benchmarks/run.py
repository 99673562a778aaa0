"""A whole run, images read, decoded, augmented and moved to the device, against its steps alone.

    python benchmarks/run.py                                     # on a small rendered corpus
    python benchmarks/run.py --recipe luperson-resnet50 --data SET --batch 256 --steps 60 --device cuda

Both take turns: so many steps with data, then as many on views that are there already. Seconds of the clock count, because
waiting is the point; on a machine with other work they also measure that. On a CPU a worker makes the views beside the step, so a
run keeps up on free cores where (1) the step's process does little besides its steps and (2) the views of a batch take fewer CPU
seconds than its step. Both are reported in CPU seconds, which other work lengthens little.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from upreid.build.pretraining import Loaded, augmentation, loader
from upreid.build.pretraining import method as build_method
from upreid.commands.synth import synthesise
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.sources.recognise import open_source
from upreid.method import train_step
from upreid.pretrain.program import build_optimiser
from upreid.runtime.beside import beside
from upreid.runtime.compute import Compute, settle
from upreid.runtime.distributed import World
from upreid.synthetic.settings import CorpusSettings
from upreid.types import ImageBatch, Views

Spent = NDArray[np.float64]
"""Seconds of the clock, CPU seconds of this process."""

STEPS_TO_START = 5
"""Before the clock runs: the worker starts, and what it has made ahead is used up."""


def read(given: argparse.Namespace, recipe: str, data: Path) -> MocoV2Config:
    """The recipe on these images."""
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", str(data), "--out", "none"]
    batch = ["--train.batch", str(given.batch)] if given.batch else []
    return parse(MocoV2Config, [*words, *batch, "--train.device", given.device], program="pretrain")


class Run:
    """What a run is made of, without its files."""

    def __init__(self, config: MocoV2Config, compute: Compute) -> None:
        self.config, self.compute = config, compute
        self.images = open_source(config.data.root, cfs_share=config.data.cfs_share, patience=config.data.patience)
        self.augment = augmentation(config)
        self.method = build_method(config, compute, World(), 1)
        self.optimiser = build_optimiser(config, self.method)
        self.views: Views | None = None

    def prepare(self, loaded: Loaded) -> Views:
        """As the loop does."""
        batch, _ = loaded
        return self.augment(batch.to(self.compute.device)) if isinstance(batch, ImageBatch) else batch

    def with_data(self, steps: int) -> Spent:
        """So many steps, each with views of its own."""
        last = STEPS_TO_START + steps
        batches = loader(self.config, self.images, self.augment, self.compute, World(), 0, last)
        began = self.now()
        for number, views in enumerate(map(beside(self.prepare, self.compute.device), batches)):
            if number == STEPS_TO_START:
                began = self.now()
            train_step(self.method, views, number, self.optimiser)
            self.views = views
        return self.now() - began

    def alone(self, steps: int) -> Spent:
        """So many steps on the last views."""
        assert self.views is not None
        began = self.now()
        for number in range(steps):
            train_step(self.method, self.views, number, self.optimiser)
        return self.now() - began

    def making(self, steps: int) -> Spent:
        """Read, decode and (on a CPU) augment the batches of so many steps in this process."""
        here = Compute(device=self.compute.device, threads=1, workers=0)
        began = self.now()
        for _ in loader(self.config, self.images, self.augment, here, World(), 0, steps):
            pass
        return self.now() - began

    def now(self) -> Spent:
        """The clocks, when the device is idle."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize(self.compute.device)
        return np.array([time.perf_counter(), time.process_time()])


def measure(given: argparse.Namespace, recipe: str, data: Path) -> None:
    """Take turns, and print medians."""
    compute = settle(given.device, None, None, workers_wanted=8 if torch.cuda.is_available() else 1)
    torch.set_num_threads(compute.threads)
    run, steps = Run(read(given, recipe, data), compute), given.steps
    turns = np.array([(run.with_data(steps), run.alone(steps), run.making(steps)) for _ in range(given.rounds)])
    whole, alone, making = turns[:, 0], turns[:, 1], turns[:, 2]  # each [rounds, clock and CPU]
    kept, cpu_kept = np.median(alone / whole, axis=0)
    batch, size = run.config.train.batch, f"{run.config.augment.height}x{run.config.augment.width}"
    print(f"{recipe}, {size}, batch {batch}, {compute.device}, {compute.threads} threads + {compute.workers} workers")
    for name, spent in (("step alone", alone), ("run with data", whole), ("views alone, one process", making)):
        clock, cpu = steps * batch / np.median(spent, axis=0)
        print(f"  {name:26s}{clock:8.0f} images/s by the clock {cpu:8.0f} by CPU seconds of the process")
    print(f"  run / step alone: {kept:.0%} by the clock, {cpu_kept:.0%} by CPU seconds (at least 90 %)")
    print(f"  views / step: {np.median(making / alone, axis=0)[1]:.2f} of its CPU seconds (below 1 a worker keeps up)")


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole run against its steps alone")
    parser.add_argument("--recipe", help="default: laptop and moco-laptop")
    parser.add_argument("--data", type=Path, help="images; rendered for the occasion by default")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = given.data
        if data is None:
            synthesise(Path(folder) / "corpus", CorpusSettings(identities=50))
            data = Path(folder) / "corpus" / "wild"
        for recipe in [given.recipe] if given.recipe else ["laptop", "moco-laptop"]:
            measure(given, recipe, data)


if __name__ == "__main__":
    main()
