"""Recognise the format of a file, and apply its rules: tensors of the backbone, of a head of ours, and those that are left."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from upreid.errors import DataError, InputError, nearest
from upreid.models.foreign.formats import Format
from upreid.models.foreign.naming import OWN, EncoderTensors
from upreid.models.foreign.opening import first_few
from upreid.models.foreign.resnet_formats import RESNET_FORMATS
from upreid.models.foreign.vit_formats import VIT_FORMATS

FORMATS = (*VIT_FORMATS, *RESNET_FORMATS)
"""All formats. ViTs come first, because CLIP names its first convolution as a ResNet does."""

HEAD, LEFT = "head/", "left/"
PLUS_ONE = re.compile(r"\{\\(\d+)\+1\}")
PIECE = re.compile(r"^(.*)#(\d)$")
UNCOUNTED = "num_batches_tracked"
"""End of the names of BatchNorm's step counters, which are no weights, and which files before torch 0.4.1 do not have."""


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """Tensors of a file by our names."""

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    left: list[str]


def tell_format(path: Path, encoder: EncoderTensors, name: str | None = None) -> Format:
    """Return the first format in the table that the file fits, or the one of a name; DataError where it fits none."""
    known = list(dict.fromkeys(row.name for row in FORMATS))
    if name is not None and name not in known:
        raise InputError(f"--format {name}: unknown{nearest(name, known)}")
    for row in FORMATS:
        if name in (None, row.name) and fits(row, encoder):
            return row
    meant = f"is not of the format '{name}'" if name else "is of no format that upreid knows"
    raise DataError(
        f"{path} {meant} (its tensors: {first_few(list(encoder.tensors))}); docs/weights.md lists the formats, and "
        f"--backbone NAME reads a file with timm's names"
    )


def fits(row: Format, encoder: EncoderTensors) -> bool:
    """Return whether the names in a file are those of a format."""

    def occurs(pattern: str) -> bool:
        return any(re.search(pattern, name) for name in encoder.tensors)

    in_role = not row.roles or encoder.role in row.roles
    return in_role and all(map(occurs, row.marks)) and not any(map(occurs, row.absent))


def tell_domain(path: Path, encoder: EncoderTensors, row: Format, wanted: int | None) -> list[str]:
    """Return a sentence on the domain whose BatchNorm is taken, for a format that numbers them.

    OpenUnReID keeps a BatchNorm for each of the sets that it trained on, and only its configuration says which of them is the
    target. Raises InputError where the user has to say it and does not, or says what the file does not have.
    """
    numbered = any("{domain}" in pattern for pattern, _ in row.rules)
    found = {int(known[1]) for name in encoder.tensors if (known := re.search(r"\.dsbn\.(\d+)\.", name))}
    domains = sorted(found) if numbered else []
    if wanted is None and domains:
        raise InputError(
            f"{path} holds a BatchNorm for each of {len(domains)} domains, and does not say which is the target: upreid "
            f"convert --domain N takes one, where N counts the sets of its TRAIN.datasets from 0 (OpenUnReID's own "
            f"configurations name the target first: --domain 0)"
        )
    if wanted is not None and wanted not in domains:
        has = f"has the domains {', '.join(map(str, domains))}" if domains else "has no numbered domains; leave it out"
        raise InputError(f"--domain {wanted}: {path} {has}")
    if not domains:
        return []
    return [
        f"of the BatchNorms of {len(domains)} domains those of domain {wanted} were taken, and the others were left"
    ]


def rename(path: Path, encoder: EncoderTensors, row: Format, domain: int | None = None) -> Renamed:
    """Apply the rules of a format; raise DataError where two tensors would get one name."""
    blocks = [int(found[1]) for name in encoder.tensors if (found := re.match(r"^backbone/blocks\.(\d+)\.", name))]
    parts = [int(found[1]) for name in encoder.tensors if (found := re.match(r"^b1\.0\.(\d+)\.", name))]
    facts = {
        "{last}": str(max(blocks, default=0)),
        "{last_part}": str(max(parts, default=-1) + 1),
        "{domain}": str(domain),
    }
    rules = [(re.compile(filled(pattern, facts)), filled(target, facts)) for pattern, target in row.rules]
    new: dict[str, Tensor] = {}
    for name, tensor in encoder.tensors.items():
        target = renamed(name, rules)
        if target in new:
            raise DataError(f"{path} holds two tensors that would be {target}; give a checkpoint of one network")
        new[target] = tensor
    new = joined(path, new)
    inside = {name.removeprefix(OWN): tensor for name, tensor in new.items() if name.startswith(OWN)}
    head = {name.removeprefix(HEAD): tensor for name, tensor in new.items() if name.startswith(HEAD)}
    left = [name.removeprefix(LEFT) for name in new if not name.startswith((OWN, HEAD))]
    return Renamed(backbone=inside, head=head, left=left)


def filled(text: str, facts: dict[str, str]) -> str:
    """Put what is known of the file into a rule."""
    for name, value in facts.items():
        text = text.replace(name, value)
    return text


def renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str:
    """Return the name that the first matching rule gives; the same name where none matches."""
    for pattern, target in rules:
        if found := pattern.search(name):
            target = PLUS_ONE.sub(lambda group, found=found: str(int(found[int(group[1])]) + 1), target)
            return name[: found.start()] + found.expand(target) + name[found.end() :]
    return name


def joined(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the pieces of tensors, such as query, key and value."""
    pieces: dict[str, dict[int, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if found := PIECE.match(name):
            pieces.setdefault(found[1], {})[int(found[2])] = tensor
        else:
            whole[name] = tensor
    for name, parts in pieces.items():
        if sorted(parts) != [0, 1, 2]:
            raise DataError(f"{path} holds only {len(parts)} of query, key and value of {name.removeprefix(OWN)}")
        whole[name] = torch.cat([parts[place] for place in range(3)])
    return whole
