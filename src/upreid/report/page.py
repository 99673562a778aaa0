"""One page about some runs: what they are, how they trained, what they are worth, and what their encoders see.

What a run's folder says is always shown. Pictures come from the data that the run names; where these are gone, the page says so.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from upreid import __version__
from upreid.commands.table import RetrievalResult, headings, notes, read
from upreid.config.commands import OptionalSet, ReportConfig
from upreid.errors import InputError, UpreidError
from upreid.models.encoder import ENCODER_FILE, encoder_sha256
from upreid.report.clusters import Clustering, cluster_charts, look_into
from upreid.report.curves import charts_of
from upreid.report.people import SeenSet, named_sets, see
from upreid.report.runs import ReportedRun, differing_settings, read_runs
from upreid.report.terms import Terms, look
from upreid.retrieval.settings import METRIC_LABELS
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import say
from upreid.runtime.faults import machine_faults
from upreid.runtime.files import check_target, write_text
from upreid.runtime.pages import is_page, render, require_pages


@machine_faults()
def run(config: ReportConfig) -> None:
    """Write the page; nothing is written where a run cannot be reported."""
    check_target(config.out, "--out", is_page)
    require_pages("reports")
    given = given_set(config.data)
    runs = read_runs(config.runs)
    compute = settle(config.device, config.threads, config.workers, workers_wanted=0, prefix="--")
    torch.set_num_threads(compute.threads)
    remarks: list[str] = []
    write_text(config.out, page_of(runs, config, given, compute, remarks))
    for remark in remarks:
        say(remark)
    say(f"report: {config.out}")


def page_of(
    runs: Sequence[ReportedRun],
    config: ReportConfig,
    given: tuple[str, Path] | None,
    compute: Compute,
    remarks: list[str],
) -> str:
    """Return the page; `remarks` takes a sentence for everything that cannot be shown."""
    return render(
        "report.html",
        names=[run.name for run in runs],
        overview={run.name: run.overview for run in runs},
        unfinished=[sentence for run in runs if (sentence := unfinished(run))],
        results=result_tables(runs, remarks),
        charts=charts_of(runs),
        cluster_charts=cluster_charts(runs),
        clusterings=seen_clusters(runs, remarks),
        sets=seen_sets(runs, config, given, compute, remarks),
        terms=seen_terms(runs, config, compute, remarks),
        differing=differing_settings(runs) if len(runs) > 1 else {},
        configs={run.name: json.dumps(run.facts, indent=2) for run in runs},
        command=shlex.join(["upreid", "report", *map(str, config.runs), "--out", str(config.out)]),
        version=__version__,
        remarks=remarks,
    )


def given_set(data: OptionalSet) -> tuple[str, Path] | None:
    """Return the labelled set of the command line; None where none is given."""
    if data.name is None and data.root is None:
        return None
    if data.name is None or data.root is None:
        raise InputError("--data.name and --data.root name a labelled set together; give both, or leave both out")
    return data.name, data.root


def unfinished(run: ReportedRun) -> str:
    """Say that a run has not come to its end; nothing where it has."""
    done, steps = run.steps_done, run.steps
    return "" if done >= steps else f"{run.name} is at step {done:,} of {steps:,}: it goes on, or was stopped."


def result_tables(runs: Sequence[ReportedRun], remarks: list[str]) -> list[dict[str, Any]]:
    """Return a table for each data set and protocol, a row for each run that was measured so; protocols are never mixed."""
    found: dict[str, RetrievalResult] = {}
    for run in runs:
        try:
            if (run.folder / "retrieval.json").is_file():
                found[run.name] = read(run.folder)
        except UpreidError as error:
            remarks.append(f"{run.name}: no results, because {error}")
            continue
        if run.name in found and is_outdated(run.folder, found[run.name]):
            remarks.append(f"{run.name}: its results were made with another encoder than its folder holds now")
    columns = sorted({result.column for result in found.values()})
    titles = headings(columns)
    told = notes(columns, titles)
    return [
        {
            "title": title,
            "metrics": METRIC_LABELS,
            "rows": rows,
            "protocols": {name: json.dumps(one.protocol, indent=2) for name, one in rows.items()},
            "note": " ".join(told) if place == 0 else "",
        }
        for place, (column, title) in enumerate(zip(columns, titles, strict=True))
        if (rows := {name: one for name, one in found.items() if one.column == column})
    ]


def is_outdated(folder: Path, result: RetrievalResult) -> bool:
    """Return whether a result was made with another encoder than the one in the folder of its run."""
    made_with, encoder = result.protocol.get("encoder_sha256"), folder / ENCODER_FILE
    return made_with is not None and encoder.is_file() and encoder_sha256(encoder) != made_with


def seen_sets(
    runs: Sequence[ReportedRun],
    config: ReportConfig,
    given: tuple[str, Path] | None,
    compute: Compute,
    remarks: list[str],
) -> list[SeenSet]:
    """Look at the labelled sets of the runs; a set or an encoder that is not there is remarked."""
    ready = [run for run in runs if (run.folder / ENCODER_FILE).is_file()]
    remarks += [f"{run.name}: no pictures, because it has saved no encoder yet" for run in runs if run not in ready]
    sets = []
    for (name, root), some in named_sets(ready, given).items():
        try:
            sets.append(see(some, name, root, compute, people=config.people))
        except (UpreidError, OSError) as error:
            remarks.append(f"{', '.join(run.name for run in some)}: no pictures of {name}, because {error}")
    return sets


def seen_clusters(runs: Sequence[ReportedRun], remarks: list[str]) -> list[Clustering]:
    """Look into the last clusters of the adaptations; images or a state that are not there are remarked."""
    found = []
    for run in runs:
        if run.program == "adapt":
            try:
                found.append(look_into(run))
            except (UpreidError, OSError) as error:
                remarks.append(f"{run.name}: no pictures of its clusters, because {error}")
    return found


def seen_terms(runs: Sequence[ReportedRun], config: ReportConfig, compute: Compute, remarks: list[str]) -> list[Terms]:
    """Look at what the terms of the pre-trainings look at; images or a state that are not there are remarked."""
    found = []
    for run in runs:
        if run.program != "pretrain":
            continue
        try:
            found.append(look(run, compute, config.unlabelled))
        except (UpreidError, OSError) as error:
            remarks.append(f"{run.name}: nothing of its views, because {error}")
    return found
