"""The unlabelled people of `wild/` once more, as LUPerson comes: in folders, or in an lmdb with a list of its keys.

luperson-folder   country/city/video/image.jpg, and country/city/image.jpg, as its scripts leave them
luperson-lmdb     lmdb/data.mdb (key -> JPEG file) and keys.pkl (a list), as its converter writes them
"""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

from upreid.synthetic.corpus import Shot, wild_shots
from upreid.synthetic.settings import CorpusSettings

CITIES = ("CN_BJ", "CN_SH", "JP_TK", "UK_LN", "US_LA", "US_NY")
IMAGES_PER_VIDEO = 8
FILES = ("lmdb/data.mdb", "keys.pkl")
GROWTH = 2**30
"""Bytes that the lmdb may take beyond its pictures; what is not used is never written."""


def shots(corpus: CorpusSettings) -> list[Shot]:
    """The pictures of `wild/`, so many to a video; every third city has no folders for its videos."""
    found = []
    for place, shot in enumerate(wild_shots(corpus)):
        video, image = divmod(place, IMAGES_PER_VIDEO)
        number = video % len(CITIES)
        country, city = CITIES[number].split("_")
        path = PurePosixPath(country, city, f"{video:04d}", f"{image:08d}.jpg")
        if number % 3 == 2:
            path = PurePosixPath(country, city, f"{video:04d}_{image:08d}.jpg")
        found.append(replace(shot, path=path))
    return found


def write_lmdb(folder: Path, corpus: CorpusSettings) -> None:
    """Put the pictures into an lmdb, in the order of their keys `CC_YY_VVVV_FFFFFFFF`, and take the files away."""
    import lmdb

    pictures = {"_".join(shot.path.with_suffix("").parts): folder / shot.path for shot in shots(corpus)}
    size = sum(path.stat().st_size for path in pictures.values())
    environment = lmdb.open(str(folder / "lmdb"), map_size=2 * size + GROWTH, lock=False)
    with environment, environment.begin(write=True) as transaction:
        for key in sorted(pictures):
            transaction.put(key.encode(), pictures[key].read_bytes())
    (folder / "keys.pkl").write_bytes(pickle.dumps(sorted(pictures), protocol=4))
    for country in {shot.path.parts[0] for shot in shots(corpus)}:
        shutil.rmtree(folder / country)
