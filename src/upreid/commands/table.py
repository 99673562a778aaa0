"""`upreid table`: results side by side, and never two protocols in one column.

A row is a method: what it started from, its recipe, what it was trained on. A column is a data set and all that decides how
it was measured. Results that differ in the seed only share a cell: mean and standard deviation.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from upreid.config.commands import TableConfig
from upreid.config.files import read_json
from upreid.errors import InputError
from upreid.retrieval.settings import METRIC_LABELS

MEASURES = ("metric", "flip", "neck", "rerank", "multi_query", "average_precision", "denominator", "ties", "max_rank")
MEASURES += ("same_person_same_camera", "query", "gallery", "junk_dropped", "distractors", "valid_queries")
"""Parts of a protocol that make numbers incomparable where they differ."""


@dataclass(frozen=True)
class RetrievalResult:
    """One file of numbers."""

    path: Path
    numbers: dict[str, float]
    protocol: dict[str, Any]

    @property
    def row(self) -> tuple[str, ...]:
        """What was measured, apart from the seed."""
        about = self.protocol
        height, width = about["input"]
        start = Path(str(about.get("init") or about["encoder"])).parts[-2:]
        return "/".join(start), str(about["recipe"] or "-"), str(about["trained_on"]), f"{height}x{width}"

    @property
    def column(self) -> tuple[str, str]:
        """Data set, and how it was measured."""
        measures = {name: self.protocol.get(name) for name in MEASURES}
        if measures["rerank"]:  # the only variant of earlier results is the classic one
            measures["rerank"] = {"method": "", "variant": "classic", **measures["rerank"]}
        return str(self.protocol["dataset"]), json.dumps(measures)


def run(config: TableConfig) -> None:
    """Print the table."""
    results = [read(path) for path in config.runs]
    rows = list(dict.fromkeys(result.row for result in results))
    columns = sorted(dict.fromkeys(result.column for result in results))
    titles = headings(columns)
    cells = [
        [cell([one for one in results if (one.row, one.column) == (row, column)], config.metrics) for column in columns]
        for row in rows
    ]
    what = " / ".join(METRIC_LABELS[name] for name in config.metrics)
    head = ["start", "recipe", "trained on", "input", *(f"{title}, {what}" for title in titles)]
    body = [[*row, *row_cells] for row, row_cells in zip(rows, cells, strict=True)]
    print("\n".join(markdown(head, body) if config.format == "markdown" else latex(head, body)))
    doubts = [f"{one.path}: {remark}." for one in results for remark in one.protocol.get("remarks", ())]
    for note in (*notes(columns, titles), *doubts):
        print(f"\n{note}" if config.format == "markdown" else f"% {note}")


def read(path: Path) -> RetrievalResult:
    """Read a run's `retrieval.json`, or a file that evaluate wrote."""
    file = path / "retrieval.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"no results at {file}; give folders of finished fine-tuning runs, or files that evaluate wrote"
        )
    content = read_json(file)
    protocol = content.get("protocol")
    if not isinstance(protocol, dict) or not {"dataset", "input", "recipe", "trained_on"} <= protocol.keys():
        raise InputError(f"{file} holds no result with a protocol; give files that upreid finetune or evaluate wrote")
    numbers = {name: float(value) for name, value in content.items() if isinstance(value, int | float)}
    return RetrievalResult(file, numbers, protocol)


def cell(results: Sequence[RetrievalResult], metrics: Sequence[str]) -> str:
    """Numbers of the results that differ in their seed only."""
    if not results:
        return ""
    seeds = [result.protocol.get("seed") for result in results]
    if len(results) > 1 and len(set(seeds)) < len(seeds):
        names = ", ".join(str(result.path) for result in results)
        raise InputError(
            f"these results differ in nothing that a table shows, their seeds neither: {names}; leave one out"
        )
    count = f" ({len(results)} seeds)" if len(results) > 1 else ""
    return " / ".join(spread([result.numbers[name] for result in results]) for name in metrics) + count


def spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def headings(columns: Sequence[tuple[str, str]]) -> list[str]:
    """Name of each column: the data set, numbered where it was measured in several ways."""
    names = [dataset for dataset, _ in columns]
    return [
        f"{name} [{names[:place].count(name) + 1}]" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def notes(columns: Sequence[tuple[str, str]], titles: Sequence[str]) -> list[str]:
    """Say what sets apart the columns of one data set."""
    said: list[str] = []
    for dataset in dict.fromkeys(name for name, _ in columns):
        ways = {title: json.loads(how) for (name, how), title in zip(columns, titles, strict=True) if name == dataset}
        if len(ways) < 2:
            continue
        differing = [name for name in MEASURES if len({json.dumps(how[name]) for how in ways.values()}) > 1]
        told = "; ".join(
            f"{title}: {', '.join(f'{name} {written(how[name])}' for name in differing)}" for title, how in ways.items()
        )
        said.append(f"{dataset} was measured in {len(ways)} ways that cannot be compared. {told}.")
    return said


def written(value: Any) -> str:
    """A protocol's value in words."""
    if isinstance(value, dict):
        return " ".join(f"{key} {inner}" for key, inner in value.items())
    return "none" if value is None else str(value)


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def latex(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A LaTeX table (booktabs)."""
    rows = [" & ".join(escaped(text) for text in row) + r" \\" for row in (head, *body)]
    columns = "llll" + "c" * (len(head) - 4)
    return [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]


def escaped(text: str) -> str:
    """LaTeX's special characters, escaped."""
    for character in "&%_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$")
