"""CUHK03 in folders, with the 767/700 protocol (Zhong et al., CVPR 2017).

    cuhk03-np/labeled/    boxes drawn by people      {bounding_box_train,query,bounding_box_test}/0001_c1_1.png
    cuhk03-np/detected/   boxes of a detector        = person 1, camera 1

Labelled and detected are two data sets; a result must say which it is.
"""

from functools import partial
from pathlib import Path

from upreid.data.benchmarks.benchmark import Benchmark, assemble
from upreid.data.benchmarks.folders import MARKET_FOLDERS, find_home, read_market_folders
from upreid.data.benchmarks.naming import CUHK03
from upreid.errors import InputError

PLACES = ("", "cuhk03-np", "cuhk03_np", "CUHK03-NP", "CUHK03_NP", "cuhk03")
WORDS = {"labeled": "labelled boxes", "detected": "detected boxes"}


def read_cuhk03_np(root: Path, *, kind: str) -> Benchmark:
    """Read `kind` (labeled or detected) of the set at `root`, below `root`/cuhk03-np, or at `root` itself.

    Which boxes a folder holds cannot be seen in it, only from its name and its counts. Raises InputError where folders or
    images are missing, and for a folder of boxes that is called the other kind.
    """
    name = f"cuhk03-np-{kind}"
    other = next(word for word in WORDS if word != kind)
    if other in root.name.lower() and (root / MARKET_FOLDERS["train"]).is_dir():
        raise InputError(f"{root} is called {other}, and {name} was asked for; give the folder of {kind} boxes")
    below = [str(Path(place, folder)) for place in PLACES for folder in (kind, kind.capitalize())]
    places = ["", *below, *(str(Path(name, place)) for place in below)]
    home = find_home(root, name, places=places, folders=tuple(MARKET_FOLDERS.values()))
    return assemble(name, home, read_market_folders(home, name, CUHK03), variant=f"{WORDS[kind]}, 767/700 protocol")


read_labeled, read_detected = (partial(read_cuhk03_np, kind=kind) for kind in WORDS)
