"""Find the encoder among the tensors of a file, and give its tensors the names that timm has for them."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from torch import Tensor

from upreid.errors import DataError
from upreid.models.foreign.opening import first_few

WRAPPERS = ("module", "_orig_mod", "state_dict", "model", "backbone", "base", "encoder", "network", "net")
"""Words that DataParallel, torch.compile, training programs and model classes put before a name."""

ROLES = ("encoder_q", "teacher", "base_encoder", "encoder_k", "student", "momentum_encoder")
"""Names of encoders that stand side by side in one file, in order of preference.

The papers evaluate the query encoder of MoCo (v3: base encoder) and the teacher of DINO.
"""

STEMS = ("conv1.weight", "conv1.0.weight", "patch_embed.proj.weight", "0.weight")
"""Names of the first convolution: of a ResNet, of one with a deep stem, of a ViT, and of a ResNet in an nn.Sequential."""

SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Names of the children of a torchvision ResNet by their position; 2 and 3 are ReLU and pooling."""


@dataclass(frozen=True, kw_only=True)
class EncoderTensors:
    """The tensors of one encoder in a file."""

    role: str
    """One of ROLES, or empty where the file holds one encoder only."""
    tensors: dict[str, Tensor]
    """Tensors by timm's names; heads that stand beside the layers are still among them."""
    beside: tuple[str, ...]
    """First words of the names of the tensors that were left."""
    num_beside: int
    """Number of tensors that were left."""


def find_encoder(path: Path, tensors: dict[str, Tensor]) -> EncoderTensors:
    """Strip wrappers in any nesting, choose among several encoders, and replace positions in a Sequential by names.

    Raises DataError where no tensor looks like the first layer of a ResNet or a ViT, or where several encoders have
    equal rights to be the one.
    """
    places = {name: split(name) for name in tensors}
    prefixes = [place for name, (place, rest) in places.items() if rest in STEMS and tensors[name].ndim == 4]
    if not prefixes:
        raise DataError(
            f"{path} holds no ResNet and no ViT with names as torchvision's or timm's: none of its {len(tensors)} "
            f"tensors is a first convolution ({first_few(list(tensors))}); rename them, or give another checkpoint"
        )
    chosen = min(prefixes, key=lambda place: preference(role(place)))
    rivals = {place for place in prefixes if role(place) == role(chosen)}
    if len(rivals) > 1:
        names = [".".join(place) or "the top level" for place in sorted(rivals)]
        raise DataError(
            f"{path} holds {len(rivals)} encoders ({first_few(names)}), and nothing says which is wanted; write one of "
            f"them to a file of its own"
        )
    taken = {rest: tensors[name] for name, (place, rest) in places.items() if place == chosen}
    left = [place_and_rest for place_and_rest in places.values() if place_and_rest[0] != chosen]
    roots = dict.fromkeys(root(place, rest, role(chosen)) for place, rest in left)
    return EncoderTensors(role=role(chosen), tensors=timm_names(taken), beside=tuple(roots), num_beside=len(left))


def split(name: str) -> tuple[tuple[str, ...], str]:
    """Split `state_dict.module.encoder_q.bn1.weight` into (state_dict, module, encoder_q) and `bn1.weight`."""
    words = name.split(".")
    place = tuple(takewhile(lambda word: word in WRAPPERS or word in ROLES, words))
    return place, ".".join(words[len(place) :])


def role(place: tuple[str, ...]) -> str:
    """Return the encoder that a prefix names; an empty text where it names none."""
    return next((word for word in place if word in ROLES), "")


def preference(word: str) -> int:
    """Return the rank of a role in the order of preference; an encoder without a role comes first."""
    return ROLES.index(word) if word else -1


def root(place: tuple[str, ...], rest: str, chosen: str) -> str:
    """Return a short name for a tensor that is left: that of its encoder, or the first word of its own."""
    other = role(place)
    return other if other and other != chosen else rest.split(".")[0]


def timm_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the children of a ResNet in an nn.Sequential; every other name stays."""
    if "0.weight" not in tensors:
        return tensors
    parts = {name: name.partition(".") for name in tensors}
    return {f"{SEQUENTIAL.get(head, head)}{dot}{rest}": tensors[name] for name, (head, dot, rest) in parts.items()}
