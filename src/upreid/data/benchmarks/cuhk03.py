"""CUHK03 (Li et al., CVPR 2014) with the 767/700 protocol (Zhong et al., CVPR 2017), in folders or as it was released.

    cuhk03-np/labeled/    boxes drawn by people      {bounding_box_train,query,bounding_box_test}/0001_c1_1.png
    cuhk03-np/detected/   boxes of a detector        = person 1, camera 1

    cuhk03/cuhk03_release/cuhk-03.mat                                 all images
    cuhk03/cuhk03_new_protocol_config_{labeled,detected}.mat          from zhunzhong07/person-re-ranking
    cuhk03/images_{labeled,detected}/1_001_1_01.png                   extracted here once: pair, person, view, image

torchreid extracts to the same folders under the same names, so its images are used where they are there already. Labelled and
detected are two data sets; a result must say which it is.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image

from upreid.data.benchmarks.benchmark import PARTS, Benchmark, Part, assemble
from upreid.data.benchmarks.folders import (
    CUHK03,
    MARKET_FOLDERS,
    find_home,
    hint,
    listing,
    missing_files,
    named,
    read_market_folders,
)
from upreid.data.benchmarks.mat_files import Protocol, read_images, read_protocol
from upreid.data.records import Record
from upreid.errors import DataError, InputError
from upreid.runtime.console import progress

WORDS = {"labeled": "labelled boxes", "detected": "detected boxes"}
FOLDER_PLACES = ("", "cuhk03-np", "cuhk03_np", "CUHK03-NP", "CUHK03_NP", "cuhk03")
RELEASE_PLACES = ("", "cuhk03", "CUHK03", "cuhk03-raw", "cuhk03-raw/cuhk03")
RELEASE = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
VIEW = re.compile(r"\d+_\d+_(\d+)_\d+\.png$")


def read_cuhk03_np(root: Path, *, kind: str) -> Benchmark:
    """Read `kind` (labeled or detected) of the set at `root`, below `root`/cuhk03-np, or at `root` itself.

    Which boxes a folder holds cannot be seen in it, only from its name and its counts. Raises InputError where folders or
    images are missing, and for a folder of boxes that is called the other kind.
    """
    name = f"cuhk03-np-{kind}"
    other = next(word for word in WORDS if word != kind)
    if other in root.name.lower() and (root / MARKET_FOLDERS["train"]).is_dir():
        raise InputError(f"{root} is called {other}, and {name} was asked for; give the folder of {kind} boxes")
    below = [str(Path(place, folder)) for place in FOLDER_PLACES for folder in (kind, kind.capitalize())]
    places = ["", *below, *(str(Path(name, place)) for place in below)]
    home = find_home(root, name, places=places, folders=tuple(MARKET_FOLDERS.values()))
    return assemble(name, home, read_market_folders(home, name, CUHK03), variant=f"{WORDS[kind]}, 767/700 protocol")


def read_cuhk03_raw(root: Path, *, kind: str) -> Benchmark:
    """Read `kind` (labeled or detected) of the release at `root` or `root`/cuhk03; the first time, extract its images.

    Raises InputError where files are missing or the images cannot be written, and DataError where they are damaged.
    """
    name = f"cuhk03-raw-{kind}"
    home, config, release = find_release(root, name, kind)
    protocol, folder = read_protocol(config), home / f"images_{kind}"
    if not folder.is_dir():
        extract(release, kind, folder, total=len(protocol.names))
    missing = missing_files(folder, protocol.names)
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} of the {len(protocol.names)} images that {config.name} names, such as "
            f"{named(missing)}; delete it, and it is extracted anew"
        )
    parts = {part: Part(records=records_of(protocol, part, folder)) for part in PARTS}
    return assemble(name, home, parts, variant=f"raw release, {WORDS[kind]}, 767/700 protocol")


def find_release(root: Path, name: str, kind: str) -> tuple[Path, Path, Path]:
    """Find the folder, the config in it or in the release's own folder, and the file of images (maybe extracted before)."""
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder of {name}, or the one above it")
    file = f"cuhk03_new_protocol_config_{kind}.mat"
    for home in (root / place for place in RELEASE_PLACES):
        releases = [home / place for place in RELEASE if (home / place).is_file()]
        if not releases and not (home / f"images_{kind}").is_dir():
            continue
        for config in (home / file, home / "cuhk03_release" / file):
            if config.is_file():
                return home, config, (releases or [home / RELEASE[0]])[0]
        raise InputError(f"{home} lacks {file}; it comes with zhunzhong07/person-re-ranking, folder CUHK03-NP")
    raise InputError(
        f"{root} has no {' or '.join(RELEASE)} (it has {listing(root)})"
        f"{hint(root, name) or '; extract the release there, or give the folder that holds it'}"
    )


def records_of(protocol: Protocol, part: str, folder: Path) -> tuple[Record, ...]:
    """Return one of the protocol's three lists; the camera is the view, 1 or 2."""
    chosen = [(protocol.names[place], protocol.people[place]) for place in getattr(protocol, part)]
    views = [(name, person, VIEW.match(name)) for name, person in chosen]
    odd = [name for name, _, view in views if view is None]
    if odd:
        raise DataError(f"the protocol names images unlike 1_001_1_01.png, such as {named(odd)}")
    return tuple(Record(path=folder / name, person=person, camera=int(view[1])) for name, person, view in views if view)


def extract(release: Path, kind: str, folder: Path, *, total: int) -> None:
    """Write every image of one kind to `folder` as PNG: whole, or not there.

    Raises InputError where that cannot be done.
    """
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        with alone_in(folder.parent):
            if folder.is_dir():
                return  # another process did it while this one waited
            shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
            aside.mkdir()
            try:
                with progress(f"extracting {release.name}, {kind}", total, "images") as meter:
                    for name, pixels in read_images(release, kind):
                        Image.fromarray(pixels).save(aside / name, compress_level=1)
                        meter.advance()
                aside.replace(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"cannot extract the images to {folder}: {error.strerror or error}; free or unlock {folder.parent}, or copy "
            f"the release to where you may write"
        ) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep the other processes of a run waiting; the lock is on the folder itself, so nothing is left behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


READERS = {
    **{f"cuhk03-np-{kind}": partial(read_cuhk03_np, kind=kind) for kind in WORDS},
    **{f"cuhk03-raw-{kind}": partial(read_cuhk03_raw, kind=kind) for kind in WORDS},
}
