"""What a caller hands in, turned into arrays that the rest can trust."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.ranking import Labels

METRICS = ("cosine", "euclidean")
IMAGES_PER_LOOK = 4096
"""Images whose features are looked through at a time: the check needs little memory of its own."""


def as_feature_pair(
    query_features: ArrayLike | Tensor, gallery_features: ArrayLike | Tensor, metric: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of queries [queries, dim] and gallery [gallery, dim] that can be compared with `metric`.

    Raises InputError for an unknown metric, shapes that do not fit, and features that are not finite.
    """
    if metric not in METRICS:
        raise InputError(f"unknown metric '{metric}'; use {' or '.join(METRICS)}")
    query, gallery = as_features(query_features, "query"), as_features(gallery_features, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query features have {query.shape[1]} dimensions, gallery features {gallery.shape[1]}; "
            "take both from the same encoder"
        )
    return query, gallery


def as_features(values: ArrayLike | Tensor, what: str) -> NDArray[np.float32]:
    """Single precision, two axes, finite; the caller's own memory where it is in that form already."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{what} features have shape {array.shape}; expected [images, dimensions]")
    array = np.require(array, np.float32, ["C_CONTIGUOUS", "WRITEABLE"])  # torch warns of memory it may not write
    looks = range(0, len(array), IMAGES_PER_LOOK)
    broken = sum(int((~np.isfinite(array[at : at + IMAGES_PER_LOOK]).all(axis=1)).sum()) for at in looks)
    if broken:
        raise InputError(f"{broken} of {len(array)} {what} features are not finite; look for NaN in the encoder")
    return array


def as_labels(values: ArrayLike | Tensor, count: int, what: str) -> Labels:
    """Integers, one for each feature."""
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.shape != (count,):
        raise InputError(f"{what} have shape {array.shape}; expected one for each of {count} features")
    return array.astype(np.int64)
