"""From a labelled set to the part of it that trains, and what a result says about that part."""

from collections.abc import Sequence
from typing import Any

from upreid.data.records import Record
from upreid.data.settings import TrainingPart
from upreid.data.splits import Split, base_names, draw, select
from upreid.errors import InputError


def training_part(data: TrainingPart, records: Sequence[Record]) -> tuple[Record, ...]:
    """Records to train on."""
    if data.split is None:
        shares = {"identity_share": data.identity_share, "image_share": data.image_share}
        return draw(records, **shares, seed=data.split_seed)
    if (data.identity_share, data.image_share) != (1.0, 1.0):
        raise InputError("--data.split says which images to train on already; leave the shares out")
    return select(records, data.split)


def split_facts(data: TrainingPart, chosen: Sequence[Record], total: int) -> dict[str, Any]:
    """Setting, counts and hash, for the protocol; the whole training set needs no hash."""
    people = len({record.person for record in chosen})
    counts = {"training_images": len(chosen), "training_people": people}
    if len(chosen) == total:
        return {"setting": "full", **counts}
    file = {"split": data.split.name} if data.split else {"split_seed": data.split_seed}
    shares = {} if data.split else {"identity_share": data.identity_share, "image_share": data.image_share}
    return {"setting": "part", **counts, **shares, **file, "split_hash": split_of(data, chosen).hash}


def in_words(data: TrainingPart, facts: dict[str, Any]) -> str:
    """The training set in some words, for tables."""
    if facts["setting"] == "full":
        return data.name
    if data.split:
        return f"{data.name}, {data.split.name}"
    shares = {"identities": data.identity_share, "images": data.image_share}
    told = ", ".join(f"{share:.0%} of the {what}" for what, share in shares.items() if share < 1)
    return f"{data.name}, {told} (split {data.split_seed})"


def split_of(data: TrainingPart, chosen: Sequence[Record]) -> Split:
    """The part as it stands in a split file."""
    shares = {"identity_share": data.identity_share, "image_share": data.image_share}
    return Split(dataset=data.name, **shares, seed=data.split_seed, names=base_names(chosen))
