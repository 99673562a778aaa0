"""PersonX (Sun and Zheng, CVPR 2019): rendered people, in two forms that are two data sets.

The subset that SpCL, OpenUnReID and Cluster-Contrast use (yxgeee/SpCL#8):

    PersonX/{bounding_box_train,query,bounding_box_test}/0001_c10s1_01.jpg      six cameras: 3, 4, 8, 10, 11, 12

The original release, as its readme draws it (sxzrt/Instructions-of-the-PersonX-dataset, 15eaab5):

    PersonX_v1/{1,2,3,4,5,6}/{bounding_box_train,query,bounding_box_test}/0001_c1s1_01.jpg      person, camera, viewpoint

There a folder is a background and a background is a camera, so one folder alone has no match from another camera. The
authors combine several; which ones is chosen by name: `personx-original` is all six, `personx-original-456` the three
scenes. The gallery holds all 36 views of a person, the query's too; the same-camera rule takes that one out.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from upreid.data.benchmarks.benchmark import PARTS, Benchmark, Part, assemble
from upreid.data.benchmarks.folders import (
    MARKET_FOLDERS,
    PERSONX,
    PERSONX_ORIGINAL,
    find_home,
    hint_from_names,
    read_folder,
    read_market_folders,
)
from upreid.errors import InputError

SUBSET_PLACES = ("", "PersonX", "personx", "subset1", "PersonX/subset1", "personx/subset1", "personx/PersonX")
SUBSET_CAMERAS = {3, 4, 8, 10, 11, 12}
ORIGINAL_PLACES = ("", "PersonX_v1", "personx", "PersonX", "personx/PersonX_v1", "personx-original/PersonX_v1")
BACKGROUNDS = "123456"
COMBINATIONS = ("12", "13", "45", "46", "123", "456")
"""1 to 3 are plain colours, 4 to 6 scenes."""


def read_personx(root: Path) -> Benchmark:
    """Read the subset at `root`, `root`/PersonX, or `root`/personx/subset1; cameras keep their numbers.

    Raises InputError where folders or images are missing, or where cameras are not the subset's six.
    """
    home = find_home(root, "personx", places=SUBSET_PLACES, folders=tuple(MARKET_FOLDERS.values()))
    parts = read_market_folders(home, "personx", PERSONX)
    cameras = {record.camera for part in PARTS for record in parts[part].records}
    if not cameras <= SUBSET_CAMERAS:
        other = hint_from_names([record.path.name for record in parts["query"].records], "personx")
        raise InputError(
            f"{home} has cameras {_in_words(cameras)}, and the subset of PersonX has {_in_words(SUBSET_CAMERAS)}"
            f"{other or '; where it is a set of your own, its name is market-style'}"
        )
    return assemble("personx", home, parts, variant="the subset with six scenes (SpCL)")


def read_personx_original(root: Path, *, name: str, backgrounds: str) -> Benchmark:
    """Read some backgrounds of the original release at `root` or `root`/PersonX_v1 as one set.

    Raises InputError where folders or images are missing.
    """
    folders = [f"{background}/{folder}" for background in backgrounds for folder in MARKET_FOLDERS.values()]
    home = find_home(root, name, places=ORIGINAL_PLACES, folders=folders)
    parts: dict[str, Part] = {}
    for part, folder in MARKET_FOLDERS.items():
        some = [read_folder(home / background / folder, name, PERSONX_ORIGINAL) for background in backgrounds]
        records = tuple(record for one in some for record in one.records)
        odd_names = tuple(odd for one in some for odd in one.odd_names)
        left_out = sum((Counter(one.left_out) for one in some), Counter())
        parts[part] = Part(records=records, odd_names=odd_names, left_out=left_out)
    variant = f"the original release, backgrounds {', '.join(backgrounds)}"
    return assemble(name, home, parts, variant=variant)


def _in_words(cameras: Iterable[int | None]) -> str:
    return ", ".join(map(str, sorted(camera for camera in cameras if camera is not None)))


ORIGINALS = {"personx-original": BACKGROUNDS, **{f"personx-original-{some}": some for some in COMBINATIONS}}
READERS = {
    "personx": read_personx,
    **{name: partial(read_personx_original, name=name, backgrounds=some) for name, some in ORIGINALS.items()},
}
