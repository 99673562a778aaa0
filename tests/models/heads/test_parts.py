import pytest
import torch
from torch.testing import assert_close

from upreid.models.heads.parts import AveragePool, GeM


def test_the_power_goes_from_mean_to_maximum() -> None:
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64) + 0.1
    assert_close(GeM(power=1.0).double()(maps), AveragePool()(maps))
    assert_close(GeM(power=400.0).double()(maps), maps.amax(dim=(2, 3)), rtol=0.02, atol=0)


def test_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    assert_close(GeM(power=3.0)(maps), torch.tensor([[(36.0 / 4) ** (1 / 3)]]), rtol=1e-5, atol=0)


def test_the_power_is_learnt_and_gradients_stay_finite_on_dark_maps() -> None:
    pool, maps = GeM(), torch.zeros(2, 3, 4, 4, requires_grad=True)
    pool(maps).sum().backward()
    assert pool.power.grad is not None
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_maps_do_not_overflow(kind: torch.dtype) -> None:
    maps = torch.full((1, 1, 2, 2), 60.0, dtype=kind)
    assert_close(GeM()(maps), torch.full((1, 1), 60.0), rtol=1e-3, atol=0)
