"""Checks of features and labels from a caller, which become arrays that the rest can trust."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from upreid.errors import InputError
from upreid.retrieval.ranking import UNKNOWN, IntArray, Labels, squared_lengths

METRICS = ("cosine", "euclidean")
IMAGES_PER_LOOK = 4096
"""Number of features that are checked at a time, so that the check needs little memory."""
SHORTEST = 1e-12
"""Length below which torch does not scale a vector to unit length any more."""
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 4
"""Squared length up to which all squared distances fit single precision."""


def as_feature_pair(
    query_features: ArrayLike | Tensor, gallery_features: ArrayLike | Tensor, metric: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features of queries [queries, dim] and gallery [gallery, dim] that can be compared with `metric`.

    Raises InputError for an unknown metric, shapes that do not fit, features that are not finite, features that are zero
    where their direction counts, and features that single precision cannot compare.
    """
    if metric not in METRICS:
        raise InputError(f"unknown metric '{metric}'; use {' or '.join(METRICS)}")
    query, gallery = as_features(query_features, "query"), as_features(gallery_features, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query features have {query.shape[1]} dimensions, gallery features {gallery.shape[1]}; "
            "take both from the same encoder"
        )
    zeros = {"query": count_zeros(query, "query"), "gallery": count_zeros(gallery, "gallery")}
    total = {"query": len(query), "gallery": len(gallery)}
    for what in zeros:
        if zeros == total or (zeros[what] and metric == "cosine"):
            raise without_direction(zeros[what], total[what], what)
    return query, gallery


def as_directions(values: ArrayLike | Tensor, what: str) -> NDArray[np.float32]:
    """Return features [images, dim] that can be compared by cosine; InputError for what `as_feature_pair` refuses."""
    features = as_features(values, what)
    zeros = count_zeros(features, what)
    if zeros:
        raise without_direction(zeros, len(features), what)
    return features


def without_direction(zeros: int, total: int, what: str) -> InputError:
    """Return the error for features that are zero."""
    return InputError(
        f"{zeros} of {total} {what} features are zero (shorter than {SHORTEST:g}) and have no direction; "
        "look for what the encoder does to these images"
    )


def as_features(values: ArrayLike | Tensor, what: str) -> NDArray[np.float32]:
    """Return [images, dimensions] in single precision; the caller's own memory where it is in that form already."""
    try:
        array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError:
        raise InputError(
            f"{what} features differ in their number of dimensions; expected [images, dimensions]"
        ) from None
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"{what} features have shape {array.shape}; expected [images, dimensions], at least one of each"
        )
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} features are of type {array.dtype}; expected floating-point numbers")
    with np.errstate(over="ignore"):  # what exceeds single precision becomes infinite, and is refused as such
        return np.require(array, np.float32, ["C_CONTIGUOUS", "WRITEABLE"])  # torch warns of memory it may not write


def count_zeros(features: NDArray[np.float32], what: str) -> int:
    """Count the features that are zero; InputError where some are not finite, or too long for single precision."""
    starts = range(0, len(features), IMAGES_PER_LOOK)
    parts = [torch.from_numpy(features[start : start + IMAGES_PER_LOOK]) for start in starts]
    squares = np.concatenate([squared_lengths(part).numpy() for part in parts])
    unfit = np.flatnonzero(~(squares <= LARGEST_SQUARE))
    broken = sum(not np.isfinite(features[place]).all() for place in unfit)
    if broken:
        raise InputError(f"{broken} of {len(features)} {what} features are not finite; look for NaN in the encoder")
    if len(unfit):
        raise InputError(
            f"{len(unfit)} of {len(features)} {what} features are so long that their distances exceed single precision; "
            "scale the features down"
        )
    return int((squares < SHORTEST**2).sum())


LabelList = ArrayLike | Sequence[int | str | None] | Tensor
"""Labels of some images: whole numbers or words, or None where a camera is not known."""
Values = LabelList | None


def as_labels(people: tuple[Values, Values], cameras: tuple[Values, Values], counts: tuple[int, int]) -> Labels:
    """Number the people and cameras of queries and gallery; each argument is a pair of the two lists.

    Labels are whole numbers, which stay as they are, or words, which are numbered over both lists together. A camera, or a
    list of cameras, may be None: then it is unknown.

    Raises InputError for lists of another length than the features, for fractions, and for words beside numbers.
    """
    query_people, gallery_people = as_label_pair(people, counts, "ids")
    query_cameras, gallery_cameras = as_label_pair(cameras, counts, "cameras")
    return Labels(
        query_people=query_people,
        gallery_people=gallery_people,
        query_cameras=query_cameras,
        gallery_cameras=gallery_cameras,
    )


def as_label_pair(pair: tuple[Values, Values], counts: tuple[int, int], what: str) -> list[IntArray]:
    """Return integers that are equal where two labels of queries and gallery are; None becomes `UNKNOWN`."""
    sides = zip(pair, counts, ("query", "gallery"), strict=True)
    lists = [as_list(values, count, f"{side} {what}") for values, count, side in sides]
    try:
        known = {value for values in lists for value in values}
    except TypeError:
        raise InputError(f"{what} hold lists within lists; give one label for each feature") from None
    if None in known and what != "cameras":
        raise InputError(f"{sum(values.count(None) for values in lists)} {what} are None; give every image its person")
    known.discard(None)
    words = sorted((value for value in known if isinstance(value, str | bytes)), key=str)
    others = known.difference(words)
    unfit = sorted((value for value in others if not is_whole_number(value)), key=str)
    if unfit:
        raise InputError(
            f"{len(unfit)} of {len(known)} different {what} are not whole numbers, such as {unfit[0]!r}; "
            "give whole numbers (of up to 64 bits) or words"
        )
    if words and others:
        raise InputError(
            f"{what} mix words ({words[0]!r}) and numbers ({next(iter(others))!r}); give all queries and gallery in one form"
        )
    numbers: dict[Any, int] = {value: value for value in others} | {word: number for number, word in enumerate(words)}
    numbers[None] = UNKNOWN
    return [np.array([numbers[value] for value in values], dtype=np.int64) for values in lists]


def as_list(values: Values, count: int, what: str) -> list[Any]:
    """Return labels as Python values, one for each feature."""
    if values is None:
        return [None] * count
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)  # [1, "a"] would become two words
    if array.shape != (count,):
        raise InputError(f"{what} have shape {array.shape}; expected one for each of {count} features")
    return [value.item() if hasattr(value, "item") else value for value in array.tolist()]


def is_whole_number(value: object) -> bool:
    """Whether a label is a whole number that 64 bits hold, and, as a floating-point number, hold exactly."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= 2**53
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) < value < 2**63
