import pytest
import torch
from torch import nn
from torch.testing import assert_close

from upreid.errors import InputError
from upreid.models.backbone import create_backbone
from upreid.models.heads import HeadSettings, create_head
from upreid.models.heads.mgn import MGN


def backbone(name: str = "resnet18") -> nn.Module:
    torch.manual_seed(0)
    return create_backbone(name, height=96, width=32, channels=4, last_stride=1)


def settings(**changes: object) -> HeadSettings:
    return HeadSettings(**{"name": "mgn", "pool": "gem", "embed_dim": 6, "extra_bn": True} | changes)


def slow(net, head: MGN, images):
    """The eight features in the order b1 b2 b3 b21 b22 b31 b32 b33, spelt out."""
    shared = net.layer3[0](net.layer2(net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(images)))))))
    first = net.layer4(net.layer3[1](shared))
    maps = [first, head.branches[0](shared), head.branches[1](shared)]
    maps = [norm(one) for norm, one in zip(head.extra_bn, maps, strict=True)]
    rows = maps[0].shape[2]
    assert rows == 6
    regions = [*maps, maps[1][:, :, :3], maps[1][:, :, 3:], maps[2][:, :, :2], maps[2][:, :, 2:4], maps[2][:, :, 4:]]
    features = []
    for embed, region in zip(head.embeds, regions, strict=True):
        pooled = region.clamp_min(1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
        features.append(pooled @ embed.reduce.weight.T)
    return features


def test_the_parts_are_the_body_its_halves_and_its_thirds() -> None:
    net, images = backbone(), torch.randn(4, 3, 96, 32)
    head = MGN(net, settings())
    for index, branch in enumerate(head.branches):  # no longer copies: a mix-up of branches would show
        nn.init.normal_(branch[-1][0].downsample[0].weight, std=0.1 * (index + 1))
    parts = head.eval()(net.eval(), images)
    for ours, theirs in zip(parts.before, slow(net, head, images), strict=True):
        assert_close(ours, theirs)
    after = [norm(part) for norm, part in zip(head.necks, parts.before, strict=True)]
    for ours, theirs in zip(parts.after, after, strict=True):
        assert_close(ours, theirs)
    assert head.triplets == (((0,), 0.2), ((1,), 0.2), ((2,), 0.2), ((3, 4), 0.2), ((5, 6, 7), 0.2))
    assert head.identity_weights == (0.125,) * 8


def test_branches_begin_as_copies_of_the_backbones_own_end_and_learn_apart() -> None:
    net = backbone()
    head = MGN(net, settings())
    own = nn.Sequential(*list(net.layer3)[1:], net.layer4)
    for branch in head.branches:
        for copy, weight in zip(branch.parameters(), own.parameters(), strict=True):
            assert torch.equal(copy, weight)
            assert copy is not weight
    parts = head(net, torch.randn(4, 3, 96, 32))
    torch.cat(parts.after, dim=1).square().mul(torch.rand(4, 48)).sum().backward()
    grown = [branch[-1][0].downsample[0].weight.grad for branch in (own, *head.branches)]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in grown)
    assert not torch.equal(grown[1], grown[2])
    assert head.body() == [head.branches]


def test_without_the_extra_norm_there_is_none() -> None:
    plain = MGN(backbone(), settings(extra_bn=False))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.extra_bn.modules())


def test_images_too_low_for_thirds_and_backbones_that_are_no_resnets_are_refused() -> None:
    net = backbone()
    with pytest.raises(InputError, match=r"thirds.*--input\.height 48"):
        MGN(net, settings())(net, torch.randn(2, 3, 32, 32))
    vit = create_backbone("vit_tiny_patch16_224", height=64, width=32)
    with pytest.raises(InputError, match="ResNets"):
        create_head(vit, settings())
