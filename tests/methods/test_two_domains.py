"""Cluster-Contrast beside a labelled source: one memory, two BatchNorms, everything else shared."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.commands.starting_point import starting_point
from upreid.config.command_line import parse_training
from upreid.methods.cluster_contrast import ClusterContrast, build
from upreid.methods.cluster_memory import ClusterMemory
from upreid.models.batchnorm import affine_parameters
from upreid.models.encoder import load_encoder, save_encoder
from upreid.runtime.distributed import ALONE
from upreid.training.precision import Precision
from upreid.training.step import make_optimiser, train_step
from upreid.types import Views

WHERE = ["--init", "random", "--data.root", "target", "--source.root", "source", "--out", "run"]
SMALL = ["--random.channels", "4", "--random.height", "32", "--random.width", "16"]
PLAIN = ["--memory.kind", "clusters", "--cluster.reliability-gap", "0"]
BATCH = ["--train.identities", "2", "--train.images", "3", "--train.bn-groups", "2"]
PEOPLE, CLUSTERS = torch.tensor([2, 2, 2, 0, 0, 0]), torch.tensor([3, 3, 3, 5, 5, 5])  # three people, three clusters


def small_method(*flags: str) -> ClusterContrast:
    config = parse_training("adapt", ["laptop-uda", *WHERE, *SMALL, *PLAIN, *BATCH, *flags])
    method = build(config, starting_point(config)[0], trained_on="", world=ALONE).double()
    dim = vectors(method).shape[1]
    method.begin_epoch(noise(12, dim), torch.arange(12) % 7 - 1, torch.full((12,), -1))
    return method


def vectors(method: ClusterContrast) -> Tensor:
    return memory_of(method).vectors


def memory_of(method: ClusterContrast) -> ClusterMemory:
    assert isinstance(method.memory, ClusterMemory)
    return method.memory


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(*, source_seed: int = 2, **others: Tensor) -> Views:
    return {
        "images": noise(6, 3, 32, 16, seed=1),
        "source_images": noise(6, 3, 32, 16, seed=source_seed),
        "people": PEOPLE,
        **others,
    }


def step(method: ClusterContrast, views: Views) -> dict[str, Tensor]:
    optimiser = make_optimiser("adam", method.learning(), lr=1e-3, weight_decay=5e-4)
    return train_step(method, method.student, views, 0, optimiser, precision=Precision(device=torch.device("cpu")))


def buffers(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_the_two_losses_and_their_gradients_equal_the_loops_over_the_whole_memory() -> None:
    method = small_method()
    dim, temperature = vectors(method).shape[1], memory_of(method).temperature
    assert vectors(method).shape[0] == 6
    fast, slow = (F.normalize(noise(12, dim, seed=3)).requires_grad_() for _ in range(2))
    views = batch(clusters=CLUSTERS)
    losses = method.losses(fast, views, method.targets(views, 0), slice(0, 6))
    loops = {"cluster": torch.zeros((), dtype=torch.float64), "source": torch.zeros((), dtype=torch.float64)}
    for row, feature in enumerate(slow):
        name, own = ("cluster", CLUSTERS[row]) if row < 6 else ("source", PEOPLE[row - 6])
        similarity = torch.stack([feature @ one / temperature for one in vectors(method)])
        loops[name] = loops[name] - similarity.log_softmax(0)[own] / 6
    assert losses.keys() == loops.keys()
    assert_close(losses, loops)
    assert method.weights(0) == {}  # so their sum is what is trained, as in SpCL
    for found in (losses, loops):
        (found["cluster"] + found["source"]).backward()
    assert_close(fast.grad, slow.grad)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_memory_follows_clusters_and_people_alike(accumulate: int) -> None:
    method, views = small_method(), batch(clusters=CLUSTERS)
    features, before = F.normalize(noise(12, vectors(method).shape[1])), vectors(method)
    targets, momentum = method.targets(views, 0), memory_of(method).momentum
    size = 6 // accumulate
    for first in range(0, 6, size):
        part = slice(first, first + size)
        method.losses(torch.cat([features[:6][part], features[6:][part]]), views, targets, part)
    method.after_update(targets)
    expected = before.clone()
    for feature, own in zip(features, torch.cat([CLUSTERS, PEOPLE]), strict=True):
        expected[own] = F.normalize(momentum * expected[own] + (1 - momentum) * feature, dim=0)
    assert_close(vectors(method), expected)
    assert torch.equal(vectors(method)[[1, 4]], before[[1, 4]])  # of whom the batch has no image


def test_each_domain_has_its_own_batchnorm_and_all_else_is_shared() -> None:
    method = small_method()
    target, source = method.encoder(), method.source_encoder()
    assert source is not None
    ours, theirs = (dict(module.named_parameters()) for module in (target, source))
    affine = {id(parameter) for parameter in affine_parameters(target)}
    assert 0 < len(affine) < len(ours)
    for name, parameter in ours.items():
        assert (theirs[name] is parameter) == (id(parameter) not in affine), name
    twice = [*target.parameters(), *affine_parameters(source)]
    assert len(method.learning()) == sum(parameter.requires_grad for parameter in twice)
    start = buffers(target), buffers(source)
    step(method, batch(clusters=CLUSTERS))
    other = small_method()
    step(other, batch(clusters=CLUSTERS, source_seed=9))
    same, different = other.encoder(), other.source_encoder()
    assert different is not None
    assert_close(buffers(same), buffers(target))  # whatever the images of the source are
    for before, now, name in zip(start, (target, source), ("target", "source"), strict=True):
        assert not torch.equal(before["head.neck.running_mean"], buffers(now)["head.neck.running_mean"]), name
    assert not torch.equal(buffers(source)["head.neck.running_mean"], buffers(different)["head.neck.running_mean"])
    moved = [not torch.equal(a, b) for a, b in zip(affine_parameters(target), affine_parameters(source), strict=True)]
    assert any(moved)


def test_what_is_exported_is_the_encoder_with_the_batchnorm_of_the_target(tmp_path: Path) -> None:
    method = small_method()
    step(method, batch(clusters=CLUSTERS))
    save_encoder(tmp_path / "encoder.safetensors", method.encoder())
    saved = load_encoder(tmp_path / "encoder.safetensors").double()
    images = noise(4, 3, 32, 16)
    source = method.source_encoder()
    assert source is not None
    with torch.no_grad():
        ours, theirs, other = (one.eval()(images) for one in (saved, method.encoder(), source))
    assert_close(ours, theirs, atol=1e-5, rtol=1e-4)  # a file is in single precision
    assert not torch.allclose(ours, other, atol=1e-2)


def test_without_clusters_the_source_alone_teaches_and_the_target_is_normalised_by_its_own_statistics() -> None:
    method = small_method()
    target, source = method.encoder(), method.source_encoder()
    assert source is not None
    start, weights = buffers(target), [parameter.clone() for parameter in target.parameters()]
    memory = vectors(method)
    assert step(method, batch()).keys() == {"source"}
    assert_close(affine_parameters(target), affine_parameters(source))
    assert any(not torch.equal(a, b) for a, b in zip(weights, target.parameters(), strict=True))
    now, known = buffers(target), buffers(source)
    assert not torch.equal(start["head.neck.running_mean"], now["head.neck.running_mean"])
    assert not torch.equal(known["head.neck.running_mean"], now["head.neck.running_mean"])
    assert torch.equal(memory[3:], vectors(method)[3:])
