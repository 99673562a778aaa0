"""What there is of a study, in words: tables of what is finished, differences by seed, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from upreid.config.study import Grid
from upreid.runtime.files import write_text
from upreid.study.cells import PRETRAIN, Cell, cells_of
from upreid.study.memory import recall
from upreid.study.places import Places
from upreid.study.results import Result, read_result
from upreid.study.statistics import ENOUGH_FOR_A_CLAIM, Interval, by_seed, interval, paired
from upreid.table import markdown

RETRIEVAL = {"mAP": "mAP", "rank1": "Rank-1", "mINP": "mINP"}
MOST_NAMED = 40


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A study and what its folder holds of it."""

    name: str
    grid: Grid
    cells: Sequence[Cell]
    results: Sequence[Result]
    unfinished: Sequence[Cell]

    def scores(self, stage: str, arm: str, metric: str) -> dict[int, float]:
        """Seed -> value of a metric, averaged over repeats."""
        found = [one for one in self.results if (one.stage, one.arm) == (stage, arm) and metric in one.metrics]
        return by_seed([(one.seed, one.metrics[metric]) for one in found])

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
    return Findings(
        name=name,
        grid=grid,
        cells=cells,
        results=[one for one in found if one is not None],
        unfinished=[cell for cell, one in zip(cells, found, strict=True) if one is None],
    )


def show(places: Places) -> None:
    """Print the report, and keep it as `table.md`."""
    findings = look(places)
    text = "\n".join(report(findings)) + "\n"
    write_text(places.out / "table.md", text)
    print(text, end="")


def report(findings: Findings) -> list[str]:
    """The whole report in Markdown."""
    lines = [f"# {findings.name}", "", *introduction(findings)]
    for stage in findings.stages():
        lines += ["", f"## {stage}", "", describe(findings.grid, stage), "", *scores_table(findings, stage)]
        differences = differences_table(findings, stage)
        lines += ["", *differences] if differences else []
    return [*lines, "", *missing(findings), "", *origins(findings)]


def introduction(findings: Findings) -> list[str]:
    """What the numbers are, and what they are not."""
    grid = findings.grid
    corpora = "; ".join(
        f"{name}: {one.identities} labelled people, seed {one.seed}" for name, one in grid.corpora.items()
    )
    lines = [
        f"Rendered people ({corpora}). Mean ± standard deviation over n pre-training seeds; differences are paired by "
        "seed, with two-sided 95 % t-intervals."
    ]
    if grid.purpose == "choosing":
        lines.append("This grid is for choosing: its corpus bears no claim about what was chosen on it.")
    return lines


def describe(grid: Grid, stage: str) -> str:
    """What a stage does."""
    if stage == PRETRAIN:
        return "Losses, unweighted, over the last tenth of the pre-training; minutes on the machine named below."
    setting = grid.settings[stage]
    what = {
        "finetune": f"Fine-tuning with `{setting.recipe}`, then retrieval",
        "evaluate": f"Retrieval with the encoder of `{setting.of or PRETRAIN}` as it is",
        "diagnose": "Diagnosis of the pre-training",
    }[setting.program]
    return f"{what}, on `{setting.corpus or grid.corpus}`."


def scores_table(findings: Findings, stage: str) -> list[str]:
    """A row an arm."""
    metrics = findings.metrics(stage)
    rows = []
    for arm in findings.grid.arms:
        found = {name: findings.scores(stage, arm, name) for name in metrics}
        if not any(found.values()):
            continue
        cells = [spread(interval(list(values.values()))) if values else "" for values in found.values()]
        spent = minutes(findings, stage, arm)
        rows.append([arm, *cells, spent, str(max(len(values) for values in found.values()))])
    head = ["arm", *(RETRIEVAL.get(name, name) for name in metrics), "minutes", "n"]
    return markdown(head, rows)


def minutes(findings: Findings, stage: str, arm: str) -> str:
    """Mean time of a cell."""
    spent = [one.seconds / 60 for one in findings.results if (one.stage, one.arm) == (stage, arm)]
    return f"{sum(spent) / len(spent):.1f}" if spent else ""


def differences_table(findings: Findings, stage: str) -> list[str]:
    """A row a comparison, and what its size admits."""
    metrics, rows, least = findings.metrics(stage), [], ENOUGH_FOR_A_CLAIM
    if stage == PRETRAIN:
        return []
    for first, second in findings.grid.compare:
        values = [paired(findings.scores(stage, first, name), findings.scores(stage, second, name)) for name in metrics]
        if not any(values):
            continue
        n = max(len(some) for some in values)
        least = min(least, n)
        rows.append([f"{first} - {second}", *(difference(interval(some)) if some else "" for some in values), str(n)])
    if not rows:
        return []
    head = ["difference", *(RETRIEVAL.get(name, name) for name in metrics), "n"]
    warning = f"Fewer than {ENOUGH_FOR_A_CLAIM} paired seeds (n = {least}): screening, no claim."
    return [*markdown(head, rows), *(["", warning] if least < ENOUGH_FOR_A_CLAIM else [])]


def spread(value: Interval) -> str:
    """Mean ± standard deviation."""
    return number(value.mean) + (f" ± {number(value.std)}" if value.std is not None else "")


def difference(value: Interval) -> str:
    """Mean and interval; bold where zero is outside."""
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f}"
    text = f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"
    return f"**{text}**" if value.is_clear_of_zero else text


def number(value: float) -> str:
    """Two decimals where they say something, else two significant digits."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def missing(findings: Findings) -> list[str]:
    """Cells without a result."""
    total, names = len(findings.cells), [cell.name for cell in findings.unfinished]
    if not names:
        return [f"All {total} cells are finished."]
    rest = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [f"Unfinished: {len(names)} of {total} cells: {', '.join(names[:MOST_NAMED])}{rest}."]


def origins(findings: Findings) -> list[str]:
    """Commits and hardware, and a warning where there are several."""
    lines: list[str] = []
    for what, told in (("Commit", commit), ("Hardware", hardware)):
        counts = count([told(one.origin) for one in findings.results])
        text = "; ".join(f"{name} ({many} cells)" for name, many in counts.items())
        if len(counts) > 1:
            lines.append(f"Note: these results come from different {what.lower()}s: {text}.")
        elif counts:
            lines.append(f"{what}: {next(iter(counts))}.")
    return lines


def commit(origin: Mapping[str, object]) -> str:
    """The commit in words."""
    return str(origin["commit"] or "installed package")


def hardware(origin: Mapping[str, object]) -> str:
    """The machine in words."""
    facts = origin["hardware"]
    assert isinstance(facts, dict)
    gpu = "no GPU" if facts["gpu"] == "none" else facts["gpu"]
    return f"{facts['machine']}, {facts['cores']} cores, {gpu}, torch {facts['torch']}"


def count(names: Sequence[str]) -> dict[str, int]:
    """Name -> how often."""
    return {name: names.count(name) for name in dict.fromkeys(names)}
