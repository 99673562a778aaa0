"""States that changed on the disk after they were written: noticed, named, and passed over."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def swapped(whole: bytes, chance: random.Random) -> bytes:
    """Two bytes in the parts that hold tensors, in each other's place."""
    content, middle = bytearray(whole), len(whole) // 2
    first = chance.randrange(len(whole) // 10, middle)
    second = next(place for place in range(middle, len(whole)) if content[place] != content[first])
    content[first], content[second] = content[second], content[first]
    return bytes(content)


DAMAGES = {
    "swapped bytes": lambda whole: swapped(whole, random.Random(1)),
    "cut short": lambda whole: whole[:-1],
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "zeros": lambda whole: bytes(len(whole)),
    "something else": lambda whole: b"not a state at all",
}


@pytest.fixture
def run(undisturbed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "run"))


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before(lab: Any, run: Path, assert_same: Any, kind: str) -> None:
    whole = (run / "state.pt").read_bytes()
    (run / "state.pt").write_bytes(DAMAGES[kind](whole))
    words = lab.finish(lab.resume(run))
    assert f"{run / 'state.pt'} cannot be read" in words
    assert "going back to the state before, of step 20" in words
    assert_same(run)


def test_where_no_state_is_whole_nothing_is_touched(lab: Any, run: Path) -> None:
    for path in (run / "state.pt", *(run / "states").iterdir()):
        path.write_bytes(DAMAGES["swapped bytes"](path.read_bytes()))
    before = (run / "encoder.safetensors").read_bytes(), (run / "metrics.jsonl").read_bytes()
    words = lab.finish(lab.resume(run), 2)
    line = words.strip().splitlines()[-1]
    assert "is whole (state.pt, step-000000020.pt)" in line
    assert "start anew" in line
    assert before == ((run / "encoder.safetensors").read_bytes(), (run / "metrics.jsonl").read_bytes())


def test_as_many_states_are_kept_as_were_asked_for(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    for keep, older in ((1, []), (4, [10, 15, 20])):
        out = tmp_path / str(keep)
        lab.finish(lab.begin(out, "--train.keep-states", keep))
        states = sorted((out / "states").iterdir()) if older else []
        assert [path.name for path in states] == [f"step-{step:09}.pt" for step in older]
    for path in (out / "state.pt", states[-1], states[-2]):
        path.write_bytes(DAMAGES["cut in half"](path.read_bytes()))
    words = lab.finish(lab.resume(out))
    assert "going back to the state before, of step 10" in words
    assert sorted(path.name for path in (out / "states").iterdir()) == [f"step-{step:09}.pt" for step in (10, 15, 20)]


def test_a_journal_that_was_damaged_is_written_anew_from_there(lab: Any, run: Path, assert_same: Any) -> None:
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join([*lines[:20], b"\xff\xfe{]\n", b'{"step": 1']))
    (run / "state.pt").unlink()
    words = lab.finish(lab.resume(run))
    assert "going back to the state before, of step 20" in words
    assert_same(run)
