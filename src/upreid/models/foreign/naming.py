"""Find the encoder among the tensors of a file: whatever stands before the name of a first convolution is a wrapper."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from torch import Tensor

from upreid.errors import DataError
from upreid.models.foreign.opening import first_few

ROLES = (
    "encoder_q", "teacher", "base_encoder", "teacher_backbone", "encoder_k", "student", "momentum_encoder",
    "momentum_backbone", "backbone_momentum", "student_backbone", "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
"""Names of encoders that stand side by side in one file, in order of preference; one without such a name comes first.

The papers evaluate the query encoder of MoCo (v3: base encoder) and the teacher of DINO.
"""

STEMS = (
    "patch_embed.conv.0.weight", "patch_embed.projection.weight", "patch_embed.proj.weight", "conv_proj.weight",
    "embeddings.patch_embeddings.projection.weight", "embeddings.patch_embedding.weight",
    "embedder.embedder.convolution.weight", "conv1.conv.weight", "conv1.0.weight", "layer0.conv1.weight", "conv1.weight",
    "0.weight",
)  # fmt: skip
"""Names of first convolutions: of ViTs, Swins, transformers' networks, OSNet, SENets and ResNets, also in an nn.Sequential."""
COLOURS, KERNEL = 3, 7
"""Input channels of every first convolution, and size of that of a ResNet in an nn.Sequential, whose name says nothing."""

OWN = "backbone/"
"""What the names of the encoder's own tensors begin with, here and in the rules of formats."""


@dataclass(frozen=True, kw_only=True)
class EncoderTensors:
    """The tensors of one encoder in a file, and those beside it."""

    role: str
    """One of ROLES, or empty where the file holds one encoder only."""
    owner: str
    """Last word before the names of the encoder's own tensors, such as base; empty where there is none."""
    tensors: dict[str, Tensor]
    """All tensors: the encoder's as `backbone/conv1.weight`, others by their names without the wrappers that they share."""

    @property
    def beside(self) -> list[str]:
        """Return the names of the tensors that are not the encoder's."""
        return [name for name in self.tensors if not name.startswith(OWN)]


def find_encoder(path: Path, tensors: dict[str, Tensor], first: str = "") -> EncoderTensors:
    """Strip wrappers in any number and order, and choose among several encoders.

    `first` is the name of a first convolution that is known besides STEMS. Raises DataError where no tensor is a first
    convolution, or where several encoders have equal rights to be the one.
    """
    stems = (first, *STEMS) if first else STEMS
    found = {place_of(name, stem) for name, tensor in tensors.items() if (stem := stem_of(name, tensor, stems))}
    places = sorted(found, key=lambda place: (preference(role_of(place)), place))
    if not places:
        raise DataError(
            f"{path} holds no network with names that upreid knows: none of its {len(tensors)} tensors is a first "
            f"convolution ({first_few(list(tensors))}); rename them, or give another checkpoint"
        )
    chosen, role = places[0], role_of(places[0])
    rivals = [place for place in places if role_of(place) == role]
    if len(rivals) > 1:
        names = [".".join(place) or "the top level" for place in rivals]
        raise DataError(
            f"{path} holds {len(rivals)} encoders ({first_few(names)}), and nothing says which is wanted; write one of "
            f"them to a file of its own"
        )
    renamed = {relative(name.split("."), chosen): tensor for name, tensor in tensors.items()}
    return EncoderTensors(role=role, owner=chosen[-1] if chosen else "", tensors=renamed)


def stem_of(name: str, tensor: Tensor, stems: tuple[str, ...]) -> str:
    """Return which first convolution a tensor is; an empty text where it is none."""
    if tensor.ndim != 4 or tensor.shape[1] != COLOURS:
        return ""
    stem = next((stem for stem in stems if name == stem or name.endswith(f".{stem}")), "")
    return "" if stem == "0.weight" and tensor.shape[2] != KERNEL else stem


def place_of(name: str, stem: str) -> tuple[str, ...]:
    """Return the words before a first convolution: (module, encoder_q) of `module.encoder_q.conv1.weight`."""
    return tuple(name[: -len(stem)].rstrip(".").split(".")) if name != stem else ()


def role_of(place: tuple[str, ...]) -> str:
    """Return the encoder that a prefix names; an empty text where it names none."""
    return next((word for word in place if word in ROLES), "")


def preference(role: str) -> int:
    """Return the rank of a role in the order of preference; an encoder without a role comes first."""
    return ROLES.index(role) if role else -1


def relative(words: list[str], place: tuple[str, ...]) -> str:
    """Return the name of a tensor seen from the encoder at `place`."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, place, strict=False)))
    rest = ".".join(words[shared:])
    return OWN + rest if shared == len(place) else rest
