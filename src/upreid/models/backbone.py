"""Backbones: any timm model, which turns each normalised image into one feature vector, and most into a map of regions.

Networks of person re-identification that timm does not have are registered with it by `models/architectures/`.
"""

from functools import partial
from math import isqrt
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models.resnet import ResNet
from timm.models.senet import SENet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from upreid.errors import InputError, nearest
from upreid.models import architectures
from upreid.models.architectures.vits import OverlappingPatches

STAGED = (ResNet, SENet)
"""Networks whose last stage, `layer4`, can be given another stride."""
NOT_A_VIT = "a patch stride, or a number of attention heads, is for plain ViTs, and must fit them; leave it out"


def create_backbone(
    name: str,
    *,
    height: int,
    width: int,
    channels: int | None = None,
    last_stride: int | None = None,
    patch_stride: int | None = None,
    attention_heads: int | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """Make a model whose forward maps [batch, 3, height, width] to [batch, `num_features`].

    - `channels` is the base width of a narrow ResNet: 24 makes stages of 24, 48, 96 and 192 channels, not of 64 to 512.
    - `last_stride` is the stride of a ResNet's last stage, without dilation (BoT, arXiv 1903.07071, uses 1).
    - `patch_stride` is the distance of a ViT's patches; patches overlap where it is less than their size (TransReID uses 12).
    - `attention_heads` is the number of heads in each block of a ViT, which no weight shows.
    - A model whose weights depend on the size of its input is made for `height` x `width`. A ViT then takes other
      multiples of its patch size too: its position embedding is resampled to the grid of the input, so a local patch
      sees the same embedding wherever it was cut.

    Raises InputError for unknown names (with the nearest known one), for options that the model does not have, and
    for sizes that it cannot take.
    """
    assert architectures  # their import registers them
    if not timm.is_model(name):
        raise InputError(f"unknown backbone '{name}'{nearest_model(name)}")
    options: dict[str, Any] = {}
    if channels is not None:
        options["channels"] = tuple(channels * factor for factor in (1, 2, 4, 8))
    if attention_heads is not None:
        options["num_heads"] = attention_heads
    if patch_stride is not None:
        options["embed_layer"] = partial(OverlappingPatches, stride=patch_stride)
    try:
        model = create_for_size(name, height, width, pretrained=pretrained, **options)
    except (TypeError, AssertionError, RuntimeError) as error:
        if channels is not None and "channels" in str(error):
            raise InputError(not_a_resnet(f"channels {channels}", name, "set channels to None")) from error
        if patch_stride or attention_heads:
            raise InputError(f"{NOT_A_VIT} ('{name}': {in_short(error)})") from error
        reason = in_short(error)
        raise InputError(f"backbone '{name}' cannot be made for inputs of {height}x{width} ({reason})") from error
    if channels is not None:
        narrow_stem(require_resnet(model, name, f"channels {channels}", "set channels to None"), name, channels)
    if (patch_stride or attention_heads) and not isinstance(model, VisionTransformer):
        raise InputError(f"{NOT_A_VIT} ('{name}' is none)")
    if last_stride is not None:
        set_last_stride(
            require_resnet(model, name, f"last stride {last_stride}", "set it to None", STAGED), last_stride
        )
    model.num_features = feature_size(  # pyright: ignore[reportArgumentType]
        model, name, height, width
    )  # timm's own figure is the trunk's, in some models
    return model


def create_for_size(name: str, height: int, width: int, **options: Any) -> nn.Module:
    """Call timm with as many of its options for the size of the input as the model has: both, one, or none."""
    sizing: dict[str, Any] = {"img_size": (height, width), "dynamic_img_size": True}
    while True:
        try:
            return timm.create_model(name, num_classes=0, **sizing, **options)
        except TypeError as error:  # raised before a weight is drawn
            if not sizing or "unexpected keyword argument" not in str(error):
                raise
            sizing.popitem()


def nearest_model(name: str) -> str:
    """Return a hint at a known name; timm has too many names to list them all."""
    hint = nearest(name, timm.list_models())
    return hint if "mean" in hint else "; any name from timm.list_models() will do, such as resnet50"


def require_resnet(model: nn.Module, name: str, option: str, remedy: str, kinds: Any = ResNet) -> Any:
    """Return the model if it is a ResNet, of one of `kinds`; its type is `Any` because timm sets its stages by name."""
    if not isinstance(model, kinds):
        raise InputError(not_a_resnet(option, name, remedy))
    return model


def not_a_resnet(option: str, name: str, remedy: str) -> str:
    """Say that an option does not fit the model, and what to do where the backbone is to stay."""
    return f"{option} is for ResNets, and backbone '{name}' is not one; choose a ResNet, or {remedy}"


def narrow_stem(model: Any, name: str, channels: int) -> None:
    """Narrow what timm's `channels` leaves wide: the first convolution and those that read from it."""
    if not isinstance(model.conv1, nn.Conv2d):
        raise InputError(
            f"backbone '{name}' has a stem of several convolutions, and channels {channels} narrows one; set channels to None"
        )
    first = model.layer1[0]
    model.conv1 = resized(model.conv1, out_channels=channels)
    model.bn1 = type(model.bn1)(channels, affine=True)  # of IBN-b an InstanceNorm
    first.conv1 = resized(first.conv1, in_channels=channels)
    if first.downsample is not None:
        first.downsample[0] = resized(first.downsample[0], in_channels=channels)


def resized(conv: nn.Conv2d, **channels: int) -> nn.Conv2d:
    """Return a convolution like `conv` with other channel counts, initialised as timm's ResNets are."""
    same: dict[str, Any] = {
        name: getattr(conv, name) for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding")
    }
    same |= channels
    new = nn.Conv2d(**same, bias=conv.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


def set_last_stride(model: Any, stride: int) -> None:
    """Set the stride of the last stage: that of the strided convolution of its first block, and of the shortcut."""
    if stride not in (1, 2):
        raise InputError(f"last stride of {stride}; a ResNet's is 1 or 2")
    for module in model.layer4[0].modules():
        if isinstance(module, nn.Conv2d | nn.AvgPool2d) and module.stride in ((2, 2), 2):
            module.stride = (stride, stride)
            if isinstance(module, nn.AvgPool2d) and module.kernel_size in (
                (2, 2),
                2,
            ):  # means before the shortcut's convolution
                module.kernel_size = stride


def num_features(backbone: nn.Module) -> int:
    """Return the number of features that a backbone made by `create_backbone` gives."""
    return int(backbone.num_features)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def feature_size(model: nn.Module, name: str, height: int, width: int) -> int:
    """Return the number of features for inputs of a size; raise InputError where the model cannot take that size."""
    training = model.training
    try:
        features = model.eval()(blank(model, height, width))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise InputError(
            f"backbone '{name}' cannot take inputs of {height}x{width} ({in_short(error)}); use another size"
        ) from error
    model.train(training)
    return features.shape[1]


def in_short(error: Exception) -> str:
    """Put timm's or torch's reason, which may be empty or have many lines, into one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def blank(model: nn.Module, height: int, width: int) -> Tensor:
    """Return a picture of zeros on the device of the model."""
    return torch.zeros(1, 3, height, width, device=next(model.parameters()).device)


def feature_map(
    backbone: Any, pictures: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch channels rows columns"]:
    """Compute the last feature map of a timm model; `map_size` says beforehand whether the model has one."""
    maps = as_map(backbone, backbone.forward_features(pictures), pictures.shape[2], pictures.shape[3])
    assert maps is not None
    return maps


def features_and_map(
    backbone: Any, pictures: Float[Tensor, "batch 3 height width"]
) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch channels rows columns"]]:
    """Compute the features of a timm model, and the last feature map that they come from, in one forward."""
    last = backbone.forward_features(pictures)
    maps = as_map(backbone, last, pictures.shape[2], pictures.shape[3])
    assert maps is not None
    return backbone.forward_head(last), maps


def as_map(backbone: nn.Module, features: Any, height: int, width: int) -> Tensor | None:
    """Put the features of a picture of `height` x `width` in the order [batch, channels, rows, columns].

    The patch tokens of a transformer are a map too: class, register and distillation tokens come first and are left out.
    Returns None where the features are no map.
    """
    if not isinstance(features, Tensor):
        return None
    if features.ndim == 4:
        return features.permute(0, 3, 1, 2) if getattr(backbone, "output_fmt", "") == "NHWC" else features
    if features.ndim != 3:
        return None
    tokens = features[:, getattr(backbone, "num_prefix_tokens", 0) :]  # [batch, tokens, channels]
    stride = isqrt(height * width // tokens.shape[1])
    grid = height // stride, width // stride
    return tokens.transpose(1, 2).unflatten(2, grid) if grid[0] * grid[1] == tokens.shape[1] else None


@torch.no_grad()
def map_size(model: Any, name: str, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the last feature map; raise InputError where the model has no such map."""
    training = model.training
    features = model.eval().forward_features(blank(model, height, width))
    model.train(training)
    channels, maps = num_features(model), as_map(model, features, height, width)
    if maps is None or maps.shape[1] != channels:
        ends = list(features.shape[1:]) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise InputError(
            f"backbone '{name}' ends in {ends}, and patches of a map need [{channels}, rows, columns] or patch tokens "
            f"of {channels} features; use --intrinsic.source pixels"
        )
    return maps.shape[2], maps.shape[3]
