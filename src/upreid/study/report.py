"""The report of a study: tables of what is finished, differences by seed, what is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from upreid.commands.table import markdown
from upreid.config.study import Grid
from upreid.runtime.console import say
from upreid.runtime.files import write_text
from upreid.runtime.resume import free_name
from upreid.study.analysis import (
    ENOUGH_FOR_A_CLAIM,
    LABELS,
    RETRIEVAL,
    Interval,
    StudyResults,
    interval,
    read_study,
)
from upreid.study.cells import PRETRAIN
from upreid.study.corpora import described
from upreid.study.curves import write_curves
from upreid.study.folder import StudyFolder
from upreid.study.plots import write_plots
from upreid.study.study_file import write_study_file

MOST_NAMED = 40
MOST_AT_ONCE = 4
"""Number of comparisons that need no word about chance."""
PLURAL = {"Precision": "precisions of training"}


def show(path: Path) -> None:
    """Print the report of a study.

    A folder also keeps it: as `table.md`, with all results in `study.jsonl`, two plots for every stage, and its curves.
    """
    study = read_study(path)
    text = "\n".join(report(study)) + "\n"
    print(text, end="")
    if path.is_file():
        return
    write_text(path / "table.md", text)
    file_away(study, StudyFolder(path))
    write_plots(study, path)
    write_curves(study, path)


def file_away(study: StudyResults, folder: StudyFolder) -> None:
    """Write `study.jsonl`; where the one that is there holds a result that is not counted, it is moved aside first."""
    before = folder.filed[2] if folder.filed else {}
    if any(study.records.get(cell, {}).get("digest") != record.get("digest") for cell, record in before.items()):
        aside = folder.file.rename(free_name(folder.file))
        say(f"{folder.file} held results that are not counted here; it was moved to {aside}")
    write_study_file(folder.file, study.name, study.grid, study.records, study.facts)


def report(study: StudyResults) -> list[str]:
    """Write the whole report in Markdown."""
    lines = [f"# {study.name}", "", *introduction(study)]
    for setting, stages in study.stages().items():
        lines += ["", f"## {setting}", "", describe(study.grid, setting, stages), "", *scores_table(study, stages)]
        differences = differences_table(study, stages)
        lines += ["", *differences] if differences else []
    return [*lines, "", *missing(study), "", *origins(study)]


def introduction(study: StudyResults) -> list[str]:
    """Say what the numbers are, and what they are not."""
    grid = study.grid
    words = {name: described(name, grid, study.facts) for name in grid.corpora}
    rendered = "; ".join(words[name] for name, corpus in grid.corpora.items() if corpus.is_rendered)
    folders = "; ".join(words[name] for name, corpus in grid.corpora.items() if not corpus.is_rendered)
    data = [f"Rendered people ({rendered})."] if rendered else []
    data += [f"Images from folders: {folders}."] if folders else []
    lines = [
        f"{' '.join(data)} Mean ± standard deviation over n pre-training seeds; differences are paired by "
        "seed, with two-sided 95 % t-intervals. Cost: the pre-training in steps of MoCo v2, counted in forward passes."
    ]
    choosing = [name for name in grid.corpora if grid.use(name) == "choosing"]
    if len(choosing) == len(grid.corpora):
        lines.append("This grid is for choosing: its corpus bears no claim about what was chosen on it.")
    return lines


def describe(grid: Grid, name: str, stages: Sequence[str]) -> str:
    """Say what a setting does, on which data, and whether these serve to choose or to claim."""
    if name == PRETRAIN:
        used = dict.fromkeys(arm.corpus or grid.corpus for arm in grid.arms.values() if arm.recipe is not None)
        return (
            f"Losses, unweighted, over the last tenth of the pre-training, on {with_use(grid, list(used))}; minutes on the "
            "machine named below."
        )
    setting = grid.settings[name]
    what = {
        "finetune": f"Fine-tuning with `{setting.recipe}`, then retrieval",
        "adapt": f"Adaptation without labels with `{setting.recipe}`, then retrieval",
        "evaluate": f"Retrieval with the encoder of `{setting.of or PRETRAIN}` as it is",
        "diagnose": "Diagnosis of the pre-training",
    }[setting.program]
    labels = f", with the labels of {with_use(grid, [setting.source])}" if setting.source else ""
    return f"{what}, on {with_use(grid, [grid.stages(name)[stage] for stage in stages])}{labels}."


def with_use(grid: Grid, corpora: Sequence[str]) -> str:
    """Name corpora, each with what its results are for."""
    return ", ".join(f"`{corpus}` (for {grid.use(corpus)})" for corpus in corpora)


def columns(study: StudyResults, stages: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return heading -> stage and metric: a group of columns for every corpus that stands beside others."""
    found: dict[str, tuple[str, str]] = {}
    for stage in stages:
        corpus = stage.partition("@")[2]
        for metric in study.metrics(stage):
            found[f"{corpus} {LABELS.get(metric, metric)}".strip()] = (stage, metric)
    return found


def scores_table(study: StudyResults, stages: Sequence[str]) -> list[str]:
    """Write a row for every arm; where a stage measured much, a row for every metric."""
    places, rows = columns(study, stages), []
    for arm in study.grid.arms:
        scores = [study.scores(stage, arm, metric) for stage, metric in places.values()]
        if any(scores):
            cells = [spread(interval(list(values.values()))) if values else "" for values in scores]
            n = max(len(values) for values in scores)
            cost = f"{study.costs[arm]:,.0f}" if arm in study.costs else "-"
            rows.append([arm, cost, *cells, minutes(study, stages, arm), str(n)])
    return laid_out(["arm", "cost", *places, "minutes", "n"], rows, places)


def laid_out(head: list[str], rows: list[list[str]], places: Mapping[str, tuple[str, str]]) -> list[str]:
    """Write a Markdown table, with rows and columns exchanged where it would be too wide to read."""
    if {metric for _, metric in places.values()} <= set(RETRIEVAL):
        return markdown(head, rows)
    first, *turned = [list(row) for row in zip(head, *rows, strict=True)]
    return markdown(first, [row for row in turned if any(row[1:])])


def minutes(study: StudyResults, stages: Sequence[str], arm: str) -> str:
    """Return the mean time of a cell."""
    spent = [result.seconds / 60 for result in study.results if result.stage in stages and result.arm == arm]
    return f"{sum(spent) / len(spent):.1f}" if spent else ""


def differences_table(study: StudyResults, stages: Sequence[str]) -> list[str]:
    """Write a row for every comparison (or a column, as above), and what the number of seeds permits to say."""
    places = columns(study, stages)
    differences = [study.differences(stage, metric) for stage, metric in places.values()]
    rows, counts = [], []
    for pair in differences[0]:
        values = [some[pair] for some in differences]
        if any(values):
            counts.append(max(len(some) for some in values))
            rows.append([pair, *(difference(interval(some)) if some else "" for some in values), str(counts[-1])])
    if not rows:
        return []
    table = laid_out(["difference", *places, "n"], rows, places)
    if len(rows) > MOST_AT_ONCE:
        chance = "about one in twenty leaves zero out by chance (no correction is made)"
        table += ["", f"{len(rows)} comparisons at once: {chance}."]
    if min(counts) < ENOUGH_FOR_A_CLAIM:
        table += ["", f"Fewer than {ENOUGH_FOR_A_CLAIM} paired seeds (n = {min(counts)}): screening, no claim."]
    return table


def spread(value: Interval) -> str:
    """Write mean ± standard deviation."""
    return number(value.mean) + (f" ± {number(value.std)}" if value.std is not None else "")


def difference(value: Interval) -> str:
    """Write mean and interval, bold where zero is outside and the seeds are enough for a claim."""
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f}"
    digits = 2 if max(-value.low, value.high) >= 1 else 3
    text = f"{value.mean:+.{digits}f} [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"
    return f"**{text}**" if value.is_clear_of_zero and value.n >= ENOUGH_FOR_A_CLAIM else text


def number(value: float) -> str:
    """Write two decimals, or two significant digits of a small number."""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def missing(study: StudyResults) -> list[str]:
    """Name the cells without a result."""
    total, names = len(study.cells), [cell.name for cell in study.unfinished]
    if not names:
        return [f"All {total} cells are finished."]
    stale = f" Of these, {study.stale} have a result that was made with other settings; it is not counted."
    rest = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [
        f"Unfinished: {len(names)} of {total} cells: {', '.join(names[:MOST_NAMED])}{rest}.{stale if study.stale else ''}"
    ]


def origins(study: StudyResults) -> list[str]:
    """Name commits and hardware, with a warning where there are several."""
    lines: list[str] = []
    for what, words in (("Commit", commit), ("Hardware", hardware), ("Precision", precision)):
        named = [name for result in study.results if (name := words(result.origin))]
        counts = {name: named.count(name) for name in dict.fromkeys(named)}
        text = "; ".join(f"{name} ({many} cells)" for name, many in counts.items())
        if len(counts) > 1:
            lines.append(f"Note: these results come from different {PLURAL.get(what, what.lower() + 's')}: {text}.")
        elif counts:
            lines.append(f"{what}: {next(iter(counts))}.")
    return lines


def commit(origin: Mapping[str, object]) -> str:
    """Name the commit."""
    return str(origin["commit"] or "installed package")


def hardware(origin: Mapping[str, object]) -> str:
    """Name the machine."""
    facts = origin["hardware"]
    assert isinstance(facts, dict)
    gpu = "no GPU" if facts["gpu"] == "none" else facts["gpu"]
    return f"{facts['machine']}, {facts['cores']} cores, {gpu}, torch {facts['torch']}"


def precision(origin: Mapping[str, object]) -> str:
    """Name the precision that a training recorded; nothing for what was not trained, and for results without a record."""
    return str(origin.get("precision") or "")
