"""How much of a labelled training set is used: the same part on every machine, and files that say which images these are.

Small-scale and few-shot settings of LUPerson (arXiv 2012.03753): a share of the people with all their images, or all people
with a share of their images. A split file names images by their base names, so it fits a copy of the data set anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from upreid.data.records import Record
from upreid.data.settings import TrainingPart
from upreid.errors import DataError, InputError
from upreid.runtime.files import write_text
from upreid.runtime.seed import uniforms

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Split:
    """A part of a training set, as it stands in a split file."""

    dataset: str
    identity_share: float
    image_share: float
    seed: int
    names: tuple[str, ...]
    """Base names, sorted."""

    @property
    def hash(self) -> str:
        """Hash of the names."""
        return hash_of(self.names)


def hash_of(names: Sequence[str]) -> str:
    """Return sixteen hex digits over sorted names: two splits with one hash train on the same images."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def training_part(data: TrainingPart, records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the records to train on: those that the split file names, or the shares that are asked for."""
    if data.split is None:
        shares = {"identity_share": data.identity_share, "image_share": data.image_share}
        return draw(records, **shares, seed=data.split_seed)
    if (data.identity_share, data.image_share) != (1.0, 1.0):
        raise InputError("--data.split says which images to train on already; leave the shares out")
    return select(records, data.split)


def split_facts(data: TrainingPart, chosen: Sequence[Record], total: int) -> dict[str, Any]:
    """Return setting, counts and hash for the protocol of a result; the whole training set needs no hash."""
    people = len({record.person for record in chosen})
    counts = {"training_images": len(chosen), "training_people": people}
    if len(chosen) == total:
        return {"setting": "full", **counts}
    file = {"split": data.split.name} if data.split else {"split_seed": data.split_seed}
    shares = {} if data.split else {"identity_share": data.identity_share, "image_share": data.image_share}
    return {"setting": "part", **counts, **shares, **file, "split_hash": split_of(data, chosen).hash}


def in_words(data: TrainingPart, facts: dict[str, Any]) -> str:
    """Name the training set in some words, for tables."""
    if facts["setting"] == "full":
        return data.name
    if data.split:
        return f"{data.name}, {data.split.name}"
    shares = {"identities": data.identity_share, "images": data.image_share}
    told = ", ".join(f"{share:.0%} of the {what}" for what, share in shares.items() if share < 1)
    return f"{data.name}, {told} (split {data.split_seed})"


def split_of(data: TrainingPart, chosen: Sequence[Record]) -> Split:
    """Return the part as it stands in a split file."""
    shares = {"identity_share": data.identity_share, "image_share": data.image_share}
    return Split(dataset=data.name, **shares, seed=data.split_seed, names=base_names(chosen))


def draw(
    records: Sequence[Record], *, identity_share: float = 1.0, image_share: float = 1.0, seed: int
) -> tuple[Record, ...]:
    """Keep a share of the people, then a share of the images of each, in the order of `records`."""
    kept = share_of_people(records, identity_share, seed=seed)
    return share_of_images(kept, image_share, seed=seed)


def share_of_people(records: Sequence[Record], share: float, *, seed: int) -> tuple[Record, ...]:
    """Small-scale setting (LUPerson): int(people x share) people with all their images, in the order of `records`.

    Each place in the sorted list of ids has a number of its own, from our own generator and not numpy's, whose draws may
    change between versions; the people with the lowest numbers are kept. So a smaller share is part of a larger one.
    Raises InputError where `share` is not in (0, 1] or leaves fewer than two people.
    """
    check_share("--data.identity-share", share)
    people = sorted({record.person for record in records if record.person is not None})
    kept = int(len(people) * share + 1e-9)  # 0.29 x 100 is 28.999999999999996 in floating point
    if kept < 2:
        raise InputError(
            f"--data.identity-share {share} leaves {kept} of {len(people)} people; training needs two or more"
        )
    numbers = uniforms(seed, 0, np.arange(len(people)), purpose="share of people", count=1)[:, 0]
    chosen = {people[place] for place in np.argsort(numbers, kind="stable")[:kept]}
    return tuple(record for record in records if record.person in chosen)


def share_of_images(records: Sequence[Record], share: float, *, seed: int) -> tuple[Record, ...]:
    """Few-shot setting (LUPerson): max(1, round(images x share)) images of every person, in the order of `records`.

    Each place in the sorted list of base names has a number of its own; every person keeps the images with the lowest.
    Raises InputError where `share` is not in (0, 1], or where two images have one base name.
    """
    check_share("--data.image-share", share)
    if share == 1:
        return tuple(records)
    names = base_names(records)
    numbers = dict(
        zip(names, uniforms(seed, 0, np.arange(len(names)), purpose="share of images", count=1)[:, 0], strict=True)
    )
    images: dict[int | None, list[str]] = {}
    for record in records:
        images.setdefault(record.person, []).append(record.path.name)
    kept: set[str] = set()
    for some in images.values():
        kept |= set(sorted(some, key=lambda name: (numbers[name], name))[: max(1, round(len(some) * share))])
    return tuple(record for record in records if record.path.name in kept)


def check_share(flag: str, share: float) -> None:
    """Refuse what is no share."""
    if not 0 < share <= 1:
        raise InputError(f"{flag} {share}: must be above 0 and at most 1")


def base_names(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the base names, sorted; InputError where two images share one."""
    names = sorted(record.path.name for record in records)
    twice = next((name for name, following in pairwise(names) if name == following), None)
    if twice is not None:
        raise InputError(f"splits name images by their base names, and two images are called {twice}; rename one")
    return tuple(names)


def write_split(path: Path, split: Split) -> None:
    """Write a split file."""
    setting = {"identity_share": split.identity_share, "image_share": split.image_share, "seed": split.seed}
    content = {"format": FORMAT, "dataset": split.dataset, **setting, "hash": split.hash, "images": split.names}
    write_text(path, json.dumps(content, indent=1) + "\n")


def select(records: Sequence[Record], path: Path) -> tuple[Record, ...]:
    """Keep the images that a split file names: one of ours (JSON), or a list of LUPerson's (text).

    LUPerson's lists have a person id, or `file name; label; camera`, on each line. Raises InputError where there is no file,
    and DataError for one that is neither, was changed since it was written, or names what the training set does not have.
    """
    if not path.is_file():
        raise InputError(f"no split file {path}; write one with: upreid split")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if text.lstrip().startswith("{"):
        return with_names(records, names_in(path, text), path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and all(line.isdecimal() for line in lines):
        return with_people(records, {int(line) for line in lines}, path)
    fields = [line.split(";") for line in lines]
    if not lines or any(len(row) != 3 for row in fields):
        raise DataError(
            f"{path} is no split file: neither JSON of ours, nor lines of a person id or of 'file name; label; camera'"
        )
    return with_names(records, [row[0].strip() for row in fields], path)


def names_in(path: Path, text: str) -> list[str]:
    """Return the images of a split file of ours, once its hash is checked."""
    try:
        content = json.loads(text)
        names, written = [str(name) for name in content["images"]], content["hash"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a split file of ours ({error}); write one with: upreid split") from error
    if hash_of(names) != written:
        raise DataError(
            f"{path} was changed after it was written (hash {hash_of(names)}, not {written}); write it anew"
        )
    return names


def with_names(records: Sequence[Record], names: Sequence[str], path: Path) -> tuple[Record, ...]:
    """Keep images by base name."""
    named = set(names)
    missing = sorted(named - set(base_names(records)))
    if missing:
        raise DataError(
            f"{path} names {len(missing)} images that the training set does not have, such as {missing[0]}; "
            f"it belongs to another data set or another version of it"
        )
    return tuple(record for record in records if record.path.name in named)


def with_people(records: Sequence[Record], people: set[int], path: Path) -> tuple[Record, ...]:
    """Keep images by person."""
    missing = sorted(people - {record.person for record in records if record.person is not None})
    if missing:
        raise DataError(f"{path} names {len(missing)} people that the training set does not have, such as {missing[0]}")
    return tuple(record for record in records if record.person in people)
