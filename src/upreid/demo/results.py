"""From the files of finished runs to a table, with what it does not say beside it."""

from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from upreid.config.files import read_json
from upreid.config.tours import DemoConfig
from upreid.demo.places import STARTS, Places

METRICS = {"mAP": "mAP", "rank1": "Rank-1", "mINP": "mINP"}
CAVEAT = (
    "One pre-training seed each, on rendered people: the spread is over fine-tuning seeds alone and proves no method."
)


def collect(places: Places, config: DemoConfig) -> dict[str, Any]:
    """Scores of every fine-tuning, their mean and spread per start, and the paired difference UP-ReID - MoCo v2."""
    seeds = range(1, config.seeds + 1)
    runs = {start: [read_json(places.finetuned(start, seed) / "retrieval.json") for seed in seeds] for start in STARTS}
    scores = {start: {metric: [run[metric] for run in some] for metric in METRICS} for start, some in runs.items()}
    pairs = zip(scores["upreid"]["mAP"], scores["moco"]["mAP"], strict=True)
    return {
        "scores": scores,
        "summary": {
            start: {metric: spread(values) for metric, values in table.items()} for start, table in scores.items()
        },
        "upreid_minus_moco_mAP": spread([ours - theirs for ours, theirs in pairs]),
        "minutes": {start: minutes(places, start) for start in STARTS if start != "random"},
        "protocol": runs["upreid"][0]["protocol"],
        "caveat": CAVEAT,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else 0.0}


def minutes(places: Places, start: str) -> float:
    """Minutes that the pre-training took, on one thread, by the last line of its journal."""
    from upreid.runtime.journal import read_journal

    return round(read_journal(places.pretrained(start) / "metrics.jsonl")[-1]["seconds"] / 60, 1)


def written(value: dict[str, float]) -> str:
    """Mean ± std."""
    return f"{value['mean']:.1f} ± {value['std']:.1f}"


def print_table(results: dict[str, Any]) -> None:
    """Show the table on standard output."""
    table = Table(title="People never seen before, after fine-tuning (percent)")
    table.add_column("start")
    for label in METRICS.values():
        table.add_column(label, justify="right")
    table.add_column("pre-training, minutes", justify="right")
    for start, label in STARTS.items():
        cells = [written(results["summary"][start][metric]) for metric in METRICS]
        table.add_row(label, *cells, str(results["minutes"].get(start, "")))
    console = Console()
    console.print(table)
    console.print(f"UP-ReID - MoCo v2, mAP, paired by seed: {written(results['upreid_minus_moco_mAP'])}")
    console.print(results["caveat"])
