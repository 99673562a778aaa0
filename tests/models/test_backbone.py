import pytest
import torch

from upreid.errors import InputError
from upreid.models.backbone import create_backbone, map_size

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


def test_a_vit_has_no_map(vit):
    with pytest.raises(InputError, match=r"use --intrinsic\.source pixels"):
        map_size(vit, "vit_small_patch16_224", 256, 128)


def test_a_backbone_that_gives_several_maps_is_refused_by_what_it_gives():
    model = create_backbone("resnet18", **NARROW)
    model.forward_features = lambda pictures: [pictures, pictures]
    with pytest.raises(InputError, match=r"ends in a list, and patches of a map want \[32, height, width\]"):
        map_size(model, "resnet18", 64, 32)
