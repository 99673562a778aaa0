"""Prove a refactor: two revisions run the same short trainings on this machine, and every number must be the same.

    python scripts/same_curve.py BASE HEAD                     # git revisions; `.` is the working tree as it is
    python scripts/same_curve.py main . --cells laptop bot     # some of the cells

Each revision is checked out into a folder of its own and run by the interpreter that runs this script. A cell is one training of
12 steps at 64x32 or smaller, with what follows it. Compared are the journals without `seconds`, the bytes of
`encoder.safetensors`, every tensor and value of the state by its name (names of older formats are mapped), and the numbers of the
evaluation with all of its protocol that BASE knows. The cells named `old-*` resume with HEAD what BASE has saved. The first
difference of each cell is printed; the exit code is the number of cells that differ.

Journals of several processes hold the mean over all of them since state format 2, and rank 0's own loss before: where only one of
the revisions has that format, their losses are not compared.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HALF = 6
STEPS = ["--train.steps", str(2 * HALF), "--train.save-every", str(HALF), "--train.threads", "1"]
SMALL = ["--train.batch", "16", "--contrast.queue", "64", *STEPS]
VIT = ["--augment.height", "64", "--augment.width", "32", "--train.no-bf16", "--train.no-channels-last"]
VIT += ["--model.backbone", "vit_tiny_patch16_224", "--intrinsic.source", "pixels", "--intrinsic.rows", "2"]
VIT += ["--intrinsic.columns", "1", "--optim.lr", "1e-2", "--optim.warmup-epochs", "0"]
PEOPLE = ["--train.identities", "4", "--train.images", "4", *STEPS]
NARROW = ["--random.channels", "8", "--random.height", "64", "--random.width", "32"]
MGN = [
    "--input.height",
    "64",
    "--input.width",
    "32",
    "--random.backbone",
    "resnet18",
    "--head.embed-dim",
    "16",
    *NARROW,
]
TRANSREID = ["--random.backbone", "vit_tiny_patch16_224", "--random.height", "64", "--random.width", "32"]
TRANSREID += [
    "--input.height",
    "64",
    "--input.width",
    "32",
    "--head.camera-weight",
    "3",
    "--head.jigsaw",
    "--train.no-bf16",
]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A training: its program, recipe and flags, and on how many processes it runs."""

    program: str
    recipe: str
    flags: Sequence[str]
    workers: int = 0
    ranks: int = 1


def pretrain(recipe: str, *flags: str, workers: int = 0, ranks: int = 1) -> Cell:
    """Make a cell of a small pre-training."""
    narrow = ["--model.channels", "8"] if recipe.endswith("laptop") else []
    terms = [] if recipe.startswith("moco") else ["--intrinsic.weight", "3"]  # both, whatever the recipe has
    return Cell(
        program="pretrain", recipe=recipe, flags=[*SMALL, *narrow, *terms, *flags], workers=workers, ranks=ranks
    )


def finetune(recipe: str, *flags: str, workers: int = 0, ranks: int = 1) -> Cell:
    """Make a cell of a small fine-tuning from a random start."""
    return Cell(program="finetune", recipe=recipe, flags=[*PEOPLE, *flags], workers=workers, ranks=ranks)


CELLS = {
    "laptop": pretrain("laptop"),
    "moco-laptop": pretrain("moco-laptop"),
    "pixels": pretrain(
        "laptop", "--intrinsic.source", "pixels", "--intrinsic.reading", "i-d", "--train.accumulate", "2"
    ),
    "g-rel": pretrain("laptop", "--consistency.reading", "g-rel", "--consistency.ramp-up-epochs", "0.1"),
    "bn-groups": pretrain("laptop", "--model.bn-groups", "2", "--consistency.reading", "g-batch"),
    "vit": pretrain("luperson-vit-small", *VIT),
    "two-ranks": pretrain("laptop", "--model.bn-groups", "2", ranks=2),
    "one-worker": pretrain("laptop", workers=1),
    "bot": finetune("laptop-bot", *NARROW),
    "bot-one-worker": finetune("laptop-bot", *NARROW, workers=1),
    "bot-two-ranks": finetune("laptop-bot", *NARROW, ranks=2),
    "mgn": finetune("mgn", *MGN),
    "transreid": finetune("transreid", *TRANSREID),
    "circle": finetune("laptop-bot", *NARROW, "--loss.identity", "circle", "--loss.triplet", "soft"),
    "frozen": finetune("laptop-bot", *NARROW, "--train.freeze-epochs", "0.5", "--optim.schedule", "steps"),
}
RESUMED = ("laptop", "pixels", "g-rel", "two-ranks", "bot", "mgn", "frozen")
"""Cells that are also resumed from their sixth step, and whose states of BASE are also resumed by HEAD."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A revision in a folder of its own, and where its runs go."""

    source: Path
    runs: Path

    def upreid(self, *words: str, ranks: int = 1) -> None:
        """Run a command of this revision; SystemExit with its last words where it fails."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
        environment = {"PYTHONPATH": str(self.source / "src"), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, *launcher, "-m", "upreid", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
        if done.returncode:
            raise SystemExit(
                f"{' '.join(words)} failed with {done.returncode} at {self.source}:\n{done.stderr[-3000:]}"
            )


def check_out(revision: str, folder: Path) -> Checkout:
    """Put a revision into `folder`; the working tree is used where it stands."""
    root = Path(__file__).resolve().parent.parent
    source = root if revision == "." else folder / "source"
    if revision != ".":
        source.mkdir(parents=True)
        archive = subprocess.run(["git", "-C", str(root), "archive", revision], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
    return Checkout(source=source, runs=folder / "runs")


def train(checkout: Checkout, name: str, corpus: Path) -> Path:
    """Run a cell from its start."""
    cell, out = CELLS[name], checkout.runs / name
    where = ["--out", str(out), "--train.workers", str(cell.workers), "--train.device", "cpu"]
    settings = (checkout.source / "src" / "upreid" / "config").glob("*.py")
    if any("auto_precision" in path.read_text() for path in settings):
        where.append("--train.no-auto-precision")  # single precision, as older revisions have it
    if cell.program == "pretrain":
        data = ["--data.root", str(corpus / "wild")]
    else:
        data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus / "market1501")]
    checkout.upreid(cell.program, cell.recipe, *data, *where, *cell.flags, ranks=cell.ranks)
    return out


def resume(checkout: Checkout, name: str, begun: Path, out: Path) -> Path:
    """Resume a copy of the run `begun` as if it had been killed after its first half."""
    shutil.copytree(begun, out)
    (out / "state.pt").unlink()
    (out / "states" / f"step-{HALF:09}.pt").replace(out / "state.pt")
    checkout.upreid(CELLS[name].program, "--resume", str(out), ranks=CELLS[name].ranks)
    return out


def journal(run: Path, *, losses: bool) -> list[dict[str, Any]]:
    """The lines of a run's journal, without what a clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = (lambda key: key != "seconds") if losses else (lambda key: key in ("step", "lr"))
    return [{key: value for key, value in line.items() if kept(key)} for line in lines]


OLD_NAMES = (
    (r"^network/", "parameters/student."),
    (r"^teacher/", "parameters/teacher."),
    (r"^trainee/", "parameters/student."),
    (r"^network_buffers/", "buffers/student."),
    (r"^teacher_buffers/", "buffers/teacher."),
    (r"^trainee_buffers/", "buffers/student."),
    (r"^keys/", "shared/keys."),
    (r"^originals/", "shared/intra_identity.consistency.originals."),
    (r"^skipped$", "feed/skipped"),
    (r"^source$", "feed/fingerprint"),
)
"""Names in state format 1 -> in format 2."""
FORMAT_2_ONLY = r"^(format$|feed/|header/|images$|shared/.*num_batches_tracked)"
"""What only one of the formats has; it is compared where both sides have it."""


def state_of(run: Path) -> dict[str, Any]:
    """Every tensor and value of a state, by its path through the nested tables."""
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    flat = dict(flatten(state))
    if "format" in state:
        return flat
    renamed = {}
    for name, value in flat.items():
        for pattern, replacement in OLD_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Walk nested tables."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{name}/{key}" if name else str(key))
    elif value is not None:
        yield name, value


def first_difference(ours: Path, theirs: Path, ranks: int) -> str | None:
    """The first thing in which two runs differ, in words."""
    states = state_of(theirs), state_of(ours)
    losses = ranks == 1 or ("format" in states[0]) == ("format" in states[1])
    for before, after in zip(journal(theirs, losses=losses), journal(ours, losses=losses), strict=True):
        if before != after:
            return f"journal: {before} became {after}"
    for found in (
        difference_of_states(*states),
        None if same_bytes(ours, theirs) else "encoder.safetensors has other bytes",
        difference_of_results(theirs / "retrieval.json", ours / "retrieval.json"),
    ):
        if found:
            return found
    return None


def same_bytes(ours: Path, theirs: Path) -> bool:
    """Whether two runs made the same encoder file."""
    first, second = ((run / "encoder.safetensors").read_bytes() for run in (ours, theirs))
    return first == second


def difference_of_states(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """The first name that only one side has, or whose value differs."""
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            if re.match(FORMAT_2_ONLY, name):
                continue
            return f"state: {name} is only in {'HEAD' if name in after else 'BASE'}"
        old, new = before[name], after[name]
        same = (
            torch.equal(old, new) if isinstance(old, Tensor) and isinstance(new, Tensor) else plain(old) == plain(new)
        )
        if not same:
            return f"state: {name} differs"
    return None


def plain(value: Any) -> Any:
    """Lists and tuples alike."""
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def difference_of_results(before: Path, after: Path) -> str | None:
    """The first number or part of the protocol that differs; what only HEAD states does not count."""
    if not before.is_file() and not after.is_file():
        return None
    old, new = (dict(flatten(json.loads(path.read_text()))) for path in (before, after))
    wrong = [name for name, value in old.items() if plain(new.get(name)) != plain(value)]
    return f"evaluation: {wrong[0]} was {old[wrong[0]]}, is {new.get(wrong[0])}" if wrong else None


def compare(name: str, base: Checkout, head: Checkout, corpus: Path) -> list[tuple[str, str | None]]:
    """Run a cell in both checkouts, with its resumed and handed-over variants."""
    ranks = CELLS[name].ranks
    theirs, ours = train(base, name, corpus), train(head, name, corpus)
    found = [(name, first_difference(ours, theirs, ranks))]
    if name in RESUMED:
        again = resume(head, name, ours, head.runs / f"resumed-{name}")
        found.append((f"resumed-{name}", first_difference(again, ours, ranks)))
        handed = resume(head, name, theirs, head.runs / f"old-{name}")
        (handed / "metrics.jsonl").write_bytes((ours / "metrics.jsonl").read_bytes()) if ranks > 1 else None
        found.append((f"old-{name}", first_difference(handed, ours, ranks)))
    return found


def difference_of_corpora(base: Checkout, head: Checkout) -> str | None:
    """Render the same corpus in both; the first file that differs."""
    for checkout in (base, head):
        has_versions = (checkout.source / "src" / "upreid" / "synthetic" / "version1").is_dir()
        words = ["--identities", "16", "--height", "64", "--width", "32", *(["--version", "1"] if has_versions else [])]
        checkout.upreid("synth", str(checkout.runs / "corpus"), *words)
    files = [
        {str(path.relative_to(side.runs)): path.read_bytes() for path in side.runs.rglob("*.jpg")}
        for side in (base, head)
    ]
    if files[0].keys() != files[1].keys():
        return "other files are rendered"
    wrong = [name for name, content in files[0].items() if files[1][name] != content]
    return f"{wrong[0]} is rendered otherwise" if wrong else None


def guarded(work: Callable[[], list[tuple[str, str | None]]], name: str) -> list[tuple[str, str | None]]:
    """Turn a command that failed into a difference."""
    try:
        return work()
    except SystemExit as error:
        return [(name, str(error))]


def main() -> int:
    """Compare, print, and return the number of cells that differ."""
    parser = argparse.ArgumentParser(description="Compare the training curves of two revisions, bit for bit.")
    parser.add_argument("base", help="git revision, or . for the working tree")
    parser.add_argument("head", help="git revision, or . for the working tree")
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS), help="cells to run")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, head = (check_out(getattr(words, side), Path(folder) / side) for side in ("base", "head"))
        results = [("synth", difference_of_corpora(base, head))]
        corpus = base.runs / "corpus"
        with ThreadPoolExecutor(words.jobs) as pool:
            tasks = [partial(guarded, partial(compare, name, base, head, corpus), name) for name in words.cells]
            for found in pool.map(lambda task: task(), tasks):
                results += found
                for name, difference in found:
                    print(f"{name}: {difference or 'the same'}", flush=True)
        for name, difference in results[:1]:
            print(f"{name}: {difference or 'the same'}")
    differing = [name for name, difference in results if difference]
    print(f"{len(results)} cells, {len(differing)} differ{': ' + ', '.join(differing) if differing else ''}")
    return len(differing)


if __name__ == "__main__":
    sys.exit(main())
