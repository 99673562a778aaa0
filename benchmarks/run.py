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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from _steps import Step, read
from upreid.commands.pretrain import parts
from upreid.commands.synth import synthesise
from upreid.config.pretrain import MocoV2Config
from upreid.runtime.compute import Compute, settle
from upreid.runtime.distributed import ALONE
from upreid.synthetic.settings import CorpusSettings
from upreid.training.feeds.unlabelled import UnlabelledFeed
from upreid.training.launch import placed
from upreid.training.parts import Context
from upreid.training.precision import precision_of
from upreid.training.prefetch import prefetched

Spent = NDArray[np.float64]
"""Seconds of the clock, CPU seconds of this process."""

STEPS_TO_START = 5
"""Before the clock runs: the worker starts, and what it has made ahead is used up."""


class Run:
    """What a run is made of, without its files."""

    def __init__(self, config: MocoV2Config, compute: Compute) -> None:
        self.config, self.compute = config, compute
        made = parts(config, Context(compute=compute, world=ALONE, header=None))
        assert isinstance(made.feed, UnlabelledFeed)
        self.feed = made.feed
        precision = precision_of(config.train, compute.device)
        method = placed(made.method, precision, compiled=config.train.compile)
        self.step = Step(method, made.optimiser(method.learning()), {}, precision)

    def with_data(self, steps: int) -> Spent:
        """Do so many steps, each with views of its own, as the loop does."""
        prepare, last = prefetched(self.feed.prepare, self.compute.device), STEPS_TO_START + steps
        began = self.now()
        for number, views in enumerate(map(prepare, self.feed.batches(0, last))):
            if number == STEPS_TO_START:
                began = self.now()
            self.step.views = views
            self.step()
        return self.now() - began

    def alone(self, steps: int) -> Spent:
        """Do so many steps on the last views."""
        began = self.now()
        for _ in range(steps):
            self.step()
        return self.now() - began

    def making(self, steps: int) -> Spent:
        """Read, decode and (on a CPU) augment the batches of so many steps in this process."""
        self.feed.compute = replace(self.compute, threads=1, workers=0)
        began = self.now()
        for _ in self.feed.batches(0, steps):
            pass
        self.feed.compute = self.compute
        return self.now() - began

    def now(self) -> Spent:
        """Read the clocks when the device is idle."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize(self.compute.device)
        return np.array([time.perf_counter(), time.process_time()])


def measure(given: argparse.Namespace, recipe: str, data: Path) -> None:
    """Take turns, and print medians."""
    compute = settle(given.device, None, None, workers_wanted=8 if torch.cuda.is_available() else 1)
    torch.set_num_threads(compute.threads)
    batch = ["--train.batch", given.batch] if given.batch else []
    flags = ["--data.root", data, *batch, "--train.device", given.device]
    run, steps = Run(read(MocoV2Config, "pretrain", recipe, flags), compute), given.steps
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
    parser.add_argument("--recipe", help="default: both-terms-laptop and moco-laptop")
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
        for recipe in [given.recipe] if given.recipe else ["both-terms-laptop", "moco-laptop"]:
            measure(given, recipe, data)


if __name__ == "__main__":
    main()
