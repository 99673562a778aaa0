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

from upreid.commands.pretrain import method_of
from upreid.commands.synth import synthesise
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.sources.recognise import open_source
from upreid.methods.pretraining import Setup, preprocess
from upreid.runtime.compute import Compute, settle
from upreid.synthetic.settings import CorpusSettings
from upreid.training.feeds.unlabelled import UnlabelledFeed
from upreid.training.launch import placed
from upreid.training.optimiser import make_optimiser
from upreid.training.prefetch import prefetched
from upreid.training.step import Precision, train_step
from upreid.types import Views

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
        setup = Setup(device=compute.device, num_images=len(self.images), steps_per_epoch=1)
        self.method = placed(method_of(config, setup), config.train, compute.device)
        optim, how = config.optim, {"momentum": config.optim.momentum, "weight_decay": config.optim.weight_decay}
        self.optimiser = make_optimiser(optim.name, self.method.learning(), lr=optim.lr, **how)
        self.precision = Precision(device=compute.device, bf16=config.train.bf16)
        self.views: Views | None = None

    def feed(self, compute: Compute) -> UnlabelledFeed:
        """The feed of the run, with so many workers."""
        train = self.config.train
        return UnlabelledFeed(
            self.images,
            self.method.views(),
            preprocess=preprocess(self.config),
            batch=train.batch,
            seed=train.seed,
            compute=compute,
        )

    def step(self, views: Views, number: int) -> None:
        """One step, as the loop does it."""
        train_step(self.method, self.method.student, views, number, self.optimiser, precision=self.precision)

    def with_data(self, steps: int) -> Spent:
        """So many steps, each with views of its own."""
        last = STEPS_TO_START + steps
        feed = self.feed(self.compute)
        began = self.now()
        prepare = prefetched(feed.prepare, self.compute.device)
        for number, views in enumerate(map(prepare, feed.batches(0, last))):
            if number == STEPS_TO_START:
                began = self.now()
            self.step(views, number)
            self.views = views
        return self.now() - began

    def alone(self, steps: int) -> Spent:
        """So many steps on the last views."""
        assert self.views is not None
        began = self.now()
        for number in range(steps):
            self.step(self.views, number)
        return self.now() - began

    def making(self, steps: int) -> Spent:
        """Read, decode and (on a CPU) augment the batches of so many steps in this process."""
        here = Compute(device=self.compute.device, threads=1, workers=0)
        began = self.now()
        for _ in self.feed(here).batches(0, steps):
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
