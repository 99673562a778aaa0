"""SIGKILL at any moment: a whole state is always there, and the run that goes on ends with the same bytes."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from upreid.training.states import States

pytestmark = pytest.mark.slow


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--fault-rounds")


def test_killed_at_random_moments_again_and_again(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any, rounds: int
) -> None:
    chance, kills = random.Random(rounds), 0
    for number in range(2 * rounds):
        out = tmp_path / str(number)
        words = lab.begin(out)
        for part in range(3):  # the journal is written every ten steps, states every five
            child = lab.start(words)
            reach(out, 10 * part, child)
            time.sleep(chance.uniform(0, 0.6))
            if not child.is_over():
                child.kill()
                kills += 1
            child.wait()
            words = lab.resume(out) if (out / "config.json").exists() else lab.begin(out)
        lab.finish(words)
        assert_same(out)
    assert kills >= rounds


def test_killed_within_a_checkpoint_write(lab: Any, tmp_path: Path, assert_same: Any, rounds: int) -> None:
    chance = random.Random(rounds)
    for number in range(2 * rounds):
        out, which = tmp_path / str(number), chance.randrange(1, 5)
        child = lab.start(lab.begin(out), "killed_within_a_write", (which, chance.random()))
        assert child.wait() == -9
        assert len(list(out.glob(".state.pt.*.aside"))) == 1
        state = States(out).load()
        assert (state["step"] if state else 0) == 5 * (which - 1)
        lab.finish(lab.resume(out))
        assert_same(out)


@pytest.mark.parametrize(("rename", "after", "whole"), [(1, 1, 5), (2, 0, 5), (2, 1, 5), (3, 1, 10)])
def test_killed_between_the_renames_of_a_checkpoint(
    lab: Any, tmp_path: Path, assert_same: Any, rename: int, after: int, whole: int
) -> None:
    out = tmp_path / "run"  # the first state is renamed once, every later one after the one before it
    child = lab.start(lab.begin(out), "killed_between_renames", (rename, after))
    assert child.wait() == -9
    assert (out / "state.pt").exists() == ((rename, after) != (2, 1))
    assert States(out).load()["step"] == whole
    lab.finish(lab.resume(out))
    assert_same(out)


def test_killed_before_its_first_save_it_begins_again(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    out = tmp_path / "run"
    child = lab.start(lab.begin(out), "killed_within_a_write", (1, 0.0))
    assert child.wait() == -9
    assert not (out / "state.pt").exists()
    lab.finish(lab.resume(out))
    assert_same(out)


def test_a_folder_is_free_at_once_when_a_run_with_workers_was_killed(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any
) -> None:
    out = tmp_path / "run"
    words = lab.begin(out, "--train.workers", 1)
    child = lab.start(words)
    reach(out, 10, child)
    assert child.workers()
    child.kill()
    child.wait()
    lab.finish(lab.resume(out))
    assert_same(out)
