"""What there is of a study, in words: tables of what is finished, differences by seed, and what is missing."""

from collections.abc import Mapping, Sequence

from upreid.commands.table import markdown
from upreid.config.study import Grid
from upreid.runtime.files import write_text
from upreid.study.cells import PRETRAIN
from upreid.study.findings import LABELS, RETRIEVAL, Findings, look
from upreid.study.places import Places
from upreid.study.plots import write_plots
from upreid.study.statistics import ENOUGH_FOR_A_CLAIM, Interval, interval

MOST_NAMED = 40
MOST_AT_ONCE = 4
"""Comparisons that need no word about chance."""


def show(places: Places) -> None:
    """Print the report, and keep it as `table.md`, with a plot a stage."""
    findings = look(places)
    text = "\n".join(report(findings)) + "\n"
    write_text(places.out / "table.md", text)
    write_plots(findings, places)
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
    """A row an arm; where a stage measured much, a row a metric."""
    metrics, rows = findings.metrics(stage), []
    for arm in findings.grid.arms:
        found = {name: findings.scores(stage, arm, name) for name in metrics}
        if any(found.values()):
            cells = [spread(interval(list(values.values()))) if values else "" for values in found.values()]
            n = max(len(values) for values in found.values())
            rows.append([arm, *cells, minutes(findings, stage, arm), str(n)])
    return laid_out(["arm", *(LABELS.get(name, name) for name in metrics), "minutes", "n"], rows, metrics)


def laid_out(head: list[str], rows: list[list[str]], metrics: Sequence[str]) -> list[str]:
    """A Markdown table; turned by a quarter where it would be too wide to read."""
    if set(metrics) <= set(RETRIEVAL):
        return markdown(head, rows)
    first, *turned = [list(row) for row in zip(head, *rows, strict=True)]
    return markdown(first, [row for row in turned if any(row[1:])])


def minutes(findings: Findings, stage: str, arm: str) -> str:
    """Mean time of a cell."""
    spent = [one.seconds / 60 for one in findings.results if (one.stage, one.arm) == (stage, arm)]
    return f"{sum(spent) / len(spent):.1f}" if spent else ""


def differences_table(findings: Findings, stage: str) -> list[str]:
    """A row a comparison (or a column, as above), and what its size admits."""
    metrics = findings.metrics(stage)
    found = {name: findings.differences(stage, name) for name in metrics}
    rows, counts = [], []
    for pair in found[metrics[0]]:
        values = [found[name][pair] for name in metrics]
        if any(values):
            counts.append(max(len(some) for some in values))
            rows.append([pair, *(difference(interval(some)) if some else "" for some in values), str(counts[-1])])
    if not rows:
        return []
    table = laid_out(["difference", *(LABELS.get(name, name) for name in metrics), "n"], rows, metrics)
    few = f"Fewer than {ENOUGH_FOR_A_CLAIM} paired seeds (n = {min(counts)}): screening, no claim."
    return [*table, *caution(rows), *(["", few] if min(counts) < ENOUGH_FOR_A_CLAIM else [])]


def caution(rows: Sequence[Sequence[str]]) -> list[str]:
    """What many intervals at once mean."""
    if len(rows) <= MOST_AT_ONCE:
        return []
    return [
        "",
        f"{len(rows)} comparisons at once: about one in twenty leaves zero out by chance (no correction is made).",
    ]


def spread(value: Interval) -> str:
    """Mean ± standard deviation."""
    return number(value.mean) + (f" ± {number(value.std)}" if value.std is not None else "")


def difference(value: Interval) -> str:
    """Mean and interval; bold where zero is outside and there are seeds enough to say so."""
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f}"
    digits = 2 if max(-value.low, value.high) >= 1 else 3
    text = f"{value.mean:+.{digits}f} [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"
    return f"**{text}**" if value.is_clear_of_zero and value.n >= ENOUGH_FOR_A_CLAIM else text


def number(value: float) -> str:
    """Two decimals where they say something, else two significant digits."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def missing(findings: Findings) -> list[str]:
    """Cells without a result."""
    total, names = len(findings.cells), [cell.name for cell in findings.unfinished]
    if not names:
        return [f"All {total} cells are finished."]
    stale = f" Of these, {findings.stale} have a result that was made with other settings; it is not counted."
    rest = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [
        f"Unfinished: {len(names)} of {total} cells: {', '.join(names[:MOST_NAMED])}{rest}.{stale if findings.stale else ''}"
    ]


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
