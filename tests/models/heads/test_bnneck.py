import torch
from torch.testing import assert_close

from upreid.models.heads.bnneck import BNNeck


def head(features: int = 8, people: int = 5) -> BNNeck:
    torch.manual_seed(0)
    return BNNeck(features, people)


def test_the_neck_has_no_shift_to_learn_and_the_classifier_none_at_all() -> None:
    learned = {name for name, parameter in head().named_parameters() if parameter.requires_grad}
    assert learned == {"neck.weight", "classifier.weight"}
    assert torch.equal(head().neck.bias, torch.zeros(8))


def test_a_step_of_training_leaves_the_shift_at_zero() -> None:
    ours = head()
    optimiser = torch.optim.SGD([p for p in ours.parameters() if p.requires_grad], lr=1.0)
    (1e4 * ours(torch.randn(16, 8)).square().sum()).backward()
    optimiser.step()
    assert torch.equal(ours.neck.bias, torch.zeros(8))
    assert ours.neck.bias.grad is None
    assert not torch.equal(ours.neck.weight, torch.ones(8))


def test_logits_are_the_standardised_features_times_the_class_weights() -> None:
    ours, features = head(), 3.0 + 2.0 * torch.randn(64, 8)
    standard = (features - features.mean(dim=0)) / (features.var(dim=0, unbiased=False) + ours.neck.eps).sqrt()
    assert_close(ours(features), standard @ ours.classifier.weight.T)


def test_class_weights_begin_small_so_that_nobody_is_preferred() -> None:
    weights = head(features=256, people=400).classifier.weight
    assert_close(weights.std().item(), 0.001, rtol=0.02, atol=0)
    assert abs(weights.mean().item()) < 2e-5


def test_in_evaluation_the_neck_uses_what_it_saw_in_training() -> None:
    ours = head()
    ours.neck.momentum = 1.0
    seen = 5.0 + 3.0 * torch.randn(4000, 8)
    ours(seen)
    ours.eval()
    after = ours.neck(seen[:1])
    assert_close(after, (seen[:1] - seen.mean(dim=0)) / seen.std(dim=0), rtol=1e-3, atol=1e-3)
