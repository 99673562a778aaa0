"""Copy the tensors of a checkpoint into a backbone, or refuse a checkpoint that is of another network.

The backbone must find all of its tensors in the file, and the file may have others only where they are heads, queues and the
like: a tensor inside the backbone that has no place there changes what the network computes.
"""

import re
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from upreid.errors import DataError
from upreid.models.foreign.opening import first_few
from upreid.models.foreign.positions import no_grid, resample, tell_grid
from upreid.models.foreign.reading import Foreign
from upreid.models.foreign.renaming import UNCOUNTED

EXTRAS = (
    "fc", "head", "heads", "cls_head", "head_dist", "classifier", "classifiers", "last_linear", "linear", "logits",
    "pre_logits", "bottleneck", "bnneck", "bn_neck", "neck", "feat", "feat_bn", "projector", "projection",
    "projection_head", "proj_head", "predictor", "prediction_head", "prototype", "prototypes", "queue", "queue_ptr",
    "memory", "center", "centers", "mask_token", "masked_embed", "optimizer", "scheduler", "scaler", "pooler",
)  # fmt: skip
"""First words of the names of tensors that are no part of a backbone: those of heads, queues, MAE's masks and optimisers.

Numbered words (`bottleneck_1`) and all that begin with `decoder` count too.
"""
POOL = re.compile(r"(avgpool|global_pool|globalpool|gap|gem|pool|pooling)(\.\w+)*\.p")
"""Names of the exponent of generalised mean pooling, which belongs to a head."""

FAMILIES = {
    r"^conv1\.\d|^(conv|bn)[23]\.": "a stem of several convolutions",
    r"^layer\d\.\d+\.(se|se_module|eca|cbam|attn|ca|sa)\.": "attention over channels or places",
    r"(^|\.)(q_norm|k_norm)\.": "norms on queries and keys",
    r"(^|\.)attn\.norm": "a norm inside its attention",
    r"(^|\.)(IN|BN)\.": "instance normalisation (IBN)",
    r"\.(BN_S|BN_T|bn_list|dsbn)\.": "a batch normalisation for each domain",
    r"^NL_|non_?local|(^|\.)nl\.": "non-local blocks",
    r"^(dist_token|distill)": "a distillation token",
    r"part_?token|^part\d|^cls_pos": "part tokens (PASS)",
    r"^reg(ister)?_token": "register tokens",
    r"sie_embed|camera|cam_embed|^cv_embed": "camera or view embeddings (TransReID's, CLIP-ReID's)",
    r"^fc_norm\.": "a norm after pooling instead of before it",
    r"^(norm_pre|ln_pre)\.": "a norm before its blocks (CLIP)",
    r"\.(ls1|ls2|gamma_?1|gamma_?2)": "layer scale",
    r"rel_?pos|relative_position|rope": "relative position embeddings",
    r"^patch_embed\.": "another patch stem (TransReID-SSL's ICS, a hybrid)",
    r"\.(q_bias|v_bias)$": "biases of its own for queries and values (BEiT)",
    r"lora_|adapter|prompt": "adapters or prompts",
    r"_scale$|zero_point|fake_quant": "quantised weights",
    r"^attn_?pool\.": "attention pooling",
}
"""Patterns of names, and the kind of network that has such tensors."""

POSITIONS = "pos_embed"


def load_into(backbone: nn.Module, foreign: Foreign, path: Path) -> list[str]:
    """Copy every tensor of the backbone from the file; return sentences on what was copied and what was left.

    A ViT's position embedding is resampled to the backbone's grid; `num_batches_tracked` stays. Raises DataError, and
    changes nothing, where a tensor is missing, of another shape or not finite, or where the file has a tensor inside the
    backbone that this backbone does not have.
    """
    own = {name: tensor for name, tensor in backbone.state_dict().items() if counts(name)}
    given = {name: reshaped(tensor, own.get(name)) for name, tensor in foreign.tensors.items() if counts(name)}
    left = [name for name in given if name not in own and is_extra(name)]
    refuse_strangers([name for name in given if name not in own and not is_extra(name)], foreign.backbone, path)
    refuse_gaps(own, given, foreign.backbone, path)
    sentences = fit_positions(backbone, given, path)
    refuse_numbers(own, given, path)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])
    elements = sum(tensor.numel() for tensor in own.values())
    sentences.insert(0, f"all {len(own)} tensors of {foreign.backbone} were found ({elements:,} elements)")
    if left:
        sentences.append(f"{len(left)} tensors of heads and the like were left ({first_few(left)})")
    if isinstance(backbone, VisionTransformer):
        heads = backbone.blocks[0].attn.num_heads  # pyright: ignore[reportAttributeAccessIssue]
        whose = "as --attention-heads says" if foreign.attention_heads else f"as {foreign.backbone} has"
        sentences.append(f"{heads} attention heads, {whose}; the weights do not show their number")
    return sentences


def counts(name: str) -> bool:
    """Return whether a tensor is a weight, and no counter of steps."""
    return not name.endswith(UNCOUNTED)


def reshaped(tensor: Tensor, wanted: Tensor | None) -> Tensor:
    """Give a tensor the shape that is wanted where the two differ by axes of length 1 only, as 1x1 convolutions do."""
    if wanted is None or tensor.shape == wanted.shape or tensor.squeeze().shape != wanted.squeeze().shape:
        return tensor
    return tensor.reshape(wanted.shape)


def is_extra(name: str) -> bool:
    """Return whether a tensor belongs to a head, a queue or the like, and not to the backbone."""
    root = name.partition(".")[0]
    return root.rstrip("_0123456789") in EXTRAS or root.startswith("decoder") or bool(POOL.fullmatch(name))


def refuse_strangers(names: list[str], backbone: str, path: Path) -> None:
    """Raise DataError where tensors inside the backbone have no place in it, and say which kind of network has such."""
    if names:
        families = [words for pattern, words in FAMILIES.items() if any(re.search(pattern, name) for name in names)]
        known = f"; it is a network with {', '.join(families[:3])}" if families else ""
        raise DataError(
            f"{path} is nearest to {backbone}, which has no place for {len(names)} of its tensors "
            f"({first_few(names)}){known}; without them its features would be others: give the checkpoint of a plain "
            f"{backbone}"
        )


def refuse_gaps(own: dict[str, Tensor], given: dict[str, Tensor], backbone: str, path: Path) -> None:
    """Raise DataError where a tensor of the backbone is missing or of another shape; positions may be resampled later."""
    missing = [name for name in own if name not in given]
    strange = [
        f"{name} {tuple(given[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape and name != POSITIONS
    ]
    kinds = {"missing": missing, "of another shape": strange}
    faults = [f"{len(names)} are {kind} ({first_few(names)})" for kind, names in kinds.items() if names]
    if faults:
        raise DataError(
            f"{path} is nearest to {backbone}, but of the {len(own)} tensors of that {' and '.join(faults)}, and would stay "
            f"random ({(len(own) - len(missing) - len(strange)) / len(own):.1%} match); give the checkpoint of a whole {backbone}"
        )


def refuse_numbers(own: dict[str, Tensor], given: dict[str, Tensor], path: Path) -> None:
    """Raise DataError where weights are not finite, or are no floating-point numbers."""
    strange = [name for name in own if not is_finite(given[name])]
    if strange:
        raise DataError(
            f"{path}: {len(strange)} of its weights hold NaN, infinity or no floating-point numbers "
            f"({first_few(strange)}); its training diverged, or the file is damaged: give an earlier checkpoint"
        )


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor holds nothing but finite floating-point numbers."""
    return tensor.is_floating_point() and tensor.layout is torch.strided and bool(tensor.float().isfinite().all())


def fit_positions(backbone: nn.Module, given: dict[str, Tensor], path: Path) -> list[str]:
    """Resample the position embedding in `given` to the backbone's grid; return a sentence on it where the grids differ."""
    if not isinstance(backbone, VisionTransformer):
        return []
    positions, dim, patches = given[POSITIONS], backbone.embed_dim, backbone.patch_embed
    if positions.ndim == 2:  # CLIP's
        positions = given[POSITIONS] = positions[None]
    if positions.ndim != 3 or (positions.shape[0], positions.shape[2]) != (1, dim):
        raise DataError(f"{path}: its position embedding is of shape {tuple(positions.shape)}, not (1, places, {dim})")
    new: tuple[int, int] = patches.grid_size  # pyright: ignore[reportAssignmentType]
    num_prefix = 0 if backbone.no_embed_class else backbone.num_prefix_tokens
    num_patches = positions.shape[1] - num_prefix
    grid = tell_grid(num_patches, patches.patch_size[0], getattr(patches, "stride", None))
    old = (grid.rows, grid.columns) if grid else (new if num_patches == new[0] * new[1] else None)
    if old is None:
        raise DataError(f"{path}: {no_grid(num_patches, num_prefix)}")
    if grid and grid.stride != getattr(patches, "stride", patches.patch_size[0]):
        raise DataError(
            f"{path}: its position embedding has {num_patches + num_prefix} places, {grid.rows}x{grid.columns} of them for "
            f"patches that overlap ({grid.height}x{grid.width} pixels, stride {grid.stride}, as TransReID cuts them), and "
            f"this ViT's do not; make it with patch stride {grid.stride}"
        )
    if old == new:
        return []
    given[POSITIONS] = resample(positions, old=old, new=new, num_prefix=num_prefix)
    return [f"position embedding resampled from {old[0]}x{old[1]} to {new[0]}x{new[1]}"]
