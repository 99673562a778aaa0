"""Labelled sets, each read as its authors laid it out.

Which form of a set is read (version, kind of boxes, with or without validation images) is always said by name and never
guessed from what is on disk.
"""

from collections.abc import Callable
from pathlib import Path

from upreid.data.benchmarks import cuhk03, custom, market1501, msmt17, packed, personx
from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.sources.packed_set import is_packed
from upreid.data.sources.retry import SECONDS
from upreid.data.sources.source import left_out
from upreid.errors import InputError, nearest
from upreid.runtime.console import say

__all__ = ["BENCHMARKS", "Benchmark", "open_benchmark", "read_benchmark"]

BENCHMARKS: dict[str, Callable[[Path], Benchmark]] = {
    "market1501": market1501.read_market1501,
    "market1501-500k": market1501.read_market1501_500k,
    **cuhk03.READERS,
    **msmt17.READERS,
    **personx.READERS,
    "market-style": custom.read_market_style,
    "csv": custom.read_csv,
    packed.NAME: packed.read_packed,
}


def read_benchmark(name: str, root: Path | str) -> Benchmark:
    """Read the set called `name` at `root`, which is its folder or the one above (for csv: the file), or a packed set of it.

    Raises InputError for a name that is unknown or short of saying which form is meant, and for what the readers refuse.
    """
    if name not in BENCHMARKS:
        raise InputError(f"unknown data set '{name}'{_hint(name)}")
    root = Path(root).expanduser()
    if root.is_dir() and is_packed(root):
        return packed.read_packed(root, name=name)
    return BENCHMARKS[name](root)


def open_benchmark(name: str, root: Path, *, quiet: bool = False, patience: float = SECONDS) -> Benchmark:
    """Read a labelled set by its name; unless `quiet`, say what was found, and how it differs from what was published.

    `patience`: seconds to wait for storage that does not answer when its images are read.
    """
    labelled = read_benchmark(name, root)
    labelled.source.patience = patience
    if not quiet:
        counts = ", ".join(f"{part} {labelled.facts[part]['images']}" for part in ("train", "query", "gallery"))
        say(f"{labelled.name} at {labelled.root}: {counts} images{left_out(labelled.left_out)}")
        for difference in labelled.facts.get("differs_from_published", []):
            say(f"{labelled.name}: {difference}")
    return labelled


def _hint(name: str) -> str:
    """Return the exact names where `name` is the beginning of several, else the nearest one."""
    forms = [known for known in BENCHMARKS if known.startswith(f"{name}-")]
    if len(forms) > 1:
        return f": which form of it? {', '.join(forms)}"
    return nearest(name, list(BENCHMARKS))
