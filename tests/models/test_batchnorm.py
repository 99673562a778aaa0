import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from upreid.errors import InputError
from upreid.models.batchnorm import GroupedBatchNorm, group_batch_norm, in_channels_last, untracked

GROUPS = 3


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm_with_values(kind=nn.BatchNorm2d):
    norm = kind(4).double()
    with torch.no_grad():
        for number, tensor in enumerate((norm.weight, norm.bias, norm.running_mean)):
            tensor.copy_(noise(4, seed=number))
    return norm


def grouped(norm, groups=GROUPS):
    return group_batch_norm(nn.Sequential(norm), groups).double()[0]


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_groups_equal_separate_forwards_in_values_gradients_and_running_statistics(kind, interleaved):
    norms = [norm_with_values(kind) for _ in range(GROUPS)]
    ours = grouped(norm_with_values(kind))
    if not interleaved:
        in_channels_last(ours)
    images, weights = noise(9, 4, 5, 2), noise(9, 4, 5, 2, seed=7)
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    output = ours(inputs[0])
    apart = torch.empty_like(output)
    for group, norm in enumerate(norms):
        own = slice(group, None, GROUPS) if interleaved else slice(3 * group, 3 * group + 3)
        apart[own] = norm(inputs[1][own])
    torch.testing.assert_close(output, apart)
    gradients = [
        torch.autograd.grad((out * weights).sum(), x)[0] for out, x in zip((output, apart), inputs, strict=True)
    ]
    torch.testing.assert_close(*gradients)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, name) for norm in norms]).mean(0)
        torch.testing.assert_close(getattr(ours, name), mean)
    assert ours.num_batches_tracked == 1


def test_groups_have_their_own_statistics():
    images = noise(6, 4, 5, 2)
    assert not torch.allclose(grouped(norm_with_values(), 1)(images), grouped(norm_with_values(), 2)(images))


def test_evaluation_is_that_of_the_norm_it_replaces():
    norm, images = norm_with_values(), noise(5, 4, 3, 2)
    torch.testing.assert_close(grouped(norm_with_values()).eval()(images), norm.eval()(images))


@pytest.mark.parametrize("in_memory", [nn.Identity(), in_channels_last])
@pytest.mark.parametrize("groups", [1, GROUPS])
def test_untracked_forwards_use_batch_statistics_and_leave_no_trace(groups, in_memory):
    module = in_memory(nn.Sequential(grouped(norm_with_values(), groups)))
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    images = noise(9, 4, 5, 2).requires_grad_()
    with untracked(module):
        output = module(images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())
    tracked = module(images)
    torch.testing.assert_close(output, tracked)
    assert torch.autograd.grad(output.square().sum(), images)[0].abs().sum() > 0
    assert not torch.equal(module[0].running_mean, before["0.running_mean"])


def test_untracked_holds_for_norms_that_are_not_grouped():
    module = nn.Sequential(nn.BatchNorm2d(4).double())
    mean = module[0].running_mean.clone()
    with untracked(module):
        module(noise(4, 4, 3, 3))
    assert torch.equal(module[0].running_mean, mean)
    assert module[0].momentum == 0.1


def test_parameters_and_names_stay():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(BatchNormAct2d(4)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    after = group_batch_norm(module, 2).state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert sum(isinstance(part, GroupedBatchNorm) for part in module.modules()) == 2


def test_a_batch_that_does_not_divide_is_named():
    with pytest.raises(InputError, match="batch of 7 does not divide into 3"):
        grouped(norm_with_values())(noise(7, 4, 2, 2))


def test_groups_in_channels_last_memory_stay_there():
    images = noise(6, 4, 5, 2).contiguous(memory_format=torch.channels_last)
    output = in_channels_last(grouped(norm_with_values()))(images)
    assert output.is_contiguous(memory_format=torch.channels_last)
