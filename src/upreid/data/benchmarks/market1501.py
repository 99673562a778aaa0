"""Market-1501 (Zheng et al., ICCV 2015), and any set in its layout.

    bounding_box_train/  query/  bounding_box_test/      0002_c1s1_000451_03.jpg = person 2, camera 1

Person -1 is junk, neither hit nor miss, and dropped here; person 0 are distractors and stay in the gallery.
"""

import re
from pathlib import Path

from upreid.data.benchmarks.benchmark import SUFFIXES, Benchmark, count
from upreid.errors import InputError
from upreid.types import Record

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
PLACES = ("", "Market-1501-v15.09.15", "market1501", "Market1501", "market1501/Market-1501-v15.09.15")
NAME = re.compile(r"([-\d]+)_c(\d)")
JUNK, DISTRACTOR = -1, 0


def read_market1501(root: Path) -> Benchmark:
    """Read the set at `root`, at `root`/Market-1501-v15.09.15, or at `root`/market1501.

    The pattern is matched to the file's name alone, never to its folders. Raises InputError where folders or images
    are missing.
    """
    home = find_home(root)
    parts = {part: read_folder(home / folder) for part, folder in FOLDERS.items()}
    gallery = parts["gallery"][0]
    facts = {
        "train": count(parts["train"][0]),
        "query": count(parts["query"][0]),
        "gallery": count(gallery),
        "junk_dropped": sum(junk for _, junk, _ in parts.values()),
        "distractors": sum(record.person == DISTRACTOR for record in gallery),
        "names_not_matched": sum(odd for _, _, odd in parts.values()),
    }
    lists = {part: records for part, (records, _, _) in parts.items()}
    return Benchmark(name="market1501", root=home, facts=facts, **lists)


def find_home(root: Path) -> Path:
    """Find the folder that holds the three folders."""
    for place in PLACES:
        if all((root / place / folder).is_dir() for folder in FOLDERS.values()):
            return root / place
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder of a set in the Market-1501 layout")
    found = sorted(entry.name for entry in root.iterdir())[:5]
    raise InputError(
        f"{root} has no {', '.join(FOLDERS.values())} (it has {', '.join(found) or 'nothing'}); give their parent"
    )


def read_folder(folder: Path) -> tuple[tuple[Record, ...], int, int]:
    """Return the records of a folder by name, the number of junk images, and that of names that do not match."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    matches = [(path, NAME.match(path.name)) for path in files]
    records = [
        Record(path=path, person=int(match[1]), camera=int(match[2])) for path, match in matches if match is not None
    ]
    kept = tuple(record for record in records if record.person != JUNK)
    if not kept:
        raise InputError(f"{folder} holds no images named like 0002_c1s1_000451_03.jpg ({len(files)} images in all)")
    return kept, len(records) - len(kept), len(files) - len(records)
