"""The results of a demo: from the files of finished runs to a table, with what it does not say beside it."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from upreid.config.commands import DemoConfig
from upreid.config.files import read_json
from upreid.runtime.journal import read_journal
from upreid.synthetic.settings import CorpusSettings

STARTS = {"random": "random start", "moco": "MoCo v2", "upreid": "UP-ReID"}
METRICS = {"mAP": "mAP", "rank1": "Rank-1", "mINP": "mINP"}
CAVEAT = (
    "One pre-training seed each, at equal compute, on rendered people: the spread is over fine-tuning seeds alone and "
    "proves no method."
)


@dataclass(frozen=True)
class DemoFolder:
    """The folder of a demo, and where its files are."""

    out: Path

    def rendered(self, config: DemoConfig) -> CorpusSettings:
        """Return what is rendered: people in videos, who are about as hard as photographs (docs/stand-in.md)."""
        return CorpusSettings(version=2, identities=config.identities, seed=config.seed)

    @property
    def corpus(self) -> Path:
        """The folder of the rendered people."""
        return self.out / "corpus"

    def pretrained(self, start: str) -> Path:
        """Return the folder of a pre-training run."""
        return self.out / "runs" / start

    def finetuned(self, start: str, seed: int) -> Path:
        """Return the folder of a fine-tuning run."""
        return self.out / "finetune" / f"{start}-{seed}"


def collect(folder: DemoFolder, config: DemoConfig) -> dict[str, Any]:
    """Gather scores of every fine-tuning, mean and spread for each start, and the paired difference UP-ReID - MoCo v2."""
    seeds = range(1, config.seeds + 1)
    runs = {start: [read_json(folder.finetuned(start, seed) / "retrieval.json") for seed in seeds] for start in STARTS}
    scores = {start: {metric: [run[metric] for run in some] for metric in METRICS} for start, some in runs.items()}
    pairs = zip(scores["upreid"]["mAP"], scores["moco"]["mAP"], strict=True)
    return {
        "scores": scores,
        "summary": {
            start: {metric: spread(values) for metric, values in table.items()} for start, table in scores.items()
        },
        "upreid_minus_moco_mAP": spread([ours - theirs for ours, theirs in pairs]),
        "minutes": {start: minutes(folder, start) for start in STARTS if start != "random"},
        "protocol": runs["upreid"][0]["protocol"],
        "caveat": CAVEAT,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return mean and sample standard deviation (0 for a single value)."""
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else 0.0}


def minutes(folder: DemoFolder, start: str) -> float:
    """Return the minutes that a pre-training took on one thread, by the last line of its journal."""
    return round(read_journal(folder.pretrained(start) / "metrics.jsonl")[-1]["seconds"] / 60, 1)


def written(value: dict[str, float]) -> str:
    """Write mean ± standard deviation."""
    return f"{value['mean']:.1f} ± {value['std']:.1f}"


def print_table(results: dict[str, Any]) -> None:
    """Print the table."""
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
