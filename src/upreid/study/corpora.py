"""The corpora of a study that are folders: their paths, what is in them, and images that stand in two of them."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from upreid.config.study import Corpus, Grid
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.data.benchmarks.benchmark import PARTS
from upreid.data.decode import UnreadableImage
from upreid.data.sources.archives import ShardImages
from upreid.data.sources.folder import Folder
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source, place
from upreid.errors import DataError, InputError, nearest
from upreid.runtime.console import progress, say
from upreid.study.cells import identity_of

Facts = dict[str, Any]
"""What is known of a corpus: its fingerprint and its counts."""
MOST_READ = 100_000
"""Number of unlabelled images that are read for the comparison with a labelled set."""
NAMED = 3


def with_paths(grid: Grid, given: Sequence[str]) -> Grid:
    """Put paths of the command line, `CORPUS=PATH`, into a grid; InputError where a folder is left without one."""
    corpora = dict(grid.corpora)
    folders = [name for name, corpus in corpora.items() if not corpus.is_rendered]
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or not path:
            raise InputError(f"--paths got '{word}'; give CORPUS=PATH, as in luperson=/data/LUPerson")
        if name not in folders:
            known = nearest(name, folders) if folders else "; all corpora of this grid are rendered"
            raise InputError(f"--paths names '{name}', which is no folder corpus of the grid{known}")
        corpora[name] = replace(corpora[name], root=path)
    rooted = {
        name: replace(corpus, root=str(Path(corpus.root).expanduser())) if corpus.root else corpus
        for name, corpus in corpora.items()
    }
    lacking = [name for name in folders if not rooted[name].root]
    if lacking:
        words = " ".join(f"{name}=PATH" for name in lacking[:5])
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise InputError(f"{len(lacking)} corpora of this grid have no path: --paths {words}{more}")
    return replace(grid, corpora=rooted)


def facts_of(grid: Grid) -> dict[str, Facts]:
    """Open every folder and return corpus -> its facts; InputError where one cannot be used, or a labelled set stands twice."""
    facts: dict[str, Facts] = {}
    seen: dict[str, str] = {}
    for name, corpus in grid.corpora.items():
        if corpus.is_rendered:
            continue
        try:
            facts[name] = look(corpus)
        except (InputError, DataError) as error:
            raise type(error)(f"corpus {name}: {error}") from error
        owner = seen.setdefault(facts[name]["fingerprint"], name)
        if owner != name:
            raise InputError(
                f"corpora {owner} and {name} are the same images ({grid.corpora[owner].root}, {corpus.root}); leave one out"
            )
    return facts


def look(corpus: Corpus) -> Facts:
    """Open a folder, and say what is in it."""
    assert corpus.root is not None
    identity = identity_of(corpus)
    said = hashlib.sha256(str(identity).encode()).hexdigest()[:8]
    if corpus.name is None:
        source = open_source(Path(corpus.root), cfs_share=corpus.cfs_share or 1.0)
        return {"fingerprint": said, "identity": identity, "images": len(source)}
    labelled = read_benchmark(corpus.name, Path(corpus.root))
    counts = {part: labelled.facts[part] for part in PARTS}
    return {"fingerprint": said, "identity": identity, "images": len(labelled.records), "name": corpus.name, **counts}


def described(name: str, grid: Grid, facts: Mapping[str, Facts]) -> str:
    """Say what a corpus is: how many images, people and cameras, and its fingerprint."""
    corpus, known = grid.corpora[name], facts.get(name)
    if corpus.is_rendered:
        return f"{name}: {corpus.identities} labelled people, seed {corpus.seed}"
    kind = f"{corpus.name}, labelled" if corpus.name is not None else "unlabelled"
    if known is None:
        return f"{name} ({kind})"
    if corpus.name is None:
        return f"{name} ({kind}): {known['images']:,} images, fingerprint {known['fingerprint']}"
    train, query, gallery = (known[part] for part in PARTS)
    cameras = max(part["cameras"] for part in (train, query, gallery))
    return (
        f"{name} ({kind}): {train['images']:,} images of {train['people']:,} people to train on, {query['images']:,} queries "
        f"of {query['people']:,} people and {gallery['images']:,} gallery images, {cameras} cameras, fingerprint "
        f"{known['fingerprint']}"
    )


def check_unchanged(before: Mapping[str, Facts], facts: Mapping[str, Facts], grid: Grid, out: Path) -> None:
    """Refuse folders that hold other images than when the study began."""
    for name, now in facts.items():
        then = before.get(name, now)
        if then["fingerprint"] != now["fingerprint"]:
            raise InputError(
                f"corpus {name} at {grid.corpora[name].root} has changed since the study in {out} began: "
                f"{then['images']} images with fingerprint {then['fingerprint']} then, {now['images']} with "
                f"{now['fingerprint']} now; restore the folder, or choose another --out"
            )


def check_apart(grid: Grid, facts: Mapping[str, Facts], known: Mapping[str, Facts]) -> None:
    """Refuse a labelled set of which images are also in an unlabelled source, byte for byte; pairs of `known` were compared."""
    corpora = {name: corpus for name, corpus in grid.corpora.items() if name in facts}
    for name, corpus in corpora.items():
        others = [other for other in corpora if corpora[other].name is not None and not {name, other} <= known.keys()]
        if corpus.name is not None or not others:
            continue
        source = open_source(Path(str(corpus.root)), cfs_share=corpus.cfs_share or 1.0)
        sizes = sizes_of(source, f"sizes of {name}")
        for other in others:
            labelled = read_benchmark(str(corpora[other].name), Path(str(corpora[other].root)))
            twins, compared = same_files(source, sizes, labelled, f"{name} and {other}")
            if twins:
                named = ", ".join(f"{one} = {two}" for one, two in twins[:NAMED])
                raise InputError(
                    f"{len(twins)} images of the labelled set {other} are also in the unlabelled source {name}, byte for "
                    f"byte ({named}); remove them there, or leave one of the two corpora out"
                )
            of = "" if compared == len(labelled.records) else f" ({compared} of {len(labelled.records)} compared)"
            say(f"no image of {other} is in {name}, byte for byte{of}")


def same_files(source: Source, sizes: np.ndarray, labelled: Benchmark, what: str) -> tuple[list[tuple[str, str]], int]:
    """Pair images of a labelled set with equal files of a source; return also how many of the set were compared.

    Only files of one size are read. Rare sizes come first, until `MOST_READ` images of the source are read.
    """
    own = sizes_of(labelled.source, f"sizes of {labelled.name}")[: len(labelled.records)]
    order = np.argsort(sizes, kind="stable")
    values, starts, counts = np.unique(sizes[order], return_index=True, return_counts=True)
    ranges = dict(zip(values.tolist(), zip(starts.tolist(), counts.tolist(), strict=True), strict=True))
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, size in enumerate(own.tolist()):
        by_size[size].append(index)
    compared = sum(len(some) for size, some in by_size.items() if size not in ranges)
    shared = sorted((size for size in by_size if size in ranges), key=lambda size: ranges[size][1] / len(by_size[size]))
    twins: list[tuple[str, str]] = []
    left = MOST_READ
    with progress(f"comparing {what}", len(shared), "sizes", quiet=len(shared) < 100) as meter:
        for size in shared:
            start, count = ranges[size]
            if count <= left:
                left -= count
                compared += len(by_size[size])
                theirs = digests(labelled.source, by_size[size])
                for digest, index in digests(source, order[start : start + count].tolist()).items():
                    if digest in theirs:
                        twins.append((place(labelled.source, theirs[digest]), place(source, index)))
            meter.advance()
    return twins, compared


def digests(source: Source, indices: Sequence[int]) -> dict[bytes, int]:
    """Return hash -> index of some images; unreadable ones are left out."""
    found: dict[bytes, int] = {}
    for index in indices:
        try:
            found.setdefault(hashlib.sha256(source.read(index)).digest(), index)
        except UnreadableImage:
            continue
    return found


def sizes_of(source: Source, what: str) -> np.ndarray:
    """Return the number of bytes of every image; -1 for one that is missing."""
    if isinstance(source, ShardImages):
        return np.asarray(source.index.arrays["sizes"]).astype(np.int64)
    sizes = np.full(len(source), -1, dtype=np.int64)
    with progress(what, len(source), "images", quiet=len(source) < 10_000) as meter:
        for index in range(len(source)):
            with suppress(OSError, UnreadableImage):
                is_file = isinstance(source, Folder)
                path = Path(source.root, source.name(index))
                sizes[index] = path.stat().st_size if is_file else len(source.read(index))
            meter.advance()
    return sizes
