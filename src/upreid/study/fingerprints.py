"""The identity of the data that a grid names by path: what is there, not where it is."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

from upreid.data.benchmarks import open_benchmark
from upreid.data.benchmarks.benchmark import PARTS
from upreid.data.sources.recognise import open_source
from upreid.errors import InputError


def fingerprints(program: str, flags: dict[str, Any]) -> dict[str, str]:
    """Return flag -> fingerprint of the data that `flags` name by path; none where all of it is rendered for the study.

    Raises InputError or DataError where such data cannot be opened.
    """
    data = flags.get("data", {})
    found: dict[str, str] = {}
    if "root" in data and program == "pretrain":
        found["--data.root"] = unlabelled(data["root"], data.get("cfs_share", 1.0))
    elif "root" in data:
        found["--data.root"] = labelled(data.get("name", "market1501"), data["root"])
    if "split" in data:
        found["--data.split"] = contents(data["split"])
    if "unlabelled" in flags:
        found["--unlabelled"] = unlabelled(flags["unlabelled"], 1.0)
    return found


@cache  # every cell of an arm asks, and a source may have millions of files
def unlabelled(root: str, cfs_share: float) -> str:
    """Fingerprint of a source of unlabelled images: the names, and their order."""
    return open_source(Path(root), cfs_share=cfs_share).fingerprint


@cache
def labelled(name: str, root: str) -> str:
    """Fingerprint of a labelled set: path, person and camera of every image in its three lists."""
    benchmark = open_benchmark(name, Path(root), quiet=True)
    lines = [
        f"{part}\t{os.path.relpath(record.path, benchmark.root)}\t{record.person}\t{record.camera}"
        for part in PARTS
        for record in getattr(benchmark, part)
    ]
    return f"{benchmark.name} {hashlib.sha256(os.fsencode(chr(10).join(lines))).hexdigest()[:16]}"


@cache
def contents(path: str) -> str:
    """Fingerprint of a small file."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give an existing split file") from error
