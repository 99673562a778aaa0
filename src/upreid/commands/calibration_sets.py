"""What a calibration is made on: the test people of a labelled set, listed pairs of images, or tracklets without labels."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from upreid.config.calibrate import CalibrateConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.market1501 import DISTRACTOR
from upreid.data.pair_lists import read_pairs
from upreid.data.records import UNKNOWN_CAMERA, Record, cameras, people, records_of
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.data.tracklet_lists import read_tracklets
from upreid.errors import InputError
from upreid.inference import ImageEncoder, extract
from upreid.retrieval.inputs import as_directions, as_features
from upreid.retrieval.pairs import LabelledFeatures
from upreid.retrieval.ranking import IntArray
from upreid.runtime.compute import Compute
from upreid.runtime.console import say


def calibration_set(
    config: CalibrateConfig, encoder: ImageEncoder, compute: Compute
) -> tuple[LabelledFeatures, str, str]:
    """Return features with what decides which pairs count, and the words for what they are of and which pairs count."""
    kinds = {"--data.name": config.data.name, "--pairs": config.pairs, "--tracklets": config.tracklets}
    given = [flag for flag, value in kinds.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'nothing to calibrate on'}: give a labelled set with --data.name and --data.root, or a "
            "source of images with --source and a list of --pairs or --tracklets; one of the three"
        )
    if config.data.name:
        if config.data.root is None or config.source is not None:
            raise InputError(
                f"--data.name {config.data.name} needs --data.root, its folder, and no --source; give that"
            )
        return from_labels(config, encoder, compute, open_benchmark(config.data.name, config.data.root))
    if config.source is None or config.data.root is not None:
        raise InputError(
            f"{given[0]} needs --source, the place of the images that it names, and no --data.root; give that"
        )
    if config.same_camera == "keep":
        raise InputError(f"--same-camera keep has no effect with {given[0]}, which knows no cameras; leave it out")
    source = open_source(config.source)
    say(source.description)
    if config.pairs:
        return from_pairs(config, encoder, compute, source, config.pairs)
    assert config.tracklets is not None
    return from_tracklets(config, encoder, compute, source, config.tracklets)


def from_labels(
    config: CalibrateConfig, encoder: ImageEncoder, compute: Compute, labelled: Benchmark
) -> tuple[LabelledFeatures, str, str]:
    """Take the test images of a labelled set, each once and without distractors; a tracklet is what a camera saw of a person."""
    test = {record.path: record for record in (*labelled.query, *labelled.gallery)}
    strangers = DISTRACTOR if labelled.facts.get("distractors") else None
    records = [record for record in test.values() if record.person is not None and record.person != strangers]
    seen = np.array(cameras(records), dtype=np.int64)
    if config.same_camera == "drop" and len(set(seen)) == 1 and seen[0] != UNKNOWN_CAMERA:
        raise InputError(
            f"all {len(records)} test images of {labelled.name} at {labelled.root} come from one camera, so no pair shows a "
            "person in two; give a set with several cameras, or --same-camera keep"
        )
    _, numbers = np.unique(people(records), return_inverse=True)
    _, tracks = np.unique(np.column_stack([numbers, seen]), axis=0, return_inverse=True)
    some = LabelledFeatures(
        features=features_of(config, encoder, compute, records),
        people=numbers.astype(np.int64),
        cameras=seen if config.same_camera == "drop" else unknown(len(records)),
        tracks=tracks.ravel().astype(np.int64) if (seen != UNKNOWN_CAMERA).all() else None,
    )
    both = "pairs of one person from two cameras" if config.same_camera == "drop" else "all pairs of one person"
    return some, f"{labelled.name}, its test people", f"{both}; pairs of two people from any cameras"


def from_pairs(
    config: CalibrateConfig, encoder: ImageEncoder, compute: Compute, source: Source, path: Path
) -> tuple[LabelledFeatures, str, str]:
    """Take listed pairs; who is linked by pairs of one person is one person."""
    found = read_pairs(path, source)
    some = LabelledFeatures(
        features=features_of(config, encoder, compute, records_of(source, found.images.tolist())),
        people=found.people,
        cameras=unknown(len(found.images)),
        pairs=found.pairs,
    )
    return some, f"{len(found.pairs)} pairs listed in {path.name}", "the listed pairs"


def from_tracklets(
    config: CalibrateConfig, encoder: ImageEncoder, compute: Compute, source: Source, path: Path
) -> tuple[LabelledFeatures, str, str]:
    """Take tracklets: the crops of one are one person, and two of one video with frames in common are two people.

    A video is a folder of the source. For means, each tracklet is cut into its earlier and its later half.
    """
    tracklets = read_tracklets(path, source, flag="--tracklets")
    if tracklets.frames is None:
        raise InputError(
            f"--tracklets {path} says no frames, so nothing tells which tracklets are different people; give a list with a "
            "column frame, or LUPerson-NL's names"
        )
    kept = np.flatnonzero(tracklets.sizes[tracklets.numbers] > 1)  # a single crop may have no frame
    _, numbers = np.unique(tracklets.numbers[kept], return_inverse=True)
    frames, places, count = tracklets.frames[kept], tracklets.places[kept], int(numbers.max()) + 1
    _, videos = np.unique(
        [str(PurePosixPath(source.name(index)).parent) for index in kept.tolist()], return_inverse=True
    )
    video_of, first, last = videos[:1].repeat(count), frames.max().repeat(count), frames.min().repeat(count)
    video_of[numbers] = videos
    np.minimum.at(first, numbers, frames)
    np.maximum.at(last, numbers, frames)
    if torn := len(np.unique(numbers[video_of[numbers] != videos])):
        raise InputError(
            f"{torn} tracklets of {path} have crops in several folders of {source.root}; a folder must be a video"
        )
    some = LabelledFeatures(
        features=features_of(config, encoder, compute, records_of(source, kept.tolist())),
        people=numbers,
        cameras=unknown(len(kept)),
        moments=np.stack([videos, first[numbers], last[numbers]], axis=1).astype(np.int64),
        tracks=2 * numbers + (2 * places >= np.bincount(numbers)[numbers]),
    )
    rule = (
        "pairs of crops of one tracklet (means: its two halves); pairs of tracklets of one video with frames in common"
    )
    return some, f"{count} tracklets of {path.name}, without labels", rule


def unknown(count: int) -> IntArray:
    """Return cameras that are not known."""
    return np.full(count, UNKNOWN_CAMERA, dtype=np.int64)


def features_of(
    config: CalibrateConfig, encoder: ImageEncoder, compute: Compute, records: Sequence[Record]
) -> torch.Tensor:
    """Encode images, and refuse features that cannot be compared."""
    how = {"batch": config.batch, "flip": config.flip, "neck": config.neck, "workers": compute.workers}
    found = extract(encoder, records, **how).features
    checked = as_directions(found, "image") if config.metric == "cosine" else as_features(found, "image")
    return torch.from_numpy(checked)
