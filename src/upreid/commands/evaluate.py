"""`upreid evaluate`: an encoder, a labelled set, and numbers that say how they were made.

Under torchrun the ranks share the images, and rank 0 ranks, says and writes; the numbers are those of one process.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from upreid.config.commands import EvaluateConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.errors import InputError
from upreid.models.encoder import Encoder, encoder_file, read_file, rebuild
from upreid.retrieval.evaluation import check_ranking, identity_of, rank_benchmark, say_result
from upreid.retrieval.features import EncodedBenchmark, encode_benchmark
from upreid.retrieval.ranked_page import NUM_SHOWN, ranked_page
from upreid.retrieval.settings import Ranking, Retrieval
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.distributed import from_lead, join
from upreid.runtime.faults import errors_of_one_rank
from upreid.runtime.files import check_target, json_with, write_text
from upreid.runtime.pages import is_page, require_pages
from upreid.types import Preprocess


def run(config: EvaluateConfig) -> None:
    """Evaluate, print, and save where `out` and `page` say."""
    check_files(config)
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1, prefix="--")
    torch.set_num_threads(compute.threads)
    with join(compute.device) as world:
        if world.is_lead:
            compute.announce()
        labelled = open_benchmark(config.data.name, config.data.root, quiet=not world.is_lead)
        check_settings(config, labelled)
        path = encoder_file(config.encoder)
        encoder = rebuild(path, *from_lead(lambda: read_file(path), world), device=compute.device)
        pixels = preprocess(config, encoder, quiet=not world.is_lead)
        with errors_of_one_rank():
            ranking = config.of(encoder.header.neck)
            how = labelled, pixels, compute, ranking, world
            encoded = encode_benchmark(encoder.at_neck(ranking.neck), *how, batch=config.batch)
        if world.is_lead:
            report(config, encoded, encoder, path)


def check_files(config: EvaluateConfig) -> None:
    """Refuse to write over a file that this command did not write."""
    if config.out:
        check_target(config.out, "--out", json_with("protocol"))
    if config.page:
        check_target(config.page, "--page", is_page)
        require_pages("pages (--page)")


def check_settings(config: Retrieval, labelled: Benchmark) -> None:
    """Refuse what cannot be evaluated, and settings that would be ignored."""
    check_ranking(config, labelled)
    refuse_faults(labelled, trains=False, same_camera=config.same_camera)
    defaults = Ranking()
    for name in ("k1", "k2", "lambda_value", "rerank_variant"):
        if not config.rerank and getattr(config, name) != getattr(defaults, name):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} {getattr(config, name)}: has no effect without --rerank; add that flag")


def report(config: EvaluateConfig, encoded: EncodedBenchmark, encoder: Encoder, path: Path) -> None:
    """Say, print and write the numbers, with the protocol they were made with, and show what was found."""
    result, ranked = rank_benchmark(encoded, first=NUM_SHOWN if config.page else 0)
    result["protocol"] |= identity_of(path, encoder, encoded.ranking)
    say_result(result)
    text = json.dumps(result, indent=2)
    print(text)
    if config.out:
        write_text(config.out, text + "\n")
        say(f"written to {config.out}")
    if config.page:
        write_text(config.page, ranked_page(result, encoded.labelled.query, encoded.labelled.gallery, ranked))
        say(f"page: {config.page}")


def preprocess(config: EvaluateConfig, encoder: Encoder, *, quiet: bool) -> Preprocess:
    """Input size and interpolation from the flags where given, else from the encoder's header; say which won."""
    header = encoder.preprocess
    height, width = config.height or header.height, config.width or header.width
    source = "the encoder's header" if not (config.height or config.width) else "--height/--width"
    if not quiet:
        given = " (but --interpolation)" if config.interpolation else ""
        say(f"input {height}x{width} from {source}; mean, std and interpolation{given} from the encoder's header")
    return replace(header, height=height, width=width, interpolation=config.interpolation or header.interpolation)
