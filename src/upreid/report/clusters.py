"""The clusterings of an adaptation: how they went over its epochs, and pictures of some clusters of the last one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from upreid.data.benchmarks import open_benchmark
from upreid.data.records import Record, records_of
from upreid.data.settings import UNLABELLED
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError, InputError
from upreid.report.activation import SMALL
from upreid.report.curves import chart
from upreid.report.runs import ReportedRun
from upreid.retrieval.ranked_page import thumbnail
from upreid.retrieval.ranking import IntArray
from upreid.runtime.charts import Chart
from upreid.training.feeds.labelled import fingerprint
from upreid.training.saved import saved_run, saved_state
from upreid.training.states import States

NUM_CLUSTERS, NUM_OF_EACH, NUM_OUTLIERS = 8, 9, 16
"""Numbers of clusters of a run, of images of each, and of outliers, that a page shows."""
NUMBERS = (
    ("clusters", "", "clusters", 1.0),
    ("reliable clusters", "those that a looser and a tighter clustering confirm", "reliable.clusters", 1.0),
    ("outliers (%)", "images in no cluster", "outlier_share", 100.0),
    ("images in the median cluster", "", "sizes.50", 1.0),
    ("largest cluster (%)", "share of all images", "largest_share", 100.0),
    ("silhouette", "mean over all images, outliers as 0; the higher, the tighter", "silhouette", 1.0),
    ("adjusted Rand index", "with the labels, which training did not see", "agreement.adjusted_rand", 1.0),
    ("purity (%)", "clustered images of the person most seen in their cluster", "agreement.purity", 100.0),
)
"""Charts: title, note, place in the report of a clustering, and factor."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A picture in a cluster."""

    uri: str
    words: str
    is_match: bool | None = None
    """Whether it shows the person most seen in the cluster; None where people are not known."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some pictures of a cluster, or of the outliers."""

    title: str
    members: list[Crop]


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """The last clustering of a run, in pictures."""

    name: str
    note: str
    groups: list[Group]
    has_people: bool


def cluster_charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Draw the numbers of all clusterings against the epoch, all adaptations in one panel; none for other runs."""
    return [
        chart(runs, title, note, partial(numbers, place=place, factor=factor), x_label="epoch", from_zero=True)
        for title, note, place, factor in NUMBERS
        if any(numbers(run, place, factor) for run in runs)
    ]


def numbers(run: ReportedRun, place: str, factor: float) -> list[tuple[float, float]]:
    """Return a number of each clustering in a journal by its epoch, from 1; clusterings without it are left out."""
    found: list[tuple[float, float]] = []
    for line in run.journal:
        value: Any = line.get("clusters")
        for name in place.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found.append((float(line["epoch"]) + 1, factor * value))
    return found


def look_into(run: ReportedRun) -> Clustering:
    """Show some clusters of the state that was saved last, and some outliers.

    Raises InputError or DataError where there is no state, and where the images are gone or are others now.
    """
    saved = saved_run(run.folder, run.program)
    state = saved_state(run.folder, saved.hash, States(run.folder))
    if state is None or "labels" not in state["feed"]:
        raise InputError("it has saved no clusters yet")
    feed, records = state["feed"], images_of(saved.config)
    labels: IntArray = feed["labels"].numpy()
    nameless = fingerprint([replace(record, person=None) for record in records])
    if len(labels) != len(records) or str(feed["fingerprint"]).partition(", ")[0] != nameless:
        raise DataError(f"the images at {saved.config.data.root} are others than those that were clustered")
    groups = [group(records, places) for places in chosen(labels)]
    outliers = np.flatnonzero(labels < 0)
    if len(outliers):
        few = [member(records[place]) for place in spread(outliers, NUM_OUTLIERS)]
        groups.append(Group(title=f"{len(outliers):,} outliers", members=[one for one in few if one is not None]))
    if not any(one.members for one in groups):
        raise DataError(f"none of the chosen images at {saved.config.data.root} can be read")
    return Clustering(
        name=run.name,
        note=f"Clusters of epoch {feed['epoch'] + 1}: {min(NUM_CLUSTERS, labels.max() + 1)} of {labels.max() + 1}, from the "
        f"largest to the smallest, with at most {NUM_OF_EACH} images of each; then some of the images in no cluster.",
        groups=groups,
        has_people=any(record.person is not None for record in records),
    )


def images_of(config: Any) -> Sequence[Record]:
    """Return the images that an adaptation clusters, in its order."""
    data = config.data
    if data.name != UNLABELLED:
        return open_benchmark(data.name, data.root, quiet=True, patience=data.patience).train
    return records_of(open_source(data.root, patience=data.patience))


def chosen(labels: IntArray) -> list[IntArray]:
    """Return the places of the images of some clusters, evenly spread from the largest to the smallest."""
    sizes = np.bincount(labels[labels >= 0])
    by_size = np.argsort(-sizes, kind="stable")
    return [np.flatnonzero(labels == one) for one in spread(by_size, NUM_CLUSTERS)]


def spread(places: IntArray, count: int) -> list[int]:
    """Return at most so many of some places, evenly spread."""
    kept = (
        np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)) if len(places) else []
    )
    return [int(places[one]) for one in kept]


def group(records: Sequence[Record], places: IntArray) -> Group:
    """Show a cluster; where its people are known, say how many it mixes."""
    people = [person for place in places if (person := records[place].person) is not None]
    most = max(sorted(set(people)), key=people.count) if people else None
    title = f"{len(places)} images"
    if most is not None and len(set(people)) > 1:
        title += f" of {len(set(people))} people, {people.count(most)} of them of person {most}"
    elif most is not None:
        title += f", all of person {most}"
    found = [member(records[place], most) for place in spread(places, NUM_OF_EACH)]
    return Group(title=title, members=[one for one in found if one is not None])


def member(record: Record, most: int | None = None) -> Crop | None:
    """Read a picture; None where it cannot be read, as training leaves it out too."""
    try:
        shown = thumbnail(record, largest=SMALL)
    except (DataError, OSError):
        return None
    who = "" if record.person is None else f", person {shown.person}, camera {shown.camera}"
    is_match = None if most is None else record.person == most
    return Crop(uri=shown.uri, words=f"{record.path.name}{who}", is_match=is_match)
