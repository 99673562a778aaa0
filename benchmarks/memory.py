"""Does memory stay flat over a long run? Resident memory of a pre-training and of its worker, many small steps long.

    python benchmarks/memory.py --steps 2000

The baseline is the same run's own memory once a quarter of its steps is done; the slope is fitted over what follows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "64", "--train.batch", "8"]
SMALL += ["--augment.height", "32", "--augment.width", "16", "--train.save-every", "200"]
SMALL += ["--intrinsic.rows", "2", "--intrinsic.columns", "1"]
ON_CPU = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "1"]
SECONDS_BETWEEN_LOOKS = 1.0


def paint(folder: Path, count: int = 256) -> Path:
    """Write small pictures of noise."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(numbers.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(folder / f"{index:04d}.png")
    return folder


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB, or 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def workers(pid: int) -> list[int]:
    """Return the children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def steps_done(out: Path) -> int:
    """Return how many steps are done, by the last whole line of the journal."""
    journal = out / "metrics.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    return json.loads(lines[-1])["step"] + 1 if lines and lines[-1].endswith(b"\n") else 0


def watch(steps: int) -> list[tuple[int, float, float]]:
    """Note the step, the memory of the run and that of its worker once a second."""
    with tempfile.TemporaryDirectory() as folder:
        where = ["--data.root", str(paint(Path(folder) / "pictures")), "--out", str(out := Path(folder) / "run")]
        words = ["pretrain", "both-terms-laptop", *where, "--train.steps", str(steps), *SMALL, *ON_CPU]
        seen: list[tuple[int, float, float]] = []
        with subprocess.Popen([sys.executable, "-m", "upreid", *words], stderr=subprocess.DEVNULL) as run:
            while run.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                children = sum(map(resident, workers(run.pid)))
                if (done := steps_done(out)) and children:
                    seen.append((done, resident(run.pid), children))
        if run.returncode:
            sys.exit(f"the run failed with exit code {run.returncode}")
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    seen = np.array(watch(steps))
    print(f"{'step':>8} {'run, MiB':>10} {'worker, MiB':>12}")
    for share in np.linspace(0, 1, 9):
        step, run, worker = seen[round(share * (len(seen) - 1))]
        print(f"{step:8.0f} {run:10.1f} {worker:12.1f}")
    settled = seen[seen[:, 0] >= steps / 4]
    for name, column in (("run", 1), ("worker", 2)):
        slope = np.polyfit(settled[:, 0], settled[:, column], 1)[0] * 1000
        growth = settled[-1, column] / settled[0, column] - 1
        print(f"{name}: {slope:+.2f} MiB per 1000 steps, {growth:+.1%} since step {settled[0, 0]:.0f}")


if __name__ == "__main__":
    main()
