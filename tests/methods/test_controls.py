"""Controls that could explain a gain of the terms without their idea."""

from pathlib import Path

import pytest
import torch

from upreid.errors import InputError
from upreid.losses.contrast import info_nce
from upreid.losses.intrinsic import CONTROLS, READINGS
from upreid.methods import step_cost

ALONE = ["--consistency.weight", "0", "--intrinsic.weight", "0"]
POSITION = ["--intrinsic.reading", "position"]


@pytest.mark.parametrize(("role", "cost"), [("key", 5.0), ("query", 7.0), ("none", 4.0)])
def test_a_third_view_is_a_second_key_or_a_second_query_and_costs_its_forwards(
    role: str, cost: float, made, config
) -> None:
    flags = [*ALONE, "--contrast.third-view", role, "--train.batch", "16", "--train.accumulate", "2"]
    flags += ["--model.bn-groups", "2"]
    method, images = made(*flags), torch.Generator().manual_seed(0)
    assert step_cost(config(*flags)) == cost
    views = {name: torch.randn(16, 3, 64, 32, generator=images) for name in method.views()}
    assert ("third" in views) == (role != "none")
    targets, part = method.targets(views, 0), slice(8, 16)
    outputs = method.student(*method.inputs(views, part))
    losses = method.losses(outputs, views, targets, part)
    assert losses.keys() == ({"contrast"} if role == "none" else {"contrast", "third_view"})
    query, past = outputs[0][:8], method.keys.keys
    torch.testing.assert_close(losses["contrast"], info_nce(query, targets.keys[8:], past, temperature=0.2))
    if role == "key":
        assert len(outputs[0]) == 8
        assert not torch.equal(targets.third, targets.keys)
        torch.testing.assert_close(losses["third_view"], info_nce(query, targets.third[8:], past, temperature=0.2))
    elif role == "query":
        again = made(*flags).student(views["third"][part], None)[0]
        torch.testing.assert_close(outputs[0][8:], again)  # in a forward of its own
        torch.testing.assert_close(losses["third_view"], info_nce(again, targets.keys[8:], past, temperature=0.2))


def test_the_classifier_of_positions_equals_its_slow_twin_and_looks_at_one_patch_only() -> None:
    numbers = torch.Generator().manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(3, 4, 6, generator=numbers).double(), dim=2).requires_grad_()
    how = {"temperature": 0.2, "hardest": None, "columns": 2}
    loss = CONTROLS["position"].loss(query, query.detach(), torch.arange(3), **how)
    slow = sum(-torch.log_softmax(query[i, m, :4] / 0.2, 0)[m] for i in range(3) for m in range(4)) / 12
    torch.testing.assert_close(loss, slow)
    torch.testing.assert_close(torch.autograd.grad(loss, query), torch.autograd.grad(slow, query))
    others = torch.autograd.functional.hessian(
        lambda some: CONTROLS["position"].loss(some, some.detach(), torch.arange(3), **how), query
    )
    assert not others[0, 0, :, 0, 1].any()
    weighed = CONTROLS["position"].loss(
        query, query, torch.arange(3), **how, weights=torch.tensor([0.0, 3.0, 0.0]).double()
    )
    torch.testing.assert_close(weighed, CONTROLS["position"].loss(query[1:2], query, torch.arange(1), **how))


def test_the_classifier_makes_no_key_patches(made, noise, config) -> None:
    method = made(*POSITION, "--consistency.weight", "0", "--intrinsic.share", "0.5")
    assert method.views().keys() == {"query", "key", "query_patches"}
    views = noise(method, 64)
    targets, whole = method.targets(views, 0), slice(0, 64)
    losses = method.losses(method.student(*method.inputs(views, whole)), views, targets, whole)
    gradient = torch.autograd.grad(losses["intrinsic"], method.student.backbone.conv1.weight)[0]
    assert gradient.abs().sum() > 0
    assert step_cost(config(*POSITION)) == 8.0
    assert not READINGS.keys() & CONTROLS.keys()


@pytest.mark.parametrize("flags", [["--intrinsic.hardest", "2"], ["--model.embed-dim", "4"]])
def test_the_classifier_refuses_what_it_has_no_use_for(flags: list[str], made) -> None:
    with pytest.raises(InputError, match=r"--intrinsic\.reading position tells 8 positions apart"):
        made(*POSITION, *flags)


@pytest.mark.parametrize(
    "flags", [[*POSITION, "--train.accumulate", "2", "--model.bn-groups", "1"], ["--contrast.third-view", "query"]]
)
def test_such_a_run_comes_to_its_end(pictures: Path, tmp_path: Path, flags: list[str], train) -> None:
    assert train(pictures, tmp_path / "run", *flags, "--train.steps", "3") == 0
