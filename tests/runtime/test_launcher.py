"""Variables that torchrun sets, and that a cluster or a shell may have set for something else."""

import pytest
import torch

from upreid.cli import main
from upreid.errors import InputError
from upreid.runtime.compute import Compute, settle
from upreid.runtime.distributed import join
from upreid.runtime.launcher import NUMBERS, num_ranks, rank

GROUP = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*NUMBERS, *GROUP}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but no RANK and no MASTER_ADDR and no MASTER_PORT"),
        ({**GROUP, "MASTER_ADDR": ""}, "no MASTER_ADDR; start .* with torchrun, or unset WORLD_SIZE"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two, which is no number of processes"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0, which is no number of processes"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE=-1"),
        ({**GROUP, "RANK": "2"}, "RANK=2 in a group of WORLD_SIZE=2"),
        ({**GROUP, "RANK": "first"}, "RANK=first, which is no number"),
        ({**GROUP, "MASTER_PORT": "http"}, "MASTER_PORT=http"),
        ({**GROUP, "LOCAL_RANK": "x"}, "LOCAL_RANK=x"),
    ],
)
def test_a_group_that_cannot_be_joined_is_refused(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words), join(torch.device("cpu")):
        pass


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "3"},
        {"LOCAL_RANK": "5", "RANK": "x"},
        {"LOCAL_WORLD_SIZE": "8"},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": ""},
    ],
)
def test_without_a_group_what_else_is_set_does_not_matter(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = settle("cpu", None, None, workers_wanted=1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with join(torch.device("cpu")) as world:
        assert (world.rank, world.size, rank(), num_ranks()) == (0, 1, 0, 1)
    assert settle("cpu", None, None, workers_wanted=1) == usual
    assert main(["no-such-command"]) == 2  # it used to say nothing where RANK was not 0
    assert "no-such-command" in capsys.readouterr().err


@pytest.mark.parametrize(("threads", "workers"), [(1, 7), (9, 0), (9, 9)])
def test_more_threads_and_workers_than_cores_are_warned_of_in_the_words_of_the_command(
    threads: int, workers: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("upreid.runtime.processes.usable_cores", lambda: 2)
    for prefix in ("--", "--train."):
        compute = settle("cpu", threads, workers, workers_wanted=1, prefix=prefix)
        assert (compute.threads, compute.workers) == (threads, workers)
        compute.announce()
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == f"device cpu: {threads} threads + {workers} workers on 2 cores"
        assert lines[1].startswith("warning: more threads and workers than cores")
        assert lines[1].endswith(f"lower {prefix}threads or {prefix}workers")


@pytest.mark.parametrize(("threads", "workers"), [(None, None), (1, None), (None, 1), (None, 0), (2, None), (1, 1)])
def test_what_is_left_open_fits_the_cores(
    threads: int | None, workers: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("upreid.runtime.processes.usable_cores", lambda: 2)
    compute = settle("cpu", threads, workers, workers_wanted=4)
    assert compute.threads + compute.workers <= 2
    compute.announce()
    assert "warning" not in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused_in_the_words_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"^--device cuda, but torch sees no GPU; say --device cpu$"):
        settle("cuda", None, None, workers_wanted=1, prefix="--")


def test_the_flag_for_workers_is_that_of_the_command() -> None:
    how = {"device": torch.device("cpu"), "threads": 1, "workers": 0}
    assert Compute(**how).workers_flag == "--train.workers"
    assert Compute(**how, prefix="--").workers_flag == "--workers"
