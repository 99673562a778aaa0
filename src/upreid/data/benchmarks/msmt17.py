"""MSMT17 (Wei et al., CVPR 2018): two official versions with lists, and the renamed form of zhunzhong07/ECN.

    MSMT17_V1/{train,test}/0000/0000_000_01_0303morning_0008_0.jpg    the third field is the camera
    MSMT17_V2/{mask_train_v2,mask_test_v2}/...                        the same with faces masked: 2-4 mAP lower
    MSMT17_V*/list_{train,val,query,gallery}.txt                      lines of `0000/0000_000_01_...jpg 0`
    bounding_box_{train,test}/, query/       0000_c12_0036.jpg        ECN: training and validation images together

fast-reid, torchreid and BoT train on list_train (30,248 images); TransReID, SpCL and LUPerson on list_val too (32,621).
Person 0 is an ordinary person, and training and test people are both numbered from 0.
"""

import codecs
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from upreid.data.benchmarks.benchmark import Benchmark, Part, assemble
from upreid.data.benchmarks.folders import (
    MARKET_FOLDERS,
    MSMT17_ECN,
    find_home,
    missing_files,
    named,
    read_market_folders,
)
from upreid.data.records import Record
from upreid.errors import DataError, InputError

TRAINVAL = "list_train and list_val"
CAMERA = re.compile(r"\d+_\d+_(\d+)_")
ECN_PLACES = ("", "msmt17", "MSMT17", "msmt17-ecn")


@dataclass(frozen=True, kw_only=True)
class Release:
    """Names of an official version's folders."""

    name: str
    folder: str
    train: str
    test: str

    @property
    def places(self) -> tuple[str, ...]:
        """Folders in which the version is looked for."""
        above = ("", "msmt17/", "MSMT17/", f"{self.name}/", f"{self.folder}/")
        return ("", *(place + self.folder for place in above))


V1 = Release(name="msmt17-v1", folder="MSMT17_V1", train="train", test="test")
V2 = Release(name="msmt17-v2", folder="MSMT17_V2", train="mask_train_v2", test="mask_test_v2")


def read_official(root: Path, *, version: Release, with_val: bool) -> Benchmark:
    """Read a version by its lists; the other version, where it stands beside it, is only mentioned.

    Raises InputError where folders, lists or listed files are missing, and for lines that are none of a list's.
    """
    name = f"{version.name}-trainval" if with_val else version.name
    home = find_home(root, version.name, places=version.places, folders=(version.train, version.test))
    lists = {"train": ("train", "val") if with_val else ("train",), "query": ("query",), "gallery": ("gallery",)}
    wanted = [f"list_{one}.txt" for some in lists.values() for one in some]
    lost = [file for file in wanted if not (home / file).is_file()]
    if lost:
        raise InputError(f"{home} lacks {', '.join(lost)}; the lists come with the official archive of {version.name}")
    parts: dict[str, Part] = {}
    for part, some in lists.items():
        folder = home / (version.train if part == "train" else version.test)
        records = [record for one in some for record in read_list(home / f"list_{one}.txt", folder)]
        parts[part] = Part(records=tuple(records))
    masked = ", faces masked" if version is V2 else ""
    return assemble(
        name,
        home,
        parts,
        variant=f"{version.folder[-2:]}{masked}; train is {TRAINVAL if with_val else 'list_train'}",
        shares_ids=False,
        also_present=_others(root, home, version),
    )


def read_list(path: Path, folder: Path) -> list[Record]:
    """Read the images that a list names, in its order.

    Between name and person may stand any blanks; a byte-order mark and the slashes of another system do not matter.
    Raises DataError, with the line's number, for a line that is none of a list's, or that names an image again.
    """
    entries: list[tuple[str, int, int]] = []
    lines: dict[str, int] = {}
    bad: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        name, person = (*line.rsplit(maxsplit=1), "", "")[:2]
        name = name.strip().replace("\\", "/").removeprefix("./")
        camera = CAMERA.match(name.rpartition("/")[2])
        if camera and person.isdecimal():
            entries.append((name, int(person), int(camera[1])))
            if lines.setdefault(name, number) != number:
                bad.append(f"line {number} names the image of line {lines[name]} again")
        elif line.strip():
            bad.append(f"line {number} is {line.strip()!a}, not like '0000/0000_000_01_0303morning_0008_0.jpg 0'")
    if bad:
        raise DataError(
            f"{path}: {len(bad)} lines are not as a list's: {bad[0]}; use the list that came with the images"
        )
    if not entries:
        raise DataError(f"{path} names no images; the lists come with the official archive")
    missing = missing_files(folder, [name for name, _, _ in entries])
    if missing:
        raise DataError(
            f"{len(missing)} of {len(entries)} images that {path} names are not in {folder}, such as {named(missing)}; "
            f"extract the whole archive, and use the lists that came with it"
        )
    return [Record(path=folder / name, person=person, camera=camera) for name, person, camera in entries]


def _text(path: Path) -> str:
    """Read a list in UTF-8 or, where its byte-order mark says so, in UTF-16."""
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return content.decode(encoding, errors="replace")


def _others(root: Path, home: Path, version: Release) -> list[str]:
    """Return the name of the other official version where it is there too."""
    other = V1 if version is V2 else V2
    homes = [home.parent / other.folder, *(root / place for place in other.places)]
    return [other.name] if any((place / other.train).is_dir() for place in homes) else []


def read_renamed(root: Path) -> Benchmark:
    """Read ECN's form at `root` or `root`/msmt17; raises InputError where folders or images are missing."""
    home = find_home(root, "msmt17-ecn", places=ECN_PLACES, folders=tuple(MARKET_FOLDERS.values()))
    parts = read_market_folders(home, "msmt17-ecn", MSMT17_ECN)
    variant = f"renamed for ECN; train is {TRAINVAL}"
    return assemble("msmt17-ecn", home, parts, variant=variant, shares_ids=False)


READERS = {
    **{version.name: partial(read_official, version=version, with_val=False) for version in (V1, V2)},
    **{f"{version.name}-trainval": partial(read_official, version=version, with_val=True) for version in (V1, V2)},
    "msmt17-ecn": read_renamed,
}
