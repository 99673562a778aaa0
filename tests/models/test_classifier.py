from typing import Literal

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.models.backbone import create_backbone
from upreid.models.classifier import CosineClassifier, IdentityClassifier, LinearClassifier
from upreid.models.encoder import Encoder
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings, create_head


def network(classifier: str, compared: Literal["before", "after"]) -> IdentityClassifier:
    torch.manual_seed(0)
    settings = HeadSettings(name="mgn", embed_dim=6)
    net = create_backbone("resnet18", height=96, width=32, channels=4, last_stride=1)
    size = {"height": 96, "width": 32, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    header = EncoderHeader(backbone="resnet18", channels=4, last_stride=1, head=settings, **size)
    return IdentityClassifier(
        Encoder(net, header, create_head(net, settings)), 5, classifier=classifier, compared=compared
    )


@pytest.mark.parametrize("compared", ["before", "after"])
def test_every_part_is_classified_after_its_neck_and_compared_where_it_is_asked_for(
    compared: Literal["before", "after"],
) -> None:
    net, images = network("linear", compared).eval(), torch.randn(3, 3, 96, 32)
    scores, features = net(images, None)
    parts = net.encoder.parts(images)
    for score, classifier, after in zip(scores, net.classifiers, parts.after, strict=True):
        assert_close(score, after @ classifier.weight.T)
    assert_close(features, list(getattr(parts, compared)))


def test_the_body_is_backbone_and_copies_and_neither_necks_nor_classifiers() -> None:
    net = network("linear", "before")
    body = {id(parameter) for module in net.body() for parameter in module.parameters()}
    outside = {name for name, parameter in net.named_parameters() if id(parameter) not in body}
    assert {name.split(".")[2] if name.startswith("encoder") else name.split(".")[0] for name in outside} == {
        "embeds",
        "necks",
        "classifiers",
    }


def test_class_weights_begin_small_so_that_nobody_is_preferred() -> None:
    torch.manual_seed(0)
    weights = LinearClassifier(256, 400).weight
    assert_close(weights.std().item(), 0.001, rtol=0.02, atol=0)
    assert abs(weights.mean().item()) < 2e-5


def test_a_cosine_classifier_ignores_lengths_and_works_in_single_precision() -> None:
    torch.manual_seed(0)
    ours, features = CosineClassifier(8, 5), torch.randn(4, 8)
    assert_close(ours(features), F.normalize(features) @ F.normalize(ours.weight).T)
    assert_close(ours(7 * features), ours(features))
    assert ours(features.bfloat16()).dtype == torch.float32
