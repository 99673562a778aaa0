"""Networks that timm does not have, against independent ones: timm's, torchvision's, and slow twins of what was published."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.architectures.reid_resnets import IBN, NonLocal
from upreid.models.backbone import create_backbone
from upreid.models.heads.transreid import published_jigsaw


def pictures(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.slow
def test_solider_s_swin_is_timm_s_where_windows_fit_and_its_semantics_do_nothing():
    torch.manual_seed(0)
    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=448).eval()
    for parameter in theirs.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    names = {
        "patch_embed.proj": "patch_embed.projection", "layers.": "stages.", "attn.": "attn.w_msa.", "mlp.fc1": "ffn.layers.0.0",
        "mlp.fc2": "ffn.layers.1",
    }  # fmt: skip
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        new = name
        for old, replacement in names.items():
            new = new.replace(old, replacement)
        if "downsample" in name:  # timm keeps it ahead of the next stage, with its channels in another order
            stage = int(name.split(".")[1])
            new = new.replace(f"stages.{stage}.", f"stages.{stage - 1}.")
            quarter = tensor.shape[-1] // 4
            tensor = tensor.unflatten(-1, (2, 2, quarter)).movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3)
        tensors["norm3" + new.removeprefix("norm") if new.startswith("norm.") else new] = tensor
    ours = create_backbone("solider_swin_tiny", height=448, width=448).eval()
    neutral = {name: torch.zeros_like(tensor) for name, tensor in ours.state_dict().items() if "semantic" in name}
    one = torch.tensor(1.0).expm1().log()  # softplus of it is 1
    neutral |= {
        name: torch.full_like(tensor, float(one))
        for name, tensor in neutral.items()
        if name.endswith("bias") and "_w." in name
    }
    missing, unexpected = ours.load_state_dict(tensors | neutral, strict=False)
    assert not unexpected
    assert all(name.startswith(("norm0", "norm1", "norm2")) for name in missing)
    images = pictures(448, 448)  # at 224 timm does not shift the last stage's one window, and SOLIDER does
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_bot_s_resnet_is_torchvision_s_without_the_first_relu_and_fast_reid_s_has_the_other_pooling():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    theirs.fc = nn.Identity()
    images = pictures(64, 32)
    for name, change in (
        ("bot_resnet18", {"relu": nn.Identity()}),
        ("fastreid_resnet18", {"maxpool": nn.MaxPool2d(3, 2, ceil_mode=True)}),
    ):
        kept = {key: getattr(theirs, key) for key in change}
        ours = create_backbone(name, height=64, width=32).eval()
        ours.load_state_dict(theirs.state_dict())
        plain = theirs(images)
        for key, module in change.items():
            setattr(theirs, key, module)
        torch.testing.assert_close(ours(images), theirs(images))
        assert not torch.allclose(ours(images), plain, atol=1e-3)
        for key, module in kept.items():
            setattr(theirs, key, module)


def by_hand(
    tensors: dict[str, Tensor], images: Tensor, blocks: tuple[int, ...], last_stride: int, ceiling: bool
) -> Tensor:
    """The features of a ResNet from its tensors alone; which norms and weights a block has is told by their names."""

    def parameters(name: str) -> dict[str, Tensor]:
        return {"weight": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}

    def norm(maps: Tensor, name: str) -> Tensor:
        if f"{name}.IN.weight" in tensors:
            half = len(tensors[f"{name}.IN.weight"])
            return torch.cat([norm(maps[:, :half], f"{name}.IN"), norm(maps[:, half:], f"{name}.BN")], dim=1)
        if f"{name}.running_mean" not in tensors:
            return F.instance_norm(maps, **parameters(name))
        statistics = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        return F.batch_norm(maps, *statistics, **parameters(name))

    def conv(maps: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(maps, weight, stride=stride, padding=weight.shape[-1] // 2)

    maps = F.relu(norm(conv(images, "conv1", 2), "bn1"))
    maps = F.max_pool2d(maps, 3, 2, ceil_mode=True) if ceiling else F.max_pool2d(maps, 3, 2, padding=1)
    for stage, count in enumerate(blocks, start=1):
        for place in range(count):
            name, stride = f"layer{stage}.{place}", 1 if stage == 1 or place else last_stride if stage == 4 else 2
            is_basic = f"{name}.conv3.weight" not in tensors
            new = F.relu(norm(conv(maps, f"{name}.conv1", stride if is_basic else 1), f"{name}.bn1"))
            new = norm(conv(new, f"{name}.conv2", 1 if is_basic else stride), f"{name}.bn2")
            if not is_basic:
                new = norm(conv(F.relu(new), f"{name}.conv3"), f"{name}.bn3")
            if f"{name}.se.fc.0.weight" in tensors:
                inner = F.relu(new.mean((2, 3)) @ tensors[f"{name}.se.fc.0.weight"].T)
                new = new * torch.sigmoid(inner @ tensors[f"{name}.se.fc.2.weight"].T)[:, :, None, None]
            if f"{name}.downsample.0.weight" in tensors:
                maps = norm(conv(maps, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            maps = maps + new
            if f"{name}.IN.weight" in tensors:
                maps = F.instance_norm(maps, **parameters(f"{name}.IN"))
            maps = F.relu(maps)
    return maps.mean((2, 3))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "blocks", "last_stride"),
    [
        ("resnet18_ibn_b", (2, 2, 2, 2), 2),
        ("fastreid_resnet18_ibn_se", (2, 2, 2, 2), 1),
        pytest.param("resnet50_ibn_b", (3, 4, 6, 3), 1, marks=pytest.mark.slow),
        pytest.param("se_resnet50_ibn_a", (3, 4, 6, 3), 2, marks=pytest.mark.slow),
    ],
)
def test_ibn_and_squeeze_and_excitation_stand_where_the_papers_put_them(name, blocks, last_stride):
    torch.manual_seed(0)
    ours = create_backbone(name, height=64, width=32, last_stride=last_stride)
    for parameter in ours.parameters():
        parameter.add_(0.1 * torch.rand_like(parameter))
    ours(pictures(64, 32))  # BatchNorm sees images
    expected = by_hand(ours.eval().state_dict(), pictures(64, 32), blocks, last_stride, name.startswith("fastreid"))
    torch.testing.assert_close(ours(pictures(64, 32)), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.slow
def test_fast_reid_s_resnest_is_timm_s_with_its_last_stride():
    torch.manual_seed(0)
    theirs = timm.create_model("resnest50d", num_classes=0).eval()
    for last_stride in (2, 1):
        if last_stride == 1:
            theirs.layer4[0].avd_last, theirs.layer4[0].downsample[0] = nn.AvgPool2d(3, 1, padding=1), nn.Identity()
        ours = create_backbone("fastreid_resnest50", height=64, width=32, last_stride=last_stride).eval()
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(pictures(64, 32)), theirs(pictures(64, 32)))


@torch.no_grad()
def test_a_non_local_block_adds_what_the_loop_over_places_adds():
    torch.manual_seed(0)
    block = NonLocal(4).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(1, 4, 2, 3)
    theta, phi, g = (layer(maps).flatten(2)[0] for layer in (block.theta, block.phi, block.g))
    attended = torch.zeros(1, 6)
    for place in range(6):
        for other in range(6):
            attended[:, place] += (theta[:, place] @ phi[:, other]) / 6 * g[:, other]
    torch.testing.assert_close(block(maps), maps + block.W(attended.view(1, 1, 2, 3)))


@torch.no_grad()
def test_ibn_normalises_the_first_half_by_image_and_the_rest_by_its_statistics():
    torch.manual_seed(0)
    norm, maps = IBN(6).eval(), torch.randn(2, 6, 4, 4)
    first = maps[:, :3]
    wanted = (first - first.mean((2, 3), keepdim=True)) / (
        first.var((2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    torch.testing.assert_close(norm(maps)[:, :3], wanted)
    torch.testing.assert_close(norm(maps)[:, 3:], maps[:, 3:] / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    ("count", "groups"),
    [
        (8, [[4, 0], [5, 1], [6, 2], [7, 3]]),
        (10, [[4, 9], [5, 0], [6, 1], [7, 2]]),
        (9, [[4, 0], [5, 1], [6, 2], [7, 3]]),
    ],
)
def test_the_published_jigsaw_shifts_by_four_patches_and_interleaves_two_halves(count, groups):
    """Worked out by hand: the patches 4, 5, ..., 0, 1, 2, 3 in two halves, taken in turn; an odd number repeats one."""
    patches = torch.arange(count).float().view(1, -1, 1)
    assert [group.flatten().int().tolist() for group in published_jigsaw(patches)] == groups
