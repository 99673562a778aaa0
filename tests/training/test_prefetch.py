"""Streams of a GPU, pretended: each is a list of what was queued in it, and every entry knows what it comes after."""

from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from upreid.training.prefetch import prefetched

STEPS = 5


class Streams:
    """Two queues; `comes_after[x]` holds everything that is over before `x` begins."""

    def __init__(self) -> None:
        self.comes_after: dict[str, set[str]] = {}
        self.main, self.side = FakeStream(), FakeStream()
        self.current = self.main

    def queue(self, name: str) -> None:
        self.comes_after[name] = set(self.current.done)
        self.current.done |= {name}

    @contextmanager
    def within(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before


class FakeStream:
    def __init__(self) -> None:
        self.done: set[str] = set()

    def record_event(self) -> set[str]:
        return set(self.done)

    def wait_event(self, event: set[str]) -> None:
        self.done |= event

    def wait_stream(self, other: "FakeStream") -> None:
        self.done |= other.done


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    pretended = Streams()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: pretended.main)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: pretended.side)
    monkeypatch.setattr(torch.cuda, "stream", pretended.within)
    return pretended


@pytest.fixture
def kept_for(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, FakeStream]]:
    kept: list[tuple[int, FakeStream]] = []
    monkeypatch.setattr(Tensor, "is_cuda", True)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: kept.append((int(tensor), stream)))
    return kept


def test_on_a_gpu_work_runs_beside_the_step_before_and_never_further_ahead(streams: Streams, kept_for) -> None:
    def work(number: int) -> dict[str, Tensor]:
        streams.queue(f"work {number}")
        return {"values": torch.tensor(number)}

    for step, made in enumerate(map(prefetched(work, torch.device("cuda", 0)), range(STEPS))):
        assert int(made["values"]) == step
        streams.queue(f"step {step}")
    for number in range(STEPS):
        assert f"work {number}" in streams.comes_after[f"step {number}"]
        assert f"step {number - 1}" not in streams.comes_after[f"work {number}"]
        assert number < 2 or f"step {number - 2}" in streams.comes_after[f"work {number}"]
    assert kept_for == [(number, streams.main) for number in range(STEPS)]


def test_on_a_cpu_it_is_the_work_itself() -> None:
    assert prefetched(len, torch.device("cpu")) is len


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_real_gpu_results_are_those_of_one_stream() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    weights = torch.randn(2048, 2048, device=device)

    def work(number: int) -> dict[str, Tensor]:
        return {"values": torch.full((2048, 2048), float(number), device=device).cos_()}

    def sums(make) -> list[float]:
        return [(made["values"] @ weights @ weights).abs().sum() for made in map(make, range(50))]

    assert torch.equal(torch.stack(sums(work)), torch.stack(sums(prefetched(work, device))))
