"""`upreid extract`: the features of a source's images, with their names, in one file.

The images are encoded in parts of about `PART` images, whole batches, each written as soon as it is there, so that the same line
goes on after an interruption. Under torchrun the ranks share the parts. The bits are those of one process that was never stopped.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Subset

from upreid.config.commands import ExtractConfig
from upreid.data.dataset import SkipLedger
from upreid.data.loading import make_loader
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import DataError, InputError
from upreid.inference import ImageEncoder, SourceImages, collate_inputs, encoded, load_encoder
from upreid.retrieval.feature_file import (
    FeatureFacts,
    FeatureFile,
    check_suffix,
    joined,
    read_features,
    save_features,
)
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import progress, say
from upreid.runtime.distributed import World, from_lead, gather_rows, join
from upreid.runtime.faults import errors_of_one_rank
from upreid.runtime.files import write_text

PART = 8192
"""Number of images between two saves, at most."""


def run(config: ExtractConfig) -> None:
    """Extract, or go on extracting, and write the file."""
    check_suffix(config.out)
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1, prefix="--")
    torch.set_num_threads(compute.threads)
    with join(compute.device) as world, errors_of_one_rank():
        encoder = load_encoder(config.encoder, compute.device)
        source = open_source(config.source)
        if not len(source):
            raise InputError(f"there are no images in {config.source}; give a source that holds some")
        facts = facts_of(config, encoder, source)
        parts = from_lead(lambda: open_parts(config.out, facts), world)
        if parts is None:
            return
        if world.is_lead:
            compute.announce()
            say(source.description)
        encode_parts(config, encoder, source, facts, parts, compute, world)
        gather_rows(torch.zeros(1, 1), world)  # every rank's parts are there
        if world.is_lead:
            finish(config, parts, len(source))


def facts_of(config: ExtractConfig, encoder: ImageEncoder, source: Source) -> FeatureFacts:
    """Say how the features are made."""
    return FeatureFacts(
        encoder=str(config.encoder),
        encoder_sha256=encoder.sha256,
        source=str(config.source),
        fingerprint=source.fingerprint,
        neck=config.neck,
        flip=config.flip,
        **asdict(encoder.preprocess),
    )


def open_parts(out: Path, facts: FeatureFacts) -> Path | None:
    """Return the folder of the parts, new or begun; None where the file is there already and holds just these features.

    Raises InputError where the file, or what was begun, is of another encoder, source or setting.
    """
    parts, about = out.with_name(f".{out.name}.parts"), json.dumps(asdict(facts), sort_keys=True)
    where = "move it away, or give another name"
    if out.exists():
        if identity(read_features(out).facts) != identity(facts):
            raise InputError(f"{out} holds features of another encoder, source or setting; {where}")
        say(f"{out} is there already, made of the same images by the same encoder")
        return None
    if parts.exists():
        begun = parts / "facts.json"
        if not begun.is_file() or begun.read_text() != about:
            raise InputError(f"{parts} was begun with another encoder, source or setting; {where}")
    else:
        write_text(parts / "facts.json", about)
    return parts


def identity(facts: FeatureFacts) -> dict[str, object]:
    """Return what must agree for features to be the same."""
    return {name: value for name, value in asdict(facts).items() if name not in ("encoder", "source", "skipped")}


def part_file(parts: Path, number: int) -> Path:
    """Name the file of a part."""
    return parts / f"{number:06}.safetensors"


def encode_parts(
    config: ExtractConfig,
    encoder: ImageEncoder,
    source: Source,
    facts: FeatureFacts,
    parts: Path,
    compute: Compute,
    world: World,
) -> None:
    """Encode this rank's parts that are not there yet."""
    size = part_size(config)
    own = range(world.rank, -(-len(source) // size), world.size)
    spans = {number: range(number * size, min((number + 1) * size, len(source))) for number in own}
    done = [number for number in own if part_file(parts, number).is_file()]
    ledger = SkipLedger(len(source), config.unreadable_share)
    images = SourceImages(source, encoder.preprocess)
    began = sum(len(spans[number]) for number in done)
    if began and world.is_lead:
        say(f"going on: {len(done)} of {len(own)} parts are there")
    total = sum(map(len, spans.values()))
    with progress("extract", total, "images", done=began, quiet=not world.is_lead) as meter:
        for number in (number for number in own if number not in done):
            span = spans[number]
            known = set(ledger.reasons)

            def batches(span: range = span) -> Iterator[Tensor]:
                loader = make_loader(
                    Subset(images, span),
                    batch_size=config.batch,
                    workers=compute.workers,
                    collate=collate_inputs,
                    flag=compute.workers_flag,
                )
                for pixels, skipped in loader:
                    for sentence in ledger.add(skipped):
                        say(f"skipped {sentence}")
                    yield pixels
                    meter.advance(len(pixels))

            features = encoded(encoder, batches(), len(span), None, flip=config.flip, neck=config.neck)
            kept = [index for index in span if index not in ledger.reasons]
            skipped = tuple(reason for index, reason in sorted(ledger.state()) if index not in known)
            save_features(
                part_file(parts, number),
                FeatureFile(
                    features=features[[index - span.start for index in kept]],
                    names=tuple(source.name(index) for index in kept),
                    facts=replace(facts, skipped=skipped),
                ),
            )


def part_size(config: ExtractConfig) -> int:
    """Return the number of images in a part: whole batches, so that each image is encoded among the same others as in one go."""
    return max(PART // config.batch, 1) * config.batch


def finish(config: ExtractConfig, parts: Path, total: int) -> None:
    """Join the parts, and put them away."""
    file = joined([read_features(part_file(parts, number)) for number in range(-(-total // part_size(config)))])
    skipped = file.facts.skipped
    if len(skipped) > config.unreadable_share * total:
        raise DataError(
            f"{len(skipped)} of {total} images cannot be read, over the limit of {config.unreadable_share:.1%}; repair or "
            f"remove them, or raise --unreadable-share: {'; '.join(skipped[:5])}"
        )
    save_features(config.out, file)
    shutil.rmtree(parts)  # made by this command, and all in the file
    say(f"{config.out}: {len(file.names)} features of {file.features.shape[1]} dimensions")
