"""Any timm model as a backbone: normalised images in, one feature vector each out."""

from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from upreid.errors import InputError, nearest


def create_backbone(
    name: str,
    *,
    height: int,
    width: int,
    channels: int | None = None,
    last_stride: int | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """Make a model whose forward maps [batch, 3, height, width] to [batch, `num_features`].

    - `channels`: base width of a narrow ResNet; 24 makes stages of 24, 48, 96, 192 where the usual are 64 to 512.
    - `last_stride`: stride of a ResNet's last stage, without dilation (BoT, arXiv 1903.07071, uses 1).
    - A ViT takes `height` x `width` and any smaller multiple of its patch size: its position embedding is resampled
      to the grid of the input, so a local patch sees the same embedding wherever it was cut.

    Raises InputError for unknown names (with the nearest known one), for options that the model does not have, and
    for sizes that it cannot take.
    """
    if not timm.is_model(name):
        raise InputError(f"unknown backbone '{name}'{nearest_model(name)}")
    options: dict[str, Any] = {}
    if channels is not None:
        options["channels"] = tuple(channels * factor for factor in (1, 2, 4, 8))
    if "vit_" in name or "deit" in name:
        options |= {"img_size": (height, width), "dynamic_img_size": True}
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except (TypeError, AssertionError, RuntimeError) as error:
        if channels is not None and "channels" in str(error):
            raise InputError(not_a_resnet(f"--model.channels {channels}", name)) from error
        raise InputError(f"backbone '{name}' cannot be made with {options}: {error}") from error
    if channels is not None:
        narrow_stem(require_resnet(model, name, f"--model.channels {channels}"), name, channels)
    if last_stride is not None:
        set_last_stride(require_resnet(model, name, f"--model.last-stride {last_stride}"), last_stride)
    model.num_features = feature_size(  # pyright: ignore[reportArgumentType]
        model, name, height, width
    )  # timm's own figure is the trunk's, in some models
    return model


def nearest_model(name: str) -> str:
    """Hint at a known name; timm has too many to list them."""
    hint = nearest(name, timm.list_models())
    return hint if "mean" in hint else "; any name from timm.list_models() will do, such as resnet50"


def require_resnet(model: nn.Module, name: str, option: str) -> Any:
    """Return the model, if it is a ResNet; `Any`, because timm sets its stages by name."""
    if not isinstance(model, ResNet):
        raise InputError(not_a_resnet(option, name))
    return model


def not_a_resnet(option: str, name: str) -> str:
    """Say that an option does not fit the model."""
    return f"{option} is for ResNets, and backbone '{name}' is not one; leave it out"


def narrow_stem(model: Any, name: str, channels: int) -> None:
    """Narrow what timm's `channels` leaves wide: the first convolution and those that read from it."""
    if not isinstance(model.conv1, nn.Conv2d):
        raise InputError(
            f"backbone '{name}' has a stem of several convolutions, and --model.channels narrows one; leave it out"
        )
    first = model.layer1[0]
    model.conv1 = resized(model.conv1, out_channels=channels)
    model.bn1 = nn.BatchNorm2d(channels)
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
    """Set the stride of the last stage: in timm the one strided convolution of its first block, and the shortcut's."""
    if stride not in (1, 2):
        raise InputError(f"last stride of {stride}; a ResNet's is 1 or 2")
    for module in model.layer4[0].modules():
        if isinstance(module, nn.Conv2d | nn.AvgPool2d) and module.stride in ((2, 2), 2):
            module.stride = (stride, stride)


def num_features(backbone: nn.Module) -> int:
    """Number of features that a backbone of ours gives."""
    return int(backbone.num_features)  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def feature_size(model: nn.Module, name: str, height: int, width: int) -> int:
    """Try a size of input; return the number of features. InputError where the model cannot take it."""
    training = model.training
    try:
        features = model.eval()(blank(model, height, width))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"backbone '{name}' cannot take inputs of {height}x{width} ({reason}); use another size"
        ) from error
    model.train(training)
    return features.shape[1]


def blank(model: nn.Module, height: int, width: int) -> Tensor:
    """Make an empty picture where the model is."""
    return torch.zeros(1, 3, height, width, device=next(model.parameters()).device)


@torch.no_grad()
def map_size(model: Any, name: str, height: int, width: int) -> tuple[int, int]:
    """Height and width of the last feature map [batch, channels, height, width]; InputError where the model has none."""
    training = model.training
    found = model.eval().forward_features(blank(model, height, width))
    model.train(training)
    channels = num_features(model)
    if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[1] != channels:
        ends = list(found.shape[1:]) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InputError(
            f"backbone '{name}' ends in {ends}, and patches of a map want [{channels}, height, width]; "
            "use --intrinsic.source pixels"
        )
    return found.shape[2], found.shape[3]
