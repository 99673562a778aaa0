"""Networks that timm does not have, against independent ones: timm's, torchvision's, and slow twins of what was published."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

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
