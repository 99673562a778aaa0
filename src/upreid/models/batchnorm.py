"""BatchNorm over groups of a batch, and forwards that leave no trace in its running statistics.

Groups stand in for the processes of shuffle-BN (MoCo, arXiv 1911.05722, section 3.3) where there is only one: a key must
not share batch statistics with its query, or the network finds it by them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.errors import InputError

Part = TypeVar("Part", bound=nn.Module)


class GroupedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d over groups of the batch, each with statistics of its own, without copying the images.

    In channels-first memory samples i, i + groups, i + 2 groups, ... are a group (`interleaved`), which is a view. In
    channels-last memory a group is a contiguous part of the batch.

    The running statistics follow the averages over the groups of their means and unbiased variances, once per forward; with
    `tracking` off, a forward in training leaves them alone. In evaluation it is a plain BatchNorm2d.
    """

    groups: int = 1
    tracking: bool = True
    interleaved: bool = True

    def forward(self, images: Float[Tensor, "batch channels *size"]) -> Tensor:
        """Normalise each group by its own statistics; raise InputError where the batch does not divide into the groups."""
        if not self.training or (self.groups == 1 and self.tracking):
            return super().forward(images)
        if self.groups == 1:
            return F.batch_norm(images, None, None, self.weight, self.bias, training=True, eps=self.eps)
        if len(images) % self.groups:
            raise InputError(f"a batch of {len(images)} does not divide into {self.groups} BatchNorm groups")
        mean = variance = None
        if self.tracking:
            self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
            mean, variance = self.running_mean.repeat(self.groups), self.running_var.repeat(self.groups)  # pyright: ignore
        output = (self.as_channels if self.interleaved else self.in_turn)(images, mean, variance)
        for running, updated in ((self.running_mean, mean), (self.running_var, variance)):
            if updated is not None:
                running.copy_(updated.view(self.groups, -1).mean(0))  # pyright: ignore
        return output

    def as_channels(self, images: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        """Normalise interleaved groups at once, as if each were further channels."""
        batch, channels, *size = images.shape
        output = F.batch_norm(
            images.reshape(batch // self.groups, self.groups * channels, *size),
            mean,
            variance,
            self.weight.repeat(self.groups),
            self.bias.repeat(self.groups),
            training=True,
            momentum=self.momentum or 0.0,
            eps=self.eps,
        )
        # no view for autograd: through one, the ReLU in place that follows would copy every gradient twice
        return torch.ops.aten._unsafe_view(output, images.shape)

    def in_turn(self, images: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        """Normalise groups that are contiguous, one after the other."""
        means, variances = (
            [None] * self.groups if all_ is None else all_.chunk(self.groups) for all_ in (mean, variance)
        )
        each, momentum = zip(images.chunk(self.groups), means, variances, strict=True), self.momentum or 0.0
        parts = [
            F.batch_norm(part, own_mean, own_variance, self.weight, self.bias, True, momentum, self.eps)
            for part, own_mean, own_variance in each
        ]
        return torch.cat(parts)


class GroupedBatchNormAct(GroupedBatchNorm):
    """GroupedBatchNorm with an activation after it, as timm's BatchNormAct2d has."""

    drop: nn.Module
    act: nn.Module

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Normalise the images, then apply drop-out and activation."""
        return self.act(self.drop(super().forward(images)))


class GroupedBatchNorm1d(GroupedBatchNorm):
    """GroupedBatchNorm of feature vectors [batch, channels], as BatchNorm1d is."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        if input.dim() != 2:
            raise ValueError(f"expected features [batch, channels], got {tuple(input.shape)}")


def group_batch_norm(module: Part, groups: int) -> Part:
    """Replace every BatchNorm of `module`, in place, by one over `groups`; parameters and names stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d):
            setattr(module, name, grouped(child, groups))
        else:
            group_batch_norm(child, groups)
    return module


def grouped(norm: nn.BatchNorm2d | nn.BatchNorm1d, groups: int) -> GroupedBatchNorm:
    """Return a grouped copy of a BatchNorm, with its tensors and its activation."""
    kind = GroupedBatchNormAct if hasattr(norm, "act") else GroupedBatchNorm
    kind = GroupedBatchNorm1d if isinstance(norm, nn.BatchNorm1d) else kind
    new = kind(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    if isinstance(new, GroupedBatchNormAct):
        new.drop, new.act = norm.drop, norm.act  # pyright: ignore[reportAttributeAccessIssue]
    new.to(norm.weight).load_state_dict(norm.state_dict())
    for own, theirs in zip(new.parameters(), norm.parameters(), strict=True):
        own.requires_grad_(theirs.requires_grad)
    new.groups, new.tracking = (
        groups,
        True,
    )  # its own from the start: `untracked` would else make torch.compile begin anew
    return new.train(norm.training)


def with_own_norms(module: Part) -> Part:
    """Return a twin of a module that learns the same parameters, apart from those of BatchNorm, which it has for itself.

    Images of another domain go through the twin (domain-specific BatchNorm, https://arxiv.org/abs/1906.03950): they are
    normalised by their own statistics, running statistics and affine parameters, which begin as copies of the module's.
    """
    own = {id(parameter) for parameter in affine_parameters(module)}
    return deepcopy(module, {id(parameter): parameter for parameter in module.parameters() if id(parameter) not in own})


def affine_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the affine parameters of every BatchNorm in `module`, in the order of its parts."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    return [parameter for norm in norms for parameter in norm.parameters()]


def in_channels_last(module: Part) -> Part:
    """Bring a module to channels-last memory, in place; its BatchNorm groups become contiguous parts of the batch."""
    for part in module.modules():
        if isinstance(part, GroupedBatchNorm):
            part.interleaved = False
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing in torch's stub


def sync_batch_norm(module: Part) -> Part:
    """Replace every BatchNorm by torch's SyncBatchNorm, which shares statistics over all processes (GPUs only)."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(module)  # pyright: ignore[reportReturnType] - in place, but a lone norm


@contextmanager
def regrouped(module: nn.Module, groups: int | None) -> Iterator[None]:
    """Normalise by so many groups for a while, for a forward of another number of images; None changes nothing."""
    norms = [norm for norm in module.modules() if isinstance(norm, GroupedBatchNorm)] if groups is not None else []
    before = [norm.groups for norm in norms]
    for norm in norms:
        norm.groups = groups or 1
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.groups = own


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of every BatchNorm in `module` alone, in training forwards too."""
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if isinstance(norm, GroupedBatchNorm):
            norm.tracking = False
        else:
            norm.momentum = 0.0  # the new value weighs nothing
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            if isinstance(norm, GroupedBatchNorm):
                norm.tracking = True
            else:
                norm.momentum = momentum
