"""`upreid pack`: images of any source, labelled or not, into tar shards that training reads at random."""

from collections.abc import Sequence
from pathlib import Path

from upreid.config.commands import PackConfig
from upreid.data.benchmarks import open_benchmark
from upreid.data.benchmarks.packed import NAME, PackedLabels, is_labelled_pack, labels_of
from upreid.data.packing.folder import begin, damaged_shard, finish
from upreid.data.packing.shard import Packing, Shape, finished_record, write_shard
from upreid.data.sources.packed_set import UNFINISHED, read_manifest
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.data.tracklet_lists import OWN, carries_tracklets, has_own_tracklets, read_tracklets
from upreid.errors import DataError, InputError, RunError, in_one_line
from upreid.runtime.console import progress, say
from upreid.runtime.files import write_text
from upreid.runtime.folder import claim
from upreid.runtime.processes import in_processes, usable_cores

NAMED = 5
"""So many unreadable images or damaged shards are named when packing stops."""


def run(config: PackConfig) -> None:
    """Pack, go on packing, or verify what has been packed."""
    source, labels = open_images(config)
    if config.out.resolve().is_relative_to(source.root.resolve()):
        raise InputError(f"{config.out} is inside {source.root}, which stays as it came; choose another folder")
    say(source.description)
    shape = Shape(height=config.height, width=config.width, quality=config.quality)
    wanted = config.tracklets or (Path(OWN) if carries_tracklets(source.root) else None)
    tracklets = read_tracklets(wanted, source, flag="--tracklets") if wanted else None
    if tracklets:
        say(tracklets.description)
    elif labels is None and has_own_tracklets(source.root):
        say(f"{source.root} has tracklets, which are not packed; --tracklets own packs them too")
    how = {"shape": shape, "shard_size": config.shard_size, "labels": labels, "tracklets": tracklets}
    packing = Packing(source=source, out=config.out, **how)
    workers = min(config.workers or usable_cores(), len(packing.shards()))
    with claim(config.out, resume=config.out.is_dir()):
        if begin(packing):
            verify(packing, workers)
            return
        write(packing, workers, config.unreadable_share)
        manifest = finish(packing)
    left_out = (
        f", {len(manifest['skipped'])} unreadable left out (named in manifest.json)" if manifest["skipped"] else ""
    )
    name = f" --data.name {labels.about['name']}" if labels else ""
    name += " --data.tracklets own" if tracklets and not labels else ""
    say(
        f"{config.out}: {manifest['images']} images in {len(manifest['shards'])} shards, "
        f"{manifest['bytes'] / 1e6:.1f} MB{left_out}; use it as --data.root {config.out}{name}"
    )


def open_images(config: PackConfig) -> tuple[Source, PackedLabels | None]:
    """Open what is to be packed: a labelled set by its name, a labelled packed set, or any other source."""
    name = config.name or (NAME if is_labelled_pack(config.src) else None)
    if name is None:
        return open_source(config.src, cfs_share=config.cfs_share, patience=config.patience), None
    if config.cfs_share != 1:
        raise InputError(f"--cfs-share {config.cfs_share}: a labelled set has no ranked list; leave it out")
    labelled = open_benchmark(name, config.src, patience=config.patience)
    return labelled.source, labels_of(labelled)


def write(packing: Packing, workers: int, limit: float) -> None:
    """Write the shards that are not there; stop when more than the share `limit` of all images cannot be read."""
    skipped: list[Sequence[str]] = []
    missing: list[int] = []
    for number in packing.shards():
        record = finished_record(packing, number)
        if record is None:
            missing.append(number)
        else:
            skipped += record.facts["skipped"]
    done = len(packing.source) - sum(len(packing.images(number)) for number in missing)
    if done:
        say(f"going on: {len(packing.shards()) - len(missing)} of {len(packing.shards())} shards are there")
    with progress("pack", len(packing.source), "images", done=done) as meter:
        stop_over(limit, skipped, packing)
        for number in in_processes(write_shard, packing, missing, min(workers, max(len(missing), 1))):
            record = finished_record(packing, number)
            if record is None:
                raise RunError(f"{packing.path(number)} went away while it was packed; run the same line again")
            skipped += record.facts["skipped"]
            meter.advance(len(packing.images(number)))
            stop_over(limit, skipped, packing)


def stop_over(limit: float, skipped: Sequence[Sequence[str]], packing: Packing) -> None:
    """Raise DataError once too many images could not be read."""
    if len(skipped) > limit * len(packing.source):
        sentences = [f"'{name}': {reason}" for name, reason in skipped]
        named, more = "; ".join(sentences[:NAMED]), ""
        if len(sentences) > NAMED:
            path = packing.out / UNFINISHED / "unreadable.txt"
            write_text(path, "".join(f"{in_one_line(sentence)}\n" for sentence in sentences))
            more = f"; and {len(sentences) - NAMED} more, all named in {path}"
        raise DataError(
            f"{len(skipped)} of {len(packing.source)} images cannot be read, over the limit of {limit:.1%}; repair or "
            f"remove them, or go on with a higher --unreadable-share: {named}{more}"
        )


def verify(packing: Packing, workers: int) -> None:
    """Read every shard of a finished pack and compare it with the manifest."""
    shards, damaged = read_manifest(packing.out)["shards"], []
    with progress("verify", len(shards), "shards") as meter:
        for name in in_processes(damaged_shard, packing, shards, workers):
            damaged += [name] if name else []
            meter.advance()
    if damaged:
        first = ", ".join(sorted(damaged)[:NAMED]) + (", ..." if len(damaged) > NAMED else "")
        raise DataError(
            f"{packing.out}: {len(damaged)} of {len(shards)} shards are damaged or missing ({first}); "
            f"restore them, or delete the folder and pack again"
        )
    say(f"{packing.out} is packed already; all {len(shards)} shards are as their hashes say")
