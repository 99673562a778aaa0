"""`upreid extract`: the features of a source's images, with their names, in one file.

The images are encoded in parts of about `PART` images, whole batches, each written as soon as it is there, so that the same line
goes on after an interruption. Under torchrun the ranks share the parts. The bits are those of one process that was never stopped.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from upreid.config.interchange import ExtractConfig
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source, SourcePart
from upreid.errors import DataError, InputError
from upreid.inference import ImageEncoder, extract, load_encoder
from upreid.retrieval.feature_file import (
    FeatureFacts,
    FeatureFile,
    check_suffix,
    joined,
    read_features,
    save_features,
)
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import say
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
        parts = from_lead(lambda: open_parts(config, facts), world)
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
        neck=config.neck or encoder.header.neck,
        flip=config.flip,
        **asdict(encoder.preprocess),
    )


def open_parts(config: ExtractConfig, facts: FeatureFacts) -> Path | None:
    """Return the folder of the parts, new or begun; None where the file is there already and holds just these features.

    Raises InputError where the file, or what was begun, is of another encoder, source or setting.
    """
    out = config.out
    parts = out.with_name(f".{out.name}.parts")
    where = "move it away, or give another name"
    if out.exists():
        if identity(read_features(out).facts) != identity(facts):
            raise InputError(f"{out} holds features of another encoder, source or setting; {where}")
        if parts.exists():  # killed between the file and this
            shutil.rmtree(parts)
        say(f"{out} is there already, made of the same images by the same encoder")
        return None
    about, begun = json.dumps(identity(facts) | {"batch": config.batch}, sort_keys=True), parts / "facts.json"
    if not parts.exists():
        write_text(begun, about)
    elif not begun.is_file() or begun.read_text() != about:
        raise InputError(f"{parts} was begun with another encoder, source or setting; {where}")
    return parts


def identity(facts: FeatureFacts) -> dict[str, object]:
    """Return what must agree for features to be the same."""
    return {name: value for name, value in asdict(facts).items() if name not in ("encoder", "source", "skipped")}


def part_file(parts: Path, number: int) -> Path:
    """Name the file of a part."""
    return parts / f"{number:06}.safetensors"


def spans(config: ExtractConfig, total: int) -> list[range]:
    """Cut the images into parts of whole batches, so that each is encoded among the same others as in one go."""
    size = max(PART // config.batch, 1) * config.batch
    return [range(first, min(first + size, total)) for first in range(0, total, size)]


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
    numbered = list(enumerate(spans(config, len(source))))
    own = numbered[world.rank :: world.size]
    missing = [(number, span) for number, span in own if not part_file(parts, number).is_file()]
    if world.is_lead and len(missing) < len(own):
        say(f"going on: {len(own) - len(missing)} of {len(own)} parts are there")
    unreadable: list[str] = []
    for number, span in missing:
        if len(numbered) > 1 and world.is_lead:
            say(f"part {number + 1} of {len(numbered)}")
        how = {"batch": config.batch, "flip": config.flip, "neck": facts.neck, "workers": compute.workers}
        found = extract(encoder, SourcePart(source, span), **how, unreadable_share=1.0, quiet=not world.is_lead)
        unreadable += found.skipped
        check_readable(config, unreadable, len(source))
        file = FeatureFile(features=found.features, names=found.names, facts=replace(facts, skipped=found.skipped))
        save_features(part_file(parts, number), file)


def check_readable(config: ExtractConfig, unreadable: Sequence[str], total: int) -> None:
    """Raise DataError where more images cannot be read than may be."""
    if len(unreadable) > config.unreadable_share * total:
        raise DataError(
            f"{len(unreadable)} of {total} images cannot be read, over the limit of {config.unreadable_share:.1%}; repair or "
            f"remove them, or raise --unreadable-share: {'; '.join(unreadable[:5])}"
        )


def finish(config: ExtractConfig, parts: Path, total: int) -> None:
    """Join the parts, and put them away."""
    file = joined([read_features(part_file(parts, number)) for number in range(len(spans(config, total)))])
    check_readable(config, file.facts.skipped, total)
    save_features(config.out, file)
    shutil.rmtree(parts)  # made by this command, and all in the file
    say(f"{config.out}: {len(file.names)} features of {file.features.shape[1]} dimensions")
