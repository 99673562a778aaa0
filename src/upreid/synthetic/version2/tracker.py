"""Which crops a detector and a tracker take from the videos of `wild/`, with the faults that real trackers have."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import PurePosixPath

import numpy as np
from numpy.random import Generator

from upreid.synthetic.settings import CorpusSettings, wild_images
from upreid.synthetic.shot import Shot, generator

VIDEOS, CROPS_PER_VIDEO, LEAST_PER_VIDEO = 48, 400, 8
"""Number of videos, of crops in each where there would be more videos, and of crops in each where there are few crops."""
FRAMES = {1: 17, 2: 17, 3: 17, 4: 15, 5: 12, 6: 9, 7: 6, 8: 4, 9: 3}
"""Rough shares of how many crops are kept of one person who passes."""
CUT, SWITCH, SLIP, LOST = 0.1, 0.06, 0.02, 0.07
"""Shares of passages that the tracker cuts in two, of those where it goes over to the next person, of boxes that slipped,
and of crops that it puts into no tracklet."""
TRACKLETS = "tracklets.csv"


def wild_shots(corpus: CorpusSettings) -> list[Shot]:
    """List the crops of every video, in the order in which people pass."""
    total = wild_images(corpus)
    videos = max(1, min(VIDEOS, total // LEAST_PER_VIDEO), total // CROPS_PER_VIDEO)
    ends = [total * (video + 1) // videos for video in range(videos)]
    shots: list[Shot] = []
    for video, end in enumerate(ends):
        rng = generator(corpus.seed, "wild tracker", video)
        shots += _track(video, _passages(video, end - len(shots), rng), rng)
    return shots


def _passages(video: int, crops: int, rng: Generator) -> list[list[Shot]]:
    """Draw who passes and how many crops are kept of each; together they are exactly `crops`."""
    passages: list[list[Shot]] = []
    counts, shares = list(FRAMES), np.array(list(FRAMES.values())) / sum(FRAMES.values())
    left = crops
    while left:
        count = min(left, int(rng.choice(counts, p=shares)))
        person, left = len(passages), left - count
        slipped = rng.random(count) < SLIP
        passages.append(
            [
                Shot(
                    path=PurePosixPath(f"{video:04d}", f"{person:05d}_{frame:02d}.jpg"),
                    person=person,
                    camera=video,
                    image=frame,
                    is_wild=True,
                    slipped=bool(slipped[frame]),
                )
                for frame in range(count)
            ]
        )
    return passages


def _track(video: int, passages: list[list[Shot]], rng: Generator) -> list[Shot]:
    """Give every crop its tracklet: cut some, switch the ends of some with the next person's, lose some crops."""
    labels = [[f"{video:04d}_{number:05d}a"] * len(passage) for number, passage in enumerate(passages)]
    for number, label in enumerate(labels):
        after = int(rng.integers(1, len(label))) if len(label) > 1 else 1
        fault = rng.random()
        if fault < CUT:
            label[after:] = [f"{video:04d}_{number:05d}b"] * (len(label) - after)
        elif fault < CUT + SWITCH and number + 1 < len(labels):
            following = labels[number + 1]
            late = int(rng.integers(len(following)))
            label[after:], following[late:] = (
                following[-1:] * (len(label) - after),
                label[:1] * (len(following) - late),
            )
    shots, held = list(chain(*passages)), list(chain(*labels))
    is_lost = rng.random(len(held)) < LOST
    held = ["" if lost else label for label, lost in zip(held, is_lost, strict=True)]
    sizes = Counter(held)
    return [replace(shot, tracklet=label if sizes[label] > 1 else "") for shot, label in zip(shots, held, strict=True)]


def tracklet_list(shots: list[Shot]) -> str:
    """Write the tracklet of every crop as CSV; an empty one is a crop of its own."""
    return "file,tracklet\n" + "".join(f"{shot.path},{shot.tracklet}\n" for shot in shots)
