"""The results of a study: scores of every arm, paired differences over pre-training seeds, and how sure they are."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from scipy.stats import t as student

from upreid.config.command_line import parse_training
from upreid.config.recipe import flags
from upreid.config.study import Grid
from upreid.errors import InputError
from upreid.methods import MOCO_STEP, step_cost
from upreid.study.cells import PRETRAIN, Cell, cells_of
from upreid.study.corpora import Facts
from upreid.study.folder import StudyFolder, recall
from upreid.study.results import CellResult, result_of
from upreid.study.study_file import Record, read_facts, read_study_file

RETRIEVAL = ("mAP", "rank1", "mINP")
LABELS = {"mAP": "mAP", "rank1": "Rank-1", "mINP": "mINP"}
CONFIDENCE = 0.95
ENOUGH_FOR_A_CLAIM = 8
"""Number of paired seeds; below it, differences are for choosing what to look at again."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The mean of some values, and its confidence interval."""

    mean: float
    std: float | None
    """Sample standard deviation; None for a single value."""
    half_width: float | None
    """Half the width of the two-sided 95 % t-interval of the mean; None for a single value."""
    n: int

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def is_clear_of_zero(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def interval(values: Sequence[float]) -> Interval:
    """Return mean and t-interval, the values taken as independent and about normal.

    half_width = t(0.975, n - 1) * std / sqrt(n)
    """
    n = len(values)
    if n == 1:
        return Interval(mean=values[0], std=None, half_width=None, n=1)
    std = stdev(values)
    quantile = float(student.ppf(0.5 + CONFIDENCE / 2, n - 1))
    return Interval(mean=fmean(values), std=std, half_width=quantile * std / math.sqrt(n), n=n)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Return first minus second for every seed that both have."""
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def by_seed(values: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return seed -> mean of its values: repeated fine-tunings of one pre-training are no independent evidence."""
    found: dict[int, list[float]] = {}
    for seed, value in values:
        found.setdefault(seed, []).append(value)
    return {seed: fmean(some) for seed, some in found.items()}


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """A study, and the results that its folder holds at this moment."""

    name: str
    grid: Grid
    cells: Sequence[Cell]
    facts: dict[str, Facts]
    """Corpus that is a folder -> what it holds."""
    records: dict[str, Record]
    """Name of a finished cell -> all that is written down of its result."""
    results: Sequence[CellResult]
    unfinished: Sequence[Cell]
    stale: int
    """Number of unfinished cells with a result that was made with other settings."""

    def scores(self, stage: str, arm: str, metric: str) -> dict[int, float]:
        """Return seed -> value of a metric, averaged over repeats."""
        cells = [result for result in self.results if (result.stage, result.arm) == (stage, arm)]
        return by_seed([(result.seed, result.metrics[metric]) for result in cells if metric in result.metrics])

    def differences(self, stage: str, metric: str) -> dict[str, list[float]]:
        """Return comparison -> a difference for each seed that both arms have; pre-trainings are not compared."""
        if stage == PRETRAIN:
            return {}
        return {
            f"{first} - {second}": paired(self.scores(stage, first, metric), self.scores(stage, second, metric))
            for first, second in self.grid.compare
        }

    def stages(self) -> dict[str, list[str]]:
        """Return setting -> its stages that have results; more than one where corpora stand side by side."""
        finished = {result.stage for result in self.results}
        stages = {name: list(self.grid.stages(name)) for name in self.grid.settings} | {PRETRAIN: [PRETRAIN]}
        there = {name: [stage for stage in some if stage in finished] for name, some in stages.items()}
        return {name: some for name, some in there.items() if some}

    @cached_property
    def costs(self) -> dict[str, float]:
        """Return arm -> cost of its pre-training in steps of MoCo v2; none for a random start, and before one is finished."""
        found: dict[str, float] = {}
        for cell in self.cells:
            record = self.records.get(cell.name)
            if cell.stage == PRETRAIN and record is not None and cell.arm not in found:
                with suppress(InputError, KeyError):  # of an older program, or with a recipe that is not here
                    words = ["--data.root", "x", "--out", "x", *flags(record["settings"]["flags"])]
                    config = parse_training("pretrain", [str(cell.recipe), *words])
                    found[cell.arm] = record["metrics"]["steps"] * step_cost(config) / MOCO_STEP
        return found

    def metrics(self, stage: str) -> list[str]:
        """List the metrics of a stage."""
        names = dict.fromkeys(name for result in self.results if result.stage == stage for name in result.metrics)
        chosen = [name for name in RETRIEVAL if name in names]
        return chosen or [name for name in names if name != "steps"]


def read_study(path: Path) -> StudyResults:
    """Read the folder of a study, which may be running, or a `study.jsonl` that stands alone."""
    if path.is_file():
        name, grid, filed = read_study_file(path)
        facts = read_facts(path)
        digests = {cell: record.get("digest") for cell, record in filed.items()}
        cells = cells_of(grid)
        records = {cell.name: [filed[cell.name]] if cell.name in filed else [] for cell in cells}
    else:
        folder = StudyFolder(path)
        name, grid, digests = recall(folder)
        facts = folder.facts
        cells = cells_of(grid)
        records = {cell.name: folder.records(cell) for cell in cells}
    counted = {
        cell: next((record for record in some if record.get("digest") == digests.get(cell)), None)
        for cell, some in records.items()
    }
    finished = {cell: record for cell, record in counted.items() if record is not None}
    return StudyResults(
        name=name,
        grid=grid,
        cells=cells,
        facts=facts,
        records=finished,
        results=[result_of(cell, finished[cell.name]) for cell in cells if cell.name in finished],
        unfinished=[cell for cell in cells if cell.name not in finished],
        stale=sum(bool(records[cell]) for cell in counted if cell not in finished),
    )
