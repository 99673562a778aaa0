import torch
from torch import nn
from torch.testing import assert_close

from upreid.models.backbone import create_backbone
from upreid.models.heads import HeadSettings
from upreid.models.heads.bnneck import BNNeck
from upreid.models.heads.parts import GeM, neck


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return create_backbone("resnet18", height=64, width=32, channels=4, last_stride=1)


def test_the_neck_has_no_shift_to_learn() -> None:
    ours = neck(8)
    assert {name for name, parameter in ours.named_parameters() if parameter.requires_grad} == {"weight"}
    optimiser = torch.optim.SGD([p for p in ours.parameters() if p.requires_grad], lr=1.0)
    (1e4 * ours(torch.randn(16, 8)).square().sum()).backward()
    optimiser.step()
    assert torch.equal(ours.bias, torch.zeros(8))
    assert not torch.equal(ours.weight, torch.ones(8))


def test_the_part_is_the_backbones_feature_and_its_standardised_form() -> None:
    net, images = backbone(), 3.0 + 2.0 * torch.randn(16, 3, 64, 32)
    parts = BNNeck(net, HeadSettings())(net.eval(), images)
    features = net(images)
    assert_close(parts.before[0], features)
    spread = (features.var(dim=0, unbiased=False) + 1e-5).sqrt()
    assert_close(parts.after[0], (features - features.mean(dim=0)) / spread, rtol=1e-4, atol=1e-4)


def test_generalised_mean_and_extra_norm_take_the_place_of_the_backbones_pooling() -> None:
    net, images = backbone().eval(), torch.randn(8, 3, 64, 32)
    head = BNNeck(net, HeadSettings(pool="gem", extra_bn=True))
    assert isinstance(head.extra_bn, nn.BatchNorm2d)
    maps = net.forward_features(images)
    expected = GeM()(nn.BatchNorm2d(32)(maps))
    assert_close(head(net, images).before[0], expected)
