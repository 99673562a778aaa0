"""What the folder of a study holds at this moment; the study may be running."""

from collections.abc import Sequence
from dataclasses import dataclass

from upreid.config.study import Grid
from upreid.study.cells import PRETRAIN, Cell, cells_of
from upreid.study.memory import recall
from upreid.study.places import Places
from upreid.study.results import Result, read_result
from upreid.study.statistics import by_seed, paired

RETRIEVAL = ("mAP", "rank1", "mINP")
LABELS = {"mAP": "mAP", "rank1": "Rank-1", "mINP": "mINP"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study and what its folder holds of it."""

    name: str
    grid: Grid
    cells: Sequence[Cell]
    results: Sequence[Result]
    unfinished: Sequence[Cell]
    stale: int
    """Unfinished cells with a result that was made with other settings."""

    def scores(self, stage: str, arm: str, metric: str) -> dict[int, float]:
        """Seed -> value of a metric, averaged over repeats."""
        found = [one for one in self.results if (one.stage, one.arm) == (stage, arm) and metric in one.metrics]
        return by_seed([(one.seed, one.metrics[metric]) for one in found])

    def differences(self, stage: str, metric: str) -> dict[str, list[float]]:
        """The grid's comparisons -> a difference for each seed that both arms have; pre-trainings are not compared."""
        if stage == PRETRAIN:
            return {}
        return {
            f"{first} - {second}": paired(self.scores(stage, first, metric), self.scores(stage, second, metric))
            for first, second in self.grid.compare
        }

    def stages(self) -> list[str]:
        """What there are results of."""
        there = {one.stage for one in self.results}
        return [stage for stage in [*self.grid.settings, PRETRAIN] if stage in there]

    def metrics(self, stage: str) -> list[str]:
        """What a stage measured."""
        names = dict.fromkeys(name for one in self.results if one.stage == stage for name in one.metrics)
        chosen = [name for name in RETRIEVAL if name in names]
        return chosen or [name for name in names if name != "steps"]


def look(places: Places) -> Findings:
    """Read a study's folder; it may be running."""
    name, grid, digests = recall(places)
    cells = cells_of(grid)
    found = [read_result(cell, places, digests[cell.name]) for cell in cells]
    unfinished = [cell for cell, one in zip(cells, found, strict=True) if one is None]
    return Findings(
        name=name,
        grid=grid,
        cells=cells,
        results=[one for one in found if one is not None],
        unfinished=unfinished,
        stale=sum(places.result(cell).is_file() for cell in unfinished),
    )
