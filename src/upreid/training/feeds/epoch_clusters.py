"""The clusters that an epoch learns from: found, confirmed where that is asked for, and refused where nothing can be learnt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.cluster_report import agreement, check_clusters, counts_of
from upreid.retrieval.clustering import Clusters, cluster
from upreid.retrieval.reliable_clusters import reliable
from upreid.retrieval.settings import ClusterOptions
from upreid.runtime.console import Watch, say

IN_NO_CLASS = -2
"""Label of an image that is not even a single: it cannot be read, or its epoch learns from the source alone."""


class EpochClusters:
    """Clusters features, once in an epoch.

    `reliability_gap` is the difference of eps of the two other clusterings that must confirm a cluster, or 0. The independence
    that a cluster must have is fixed by the first clustering that has clusters. `singles`: whether images of no cluster are
    learnt from too; then there may be few clusters, or none.
    """

    def __init__(
        self,
        options: ClusterOptions,
        *,
        reliability_gap: float,
        people: Sequence[int | None] | None,
        clusters_per_batch: int,
        alone_epochs: int,
        singles: bool,
    ) -> None:
        self.options, self.gap, self.people = options, reliability_gap, people
        self.clusters_per_batch, self.alone_epochs, self.singles = clusters_per_batch, alone_epochs, singles
        self.unlearnt = IN_NO_CLASS if singles else -1
        self.independence: float | None = None

    def find(
        self, features: Float[Tensor, "images dim"], is_read: Bool[Tensor, " images"], epoch: int, watch: Watch
    ) -> Clusters:
        """Cluster features; labels are -1 for images of no cluster, and `unlearnt` for those that cannot be learnt from.

        Images that cannot be read take no part. Clusters that nothing can be learnt from are refused with InputError; where the
        epoch may learn from the source alone, no image is learnt from. What `watch` raises ends the work.
        """
        people = self.people and [
            person for person, is_one in zip(self.people, is_read.tolist(), strict=True) if is_one
        ]
        seen = features if is_read.all() else features[is_read]
        others = (self.options.eps + self.gap, self.options.eps - self.gap) if self.gap else ()
        found = cluster(seen, **vars(self.options), others=others, people=people, watch=watch)
        labels, report = found.labels, found.report
        if self.gap:
            kept = reliable(labels, *found.others, independence=self.independence)
            labels, known = kept.labels, {} if people is None else {"agreement": agreement(kept.labels, people)}
            report |= {"reliable": {"independence": kept.independence, **counts_of(labels), **known}}
        in_all = np.full(len(features), self.unlearnt)
        in_all[is_read.numpy()] = labels
        report |= {"unreadable": len(features) - len(labels)}
        judged = report | report.get("reliable", {}) | {"clusters": num_learnt_from(labels)}
        try:
            check_clusters(judged, people_per_batch=self.clusters_per_batch, prefix="--cluster.", singles=self.singles)
        except InputError as error:
            if epoch >= self.alone_epochs:
                raise
            say(f"epoch {epoch + 1} learns from the source alone: {error}")
            report |= {"source_alone": str(error)}
            in_all[:] = self.unlearnt
        return replace(found, labels=in_all, report=report)

    def take(self, report: dict[str, Any]) -> None:
        """Keep what later clusterings depend on, from a report of any rank."""
        if "reliable" in report:
            self.independence = report["reliable"]["independence"]


def num_learnt_from(labels: np.ndarray) -> int:
    """Count the clusters of two images or more: those of one image are not trained on."""
    return int((np.bincount(labels[labels >= 0]) > 1).sum())
