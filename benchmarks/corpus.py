"""How hard is the embedded corpus? A colour histogram and a small CNN, with chance beside them.

    python benchmarks/corpus.py                        # 600 people, seed 1, the histogram
    python benchmarks/corpus.py --descriptor both      # and the CNN: some ten minutes

The histogram should land between 4 and 10 % mAP, as on real sets with half the identities unseen: colour informs but does
not suffice. The CNN learns from the labels of the training half with `upreid finetune laptop-bot`, from a random start, for
at most ten minutes on two cores, and should pass 50 % on the unseen half. Histogram and score are written plainly here: they
judge the corpus, so they lean on nothing of ours but the renderer.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upreid.commands.synth import synthesise
from upreid.synthetic.settings import CorpusSettings

STRIPES = 6
BINS = (16, 8, 8)
"""Hue, saturation and value."""


def read(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Read a folder in the Market-1501 layout: histograms [images, bins], people, cameras."""
    paths = sorted(folder.glob("*.jpg"))
    labels = [re.match(r"(-?\d+)_c(\d)", path.name) for path in paths]
    people = np.array([int(label[1]) for label in labels if label])
    cameras = np.array([int(label[2]) for label in labels if label])
    return np.stack([histogram(path) for path in paths]), people, cameras


def histogram(path: Path) -> NDArray[np.float32]:
    """Return the square roots of an HSV histogram per horizontal stripe: their dot product is the Hellinger similarity."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("HSV"))
    hue, saturation, value = (pixels[:, :, k].astype(np.int64) * bins // 256 for k, bins in enumerate(BINS))
    cell = (hue * BINS[1] + saturation) * BINS[2] + value
    size = int(np.prod(BINS))
    counts = [np.bincount(stripe.ravel(), minlength=size) for stripe in np.array_split(cell, STRIPES)]
    shares = np.concatenate([count / count.sum() / STRIPES for count in counts])
    return np.sqrt(shares).astype(np.float32)


def mean_average_precision(
    similarity: NDArray[np.float32],
    people: tuple[NDArray[np.int64], NDArray[np.int64]],
    cameras: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[float, float]:
    """Return mAP and Rank-1 in percent; pairs are (query, gallery). The gallery's same person in the same camera is left out."""
    precisions, hits = [], []
    for scores, person, camera in zip(similarity, people[0], cameras[0], strict=True):
        keep = ~((people[1] == person) & (cameras[1] == camera))
        order = np.argsort(-scores[keep], kind="stable")
        is_match = (people[1][keep] == person)[order]
        places = np.flatnonzero(is_match) + 1
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
        hits.append(is_match[0])
    return 100 * float(np.mean(precisions)), 100 * float(np.mean(hits))


def judge_colour(market1501: Path) -> None:
    """Print the scores of the histogram, and of guessing."""
    query, gallery = (read(market1501 / name) for name in ("query", "bounding_box_test"))
    people, cameras = (query[1], gallery[1]), (query[2], gallery[2])
    print(f"{len(query[1])} queries, {len(gallery[1])} gallery images, same person in same camera left out")
    guess = np.random.default_rng(0).random((len(query[1]), len(gallery[1])), dtype=np.float32)
    for name, similarity in {"HSV stripes": query[0] @ gallery[0].T, "chance": guess}.items():
        precision, rank1 = mean_average_precision(similarity, people, cameras)
        print(f"{name:12s} mAP {precision:5.2f}  Rank-1 {rank1:5.2f}")


def judge_cnn(market1501: Path, run: Path, epochs: float) -> None:
    """Train a small CNN with labels and print its scores on people never seen."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "upreid", "finetune", "laptop-bot", "--init", "random", "--out", str(run)]
    command += ["--data.name", "market1501", "--data.root", str(market1501), "--train.epochs", str(epochs)]
    began = time.monotonic()
    subprocess.run(command, check=True)
    minutes = (time.monotonic() - began) / 60
    result = json.loads((run / "retrieval.json").read_text())
    print(
        f"{'CNN':12s} mAP {result['mAP']:5.2f}  Rank-1 {result['rank1']:5.2f}  ({epochs:g} epochs, {minutes:.1f} minutes)"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--identities", type=int, default=600)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--descriptor", choices=["hsv", "cnn", "both"], default="hsv")
    arguments.add_argument("--epochs", type=float, default=40.0, help="of the CNN")
    arguments.add_argument("--out", type=Path, help="where to keep corpus and run [corpus/bench-IDENTITIES-SEED]")
    given = arguments.parse_args()
    root = given.out or Path("corpus") / f"bench-{given.identities}-{given.seed}"
    synthesise(root, CorpusSettings(version=1, identities=given.identities, seed=given.seed))
    if given.descriptor != "cnn":
        judge_colour(root / "market1501")
    if given.descriptor != "hsv":
        judge_cnn(root / "market1501", root / "cnn", given.epochs)


if __name__ == "__main__":
    main()
