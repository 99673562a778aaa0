import pytest
import torch
from torch import nn
from torch.testing import assert_close

from upreid.errors import InputError
from upreid.models.backbone import create_backbone
from upreid.models.heads import HeadSettings
from upreid.models.heads.transreid import TransReID, jigsaw


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return create_backbone("vit_tiny_patch16_224", height=64, width=48).eval()


def settings(**changes: object) -> HeadSettings:
    return HeadSettings(**{"name": "transreid"} | changes)


def test_with_both_options_off_it_is_the_backbones_class_token(vit: nn.Module) -> None:
    images = torch.randn(3, 3, 64, 48)
    head = TransReID(vit, settings()).eval()
    assert_close(head(vit, images).before, (vit(images),))
    assert head.body() == []


def test_the_camera_moves_the_feature_and_only_known_cameras_are_taken(vit: nn.Module) -> None:
    images = torch.randn(1, 3, 64, 48).expand(3, -1, -1, -1)
    head = TransReID(vit, settings(camera_weight=3.0, cameras=(2, 7))).eval()
    features = head(vit, images, torch.tensor([2, 7, 2])).before[0]
    assert_close(features[0], features[2])
    assert not torch.allclose(features[0], features[1])
    with pytest.raises(InputError, match=r"cameras \[2, 7\] and was given \[3\]"):
        head(vit, images, torch.tensor([2, 7, 3]))
    with pytest.raises(InputError, match="none are given"):
        head(vit, images)


def test_groups_of_the_jigsaw_span_the_body_and_hold_every_patch_once() -> None:
    patches = torch.arange(24.0)[None, :, None]
    groups = [group[0, :, 0].tolist() for group in jigsaw(patches)]
    assert groups[0] == [5, 17, 6, 18, 7, 19]  # shifted by five; then the two halves, interleaved
    assert sorted(place for group in groups for place in group) == list(range(24))
    with pytest.raises(InputError, match="8 patches or more"):
        jigsaw(torch.zeros(1, 7, 4))


def test_the_jigsaw_adds_four_parts_that_weigh_a_half_together(vit: nn.Module) -> None:
    images = torch.randn(2, 3, 64, 48)
    head = TransReID(vit, settings(jigsaw=True)).eval()
    parts = head(vit, images)
    assert len(parts.before) == len(head.part_dims) == 5
    assert_close(parts.before[0], vit(images))
    assert not any(torch.allclose(parts.before[0], part) for part in parts.before[1:])
    assert sum(head.identity_weights) == 1
    assert head.identity_weights[0] == 0.5
    assert [weight for _, weight in head.triplets] == list(head.identity_weights)
    assert len(head.body()) == 1


def test_a_resnet_is_refused() -> None:
    with pytest.raises(InputError, match="class token"):
        TransReID(create_backbone("resnet18", height=64, width=32, channels=4), settings())


@pytest.mark.parametrize("name", ["vit_little_patch16_reg4_gap_256", "deit_tiny_distilled_patch16_224"])
def test_registers_and_distillation_tokens_are_no_patches_of_the_jigsaw(name: str) -> None:
    backbone = create_backbone(name, height=64, width=64).eval()
    if backbone.cls_token is None:
        backbone.cls_token = nn.Parameter(torch.zeros(1, 1, backbone.embed_dim))
        backbone.global_pool, backbone.num_prefix_tokens = "token", backbone.num_prefix_tokens + 1
        backbone.no_embed_class = True
    head = TransReID(backbone, settings(jigsaw=True)).eval()
    lengths: list[int] = []
    head.local[0].register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    head(backbone, torch.randn(1, 3, 64, 64))
    assert lengths == [1 + 16 // 4] * 4
