import pytest
import timm
import torch
from timm.layers import global_pool_nlc

from upreid.errors import InputError
from upreid.models.backbone import create_backbone, feature_map, map_size

NARROW = {"height": 64, "width": 32, "channels": 4}


def test_resnet50_at_the_usual_size():
    backbone = create_backbone("resnet50", height=256, width=128)
    assert backbone.num_features == 2048
    assert backbone.eval()(torch.zeros(1, 3, 256, 128)).shape == (1, 2048)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_narrow_resnet_is_narrow_from_its_first_convolution_on(name):
    backbone = create_backbone(name, **NARROW)
    expansion = 4 if name == "resnet50" else 1
    assert backbone.conv1.out_channels == 4
    assert backbone.layer1[0].conv1.in_channels == 4
    assert backbone.num_features == 32 * expansion
    assert backbone.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 32 * expansion)


@pytest.mark.parametrize(("stride", "size"), [(None, (2, 1)), (2, (2, 1)), (1, (4, 2))])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_last_stride_decides_the_size_of_the_last_map(name, stride, size):
    backbone = create_backbone(name, last_stride=stride, **NARROW).eval()
    assert backbone.forward_features(torch.zeros(1, 3, 64, 32)).shape[2:] == size


def test_models_whose_head_is_wider_than_their_trunk_say_what_they_give():
    backbone = create_backbone("mobilenetv3_small_100", height=64, width=32)
    assert backbone.eval()(torch.zeros(1, 3, 64, 32)).shape == (1, backbone.num_features)


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    backbone = create_backbone("vit_small_patch16_224", height=256, width=128).eval()
    torch.nn.init.normal_(backbone.pos_embed)
    return backbone


def test_a_vit_takes_whole_images_and_local_patches(vit):
    assert vit.pos_embed.shape[1] == 1 + 16 * 8
    assert vit(torch.zeros(2, 3, 256, 128)).shape == (2, 384)
    assert vit(torch.zeros(2, 3, 64, 64)).shape == (2, 384)


def test_a_local_patch_is_encoded_alike_wherever_it_was_cut(vit):
    patch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        embedded = vit(patch.expand(8, -1, -1, -1))
    torch.testing.assert_close(embedded, embedded[:1].expand(8, -1))


def test_the_position_embedding_of_a_patch_covers_the_whole_grid_not_a_corner_of_it(vit):
    patch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = vit(patch)
        kept = vit.pos_embed.clone()
        vit.pos_embed[:, -1] *= (
            10  # the far corner of the grid; a shift of all features alike would not survive LayerNorm
        )
        after = vit(patch)
        vit.pos_embed.copy_(kept)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet5o", {}, "did you mean 'resnet50'"),
        ("zzz", {}, "timm.list_models"),
        ("vit_tiny_patch16_224", {"last_stride": 1}, "is for ResNets"),
        ("vit_tiny_patch16_224", {"channels": 4}, "is for ResNets"),
        ("resnet10t", {"channels": 4}, "a stem of several convolutions"),
        ("vit_tiny_patch16_224", {"height": 60}, "60x32"),
        ("resnet18", {"last_stride": 3}, "1 or 2"),
    ],
)
def test_what_cannot_be_made_is_named_in_one_line(name, options, words):
    with pytest.raises(InputError, match=words) as caught:
        create_backbone(name, **({"height": 64, "width": 32} | options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("stride", "size"), [(2, (2, 1)), (1, (4, 2))])
def test_the_size_of_a_map_follows_the_last_stride(stride, size):
    model = create_backbone("resnet18", height=64, width=32, channels=4, last_stride=stride)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert map_size(model, "resnet18", 64, 32) == size
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model.training


MAPS = {
    "vit_tiny_patch16_224": (8, 4),
    "vit_little_patch16_reg4_gap_256": (8, 4),
    "deit_tiny_distilled_patch16_224": (8, 4),
    "vit_relpos_small_patch16_224": (8, 4),
    "eva02_tiny_patch14_224": (8, 4),
    "gmixer_12_224": (8, 4),
    "resnet18": (4, 2),
    "resnet50d": (4, 2),
    "convnext_atto": (4, 2),
    "davit_tiny": (4, 2),
    "swin_tiny_patch4_window7_224": (4, 2),
}
"""Rows and columns of the last map of 128 x 64 pixels (112 x 56 for patches of 14)."""


@pytest.fixture(scope="module", params=MAPS)
def mapped(request):
    torch.manual_seed(0)
    height, width = (112, 56) if "patch14" in request.param else (128, 64)
    model = create_backbone(request.param, height=height, width=width).eval()
    return model, request.param, torch.randn(2, 3, height, width)


def test_every_backbone_has_a_map_with_channels_first(mapped):
    model, name, pictures = mapped
    assert map_size(model, name, *pictures.shape[2:]) == MAPS[name]
    assert feature_map(model, pictures).shape == (2, model.num_features, *MAPS[name])


def test_the_mean_of_a_map_is_the_average_pool_of_timm(mapped):
    model, _, pictures = mapped
    features = model.forward_features(pictures)
    if features.ndim == 3:
        pooled = global_pool_nlc(features, pool_type="avg", num_prefix_tokens=getattr(model, "num_prefix_tokens", 0))
    else:
        pooled = features.mean((1, 2) if features.shape[-1] == model.num_features else (2, 3))
    torch.testing.assert_close(feature_map(model, pictures).mean((2, 3)), pooled)


@pytest.mark.parametrize("mapped", [name for name in MAPS if "resnet" not in name], indirect=True)
def test_a_place_of_the_map_belongs_to_its_place_in_the_picture(mapped):
    model, _, pictures = mapped
    changed = pictures.clone()
    corner = changed[:, :, -pictures.shape[2] // 8 :, : pictures.shape[3] // 4]  # the lower left
    corner += 3.0 * torch.randn(corner.shape)
    with torch.no_grad():
        moved = (feature_map(model, changed) - feature_map(model, pictures)).norm(dim=1)  # [batch, rows, columns]
    rows, columns = moved.shape[1:]
    assert all(place // columns >= rows - 2 for place in moved.flatten(1).argmax(1).tolist())
    assert all(place % columns < columns // 2 for place in moved.flatten(1).argmax(1).tolist())


def test_gradients_flow_through_the_map_to_the_first_layer(mapped):
    model, _, pictures = mapped
    pictures = pictures.clone().requires_grad_()
    feature_map(model, pictures)[:, :, -1].square().sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    model.zero_grad()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vit_tiny_patch16_224"])
def test_the_options_for_sizes_move_no_random_number(name):
    torch.manual_seed(3)
    ours = create_backbone(name, height=224, width=224).state_dict()
    torch.manual_seed(3)
    theirs = timm.create_model(name, num_classes=0).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["resnet18", "resnet50d"])
def test_the_map_of_a_resnet_is_its_last_stage_untouched(name):
    model = create_backbone(name, height=64, width=32).eval()
    pictures = torch.randn(2, 3, 64, 32)
    assert torch.equal(feature_map(model, pictures), model.forward_features(pictures))


def test_the_map_of_a_vit_follows_the_size_of_the_picture(vit):
    assert map_size(vit, "vit_small_patch16_224", 256, 128) == (16, 8)
    assert feature_map(vit, torch.zeros(1, 3, 64, 128)).shape == (1, 384, 4, 8)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("mobilenetv3_small_050", r"\[288, 2, 1\]"),  # its head is wider than its trunk
        ("volo_d1_224", r"\[9, 384\]"),  # timm does not say how many of its tokens are patches
        ("pit_ti_224", r"\[1, 256\]"),  # nothing but the class token comes out
    ],
)
def test_a_backbone_without_a_map_is_refused_with_what_it_gives(name, ends):
    model = create_backbone(name, height=64, width=32)
    with pytest.raises(InputError, match=rf"ends in {ends}.*use --intrinsic\.source pixels") as caught:
        map_size(model, name, 64, 32)
    assert "\n" not in str(caught.value)


def test_a_backbone_that_gives_several_maps_is_refused_by_what_it_gives():
    model = create_backbone("resnet18", **NARROW)
    model.forward_features = lambda pictures: [pictures, pictures]
    with pytest.raises(InputError, match=r"ends in a list, and patches of a map need \[32, rows, columns\]"):
        map_size(model, "resnet18", 64, 32)
