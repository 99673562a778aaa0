"""`upreid transfer`: several encoders on several labelled sets, in one table; each set's own encoders are marked.

Direct transfer is retrieval on a set that an encoder was not fine-tuned on. Every encoder sees every set once. Under torchrun the
ranks share the images.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from upreid.commands.evaluate import check_settings
from upreid.commands.table import latex, markdown
from upreid.config.commands import TransferConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.errors import InputError
from upreid.models.encoder import Encoder, encoder_file, read_file, rebuild
from upreid.retrieval.evaluation import evaluate_benchmark, identity_of, result_line
from upreid.retrieval.features import encode_benchmark
from upreid.retrieval.settings import METRIC_LABELS, Ranking
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.distributed import from_lead, join
from upreid.runtime.faults import errors_of_one_rank
from upreid.runtime.files import check_target, json_with, write_text

GENERIC = ("market-style", "csv")
"""Layouts of anybody's data, whose name does not tell one set from another."""
MARKS = {True: " *", False: "", None: " ?"}


def run(config: TransferConfig) -> None:
    """Evaluate every encoder on every set, print the table, and save the numbers where `out` says."""
    if config.out:
        check_target(config.out, "--out", json_with("settings", "results"))
    if not config.data:
        raise InputError("--data: expected at least one set as NAME=ROOT, such as --data market1501=data/market1501")
    given = [set_at(words) for words in config.data]
    for what, values in (("encoder", config.encoders), ("--data", config.data)):
        if len(set(values)) < len(values):
            raise InputError(
                f"{what} {next(one for one in values if values.count(one) > 1)} is given twice; leave one out"
            )
    paths = [encoder_file(path) for path in config.encoders]
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1, prefix="--")
    torch.set_num_threads(compute.threads)
    results = list[dict[str, Any]]()
    with join(compute.device) as world:
        if world.is_lead:
            compute.announce()
        sets = [open_benchmark(name, root, quiet=not world.is_lead) for name, root in given]
        for labelled in sets:
            check_settings(config, labelled)
        files = [
            from_lead(lambda path=path: read_file(path), world) for path in paths
        ]  # before the first image is read
        for path, shown, file in zip(paths, config.encoders, files, strict=True):
            encoder = rebuild(path, *file, device=compute.device)
            for labelled, words in zip(sets, config.data, strict=True):
                with errors_of_one_rank():
                    ranking = config.of(encoder.header.neck)
                    how = labelled, encoder.preprocess, compute, ranking, world
                    encoded = encode_benchmark(encoder.at_neck(ranking.neck), *how, batch=config.batch)
                if world.is_lead:
                    result = evaluate_benchmark(encoded)
                    result["protocol"] |= identity_of(path, encoder, ranking)
                    say(f"{shown} on {labelled.name}: {result_line(result)}")
                    results.append(
                        {"encoder": str(shown), "data": words, "own": is_own(encoder, labelled.name), **result}
                    )
    if results:
        report(config, sets, results)


def set_at(words: str) -> tuple[str, Path]:
    """Return name and folder of a labelled set that is given as NAME=ROOT."""
    name, equals, root = words.partition("=")
    if not (name and equals and root):
        raise InputError(f"--data {words}: expected NAME=ROOT for each set, such as --data market1501=data/market1501")
    return name, Path(root)


def is_own(encoder: Encoder, name: str) -> bool | None:
    """Tell whether an encoder was fine-tuned on the set `name`, in any of its forms; None where its name does not tell."""
    family = name.partition("-")[0]
    trained_on = re.findall(r"[\w-]+", encoder.header.trained_on)
    if name in GENERIC:
        return None if name in trained_on else False
    return any(word.partition("-")[0] == family for word in trained_on)


def report(config: TransferConfig, sets: Sequence[Benchmark], results: Sequence[dict[str, Any]]) -> None:
    """Print the table with its protocol, and write the numbers."""
    what = " / ".join(METRIC_LABELS[name] for name in config.metrics)
    names = [labelled.name for labelled in sets]
    titles = [words if names.count(name) > 1 else name for words, name in zip(config.data, names, strict=True)]
    rows = list[list[str]]()
    for start in range(0, len(results), len(sets)):
        row = results[start : start + len(sets)]
        about = row[0]["protocol"]
        first = [
            row[0]["encoder"],
            str(about["recipe"] or "-"),
            about["trained_on"],
            "x".join(map(str, about["input"])),
        ]
        rows.append([*first, *(cell(one, config.metrics) for one in row)])
    head = ["encoder", "recipe", "trained on", "input", *(f"{title}, {what}" for title in titles)]
    print("\n".join(markdown(head, rows) if config.format == "markdown" else latex(head, rows)))
    for note in notes(config, sets, titles, results):
        print(f"\n{note}" if config.format == "markdown" else f"% {note}")
    if config.out:
        settings = {name: value for name, value in asdict(config).items() if name in asdict(Ranking())}
        write_text(config.out, json.dumps({"settings": settings, "results": results}, indent=2) + "\n")
        say(f"written to {config.out}")


def cell(result: dict[str, Any], metrics: Sequence[str]) -> str:
    """Write the numbers of one encoder on one set, with the mark of its own set."""
    return " / ".join(f"{result[name]:.1f}" for name in metrics) + MARKS[result["own"]]


def notes(
    config: TransferConfig, sets: Sequence[Benchmark], titles: Sequence[str], results: Sequence[dict[str, Any]]
) -> list[str]:
    """State the protocol, and what makes numbers doubtful."""
    marks = {result["own"] for result in results}
    said = [
        "Without a mark: direct transfer, to a set that the encoder was not fine-tuned on; nothing was chosen on it."
    ]
    if True in marks:
        said.append("*: the encoder's own set, in one of its forms, on whose training people it was fine-tuned.")
    if None in marks:
        said.append("?: perhaps the encoder's own set; sets of this layout all have one name.")
    reranked = (
        f"re-ranked ({config.rerank_variant}, k1 {config.k1}, k2 {config.k2}, lambda {config.lambda_value:g})"
        if config.rerank
        else "not re-ranked"
    )
    junk = "left out of the ranking" if config.same_camera == "drop" else "kept as right answers"
    sides = {one["encoder"]: one["protocol"]["neck"] for one in results}
    before = [encoder for encoder, side in sides.items() if side == "before"]
    if "after" in sides.values() or not before:
        features = "after the neck where there is one" + (f", but of {', '.join(before)} before it" if before else "")
    else:
        features = "before the neck where there is one"
    said.append(
        f"Protocol: {config.metric} distance, features {features}, "
        f"{'mean with the mirror image' if config.flip else 'no mirror image'}, "
        f"{'several images a query' if config.multi_query else 'one image a query'}, {reranked}; "
        f"gallery entries of the query's person and camera are {junk}."
    )
    for labelled, title in zip(sets, titles, strict=True):
        counts = ", ".join(f"{labelled.facts[part]['images']:,} {part} images" for part in ("query", "gallery"))
        differs = "".join(f"; {sentence}" for sentence in labelled.facts.get("differs_from_published", []))
        said.append(f"{title}: {counts}{differs}.")
    doubts = [
        f"{one['encoder']} on {one['data']}: {remark}." for one in results for remark in one["protocol"]["remarks"]
    ]
    return [*said, *doubts]
