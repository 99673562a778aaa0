"""How the sets name their images, and what a folder seems to hold.

A pattern is matched to the beginning of a base name, never to the folders above it: a parent called `run_1_c2` means
nothing. Group 1 is the person, group 2 the camera.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Naming:
    """A pattern, and a name that matches."""

    pattern: re.Pattern[str]
    example: str


def _naming(pattern: str, example: str) -> Naming:
    return Naming(re.compile(pattern), example)


MARKET = _naming(r"(-?\d+)_c(\d)s\d+_\d{6}_\d{2}\.", "0002_c1s1_000451_03.jpg")
ANY_MARKET = _naming(r"(-?\d+)_c(\d+)", "0002_c1_x.jpg")
CUHK03 = _naming(r"(\d+)_c(\d)_\d+\.", "0001_c1_1.png")
MSMT17_ECN = _naming(r"(\d+)_c(\d+)_\d{4,}\.", "0000_c12_0036.jpg")
PERSONX = _naming(r"(\d+)_c(\d+)", "0001_c10s1_01.jpg")
PERSONX_ORIGINAL = _naming(r"(\d+)_c(\d)s\d+_\d{1,2}\.", "0001_c1s1_01.jpg")

MARKERS = {
    "MSMT17_V2": "msmt17-v2",
    "mask_train_v2": "msmt17-v2",
    "MSMT17_V1": "msmt17-v1",
    "cuhk03_release": "cuhk03-raw",
    "cuhk-03.mat": "cuhk03-raw",
    "labeled/bounding_box_train": "cuhk03-np-labeled",
    "detected/bounding_box_train": "cuhk03-np-detected",
    "cuhk03-np/labeled": "cuhk03-np-labeled",
    "cuhk03-np/detected": "cuhk03-np-detected",
    "cuhk03_np/labeled": "cuhk03-np-labeled",
    "cuhk03_np/detected": "cuhk03-np-detected",
    "PersonX_v1": "personx-original",
    "1/bounding_box_train": "personx-original",
    "PersonX": "personx",
    "Market-1501-v15.09.15": "market1501",
}
"""What lies in the folder of which set, its form left out where that does not show."""

STYLES = {
    "market1501": MARKET.pattern,
    "personx-original": re.compile(r"\d+_c[12569]s\d_\d{1,2}\.jpg"),
    "personx": re.compile(r"\d+_c(3|4|8|10|11|12)s\d_\d{1,2}\.jpg"),
    "cuhk03-np": re.compile(r"\d{4}_c[12]_\d+\.png"),
    "msmt17-ecn": re.compile(r"\d{4}_c\d{1,2}_\d{4}\.jpg"),
}


def hint(root: Path, name: str) -> str:
    """Return `; that looks like msmt17-v2` where a folder has the marks of another set than `name`, else nothing."""
    others = [other for marker, other in MARKERS.items() if (root / marker).exists()]
    if others:
        return "" if any(is_form(name, other) for other in others) else f"; that looks like {others[0]}"
    queries = root / "query"
    return hint_from_names(sorted(path.name for path in queries.iterdir()), name) if queries.is_dir() else ""


def hint_from_names(names: Sequence[str], name: str) -> str:
    """Likewise, from the names of images."""
    for other, pattern in STYLES.items():
        if any(pattern.match(image) for image in names) and not is_form(name, other):
            return f"; that looks like {other}"
    return ""


def is_form(name: str, other: str) -> bool:
    """Is `name` the set `other`, or a form of it? personx-original is none of personx."""
    known = {*MARKERS.values(), *STYLES}
    return other == max((one for one in known if f"{name}-".startswith(f"{one}-")), key=len, default="")
