import json
import os
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from upreid.errors import DataError, InputError, RunError
from upreid.methods.schedule import cosine, ramp, staircase, warm_up, warmup_cosine
from upreid.runtime.compute import provenance
from upreid.runtime.console import logging_to, say
from upreid.runtime.files import check_target, json_with, write_aside, write_text
from upreid.runtime.folder import claim, wait_until_free
from upreid.runtime.journal import Journal, read_journal
from upreid.runtime.seed import permutation, uniforms
from upreid.training.recorder import Recorder
from upreid.training.states import in_bytes, load_state


def test_a_file_takes_its_place_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file.txt"
    write_text(path, "first")

    def fail_halfway() -> None:
        with write_aside(path) as aside:
            aside.write_text("half of the sec")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_journal_drops_what_a_killed_run_wrote_beyond_its_state(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        for step in range(5):
            journal.write(step=step, loss=step / 2)
    with path.open("a") as file:
        file.write('{"step": 5, "lo')
    with Journal(path, resume_at=3) as journal:
        journal.write(step=3, loss=float("nan"))
    assert [line["step"] for line in read_journal(path)] == [0, 1, 2, 3]
    assert read_journal(path)[-1]["loss"] is None


def test_a_record_reads_losses_late_and_loses_none(tmp_path: Path) -> None:
    with Journal(tmp_path / "m") as journal:
        record = Recorder([journal])
        for step in range(13):
            record.add(step, 0.1, {"contrast": torch.tensor(float(step))})
        assert len(read_journal(tmp_path / "m")) == 10
        record.read()
    assert [line["contrast"] for line in read_journal(tmp_path / "m")] == list(range(13))


def test_a_record_names_the_step_and_the_term_that_broke(tmp_path: Path) -> None:
    with Journal(tmp_path / "m") as journal:
        record = Recorder([journal])
        record.add(0, 0.1, {"contrast": torch.tensor(1.0), "intrinsic": torch.tensor(2.0)})
        record.add(1, 0.1, {"contrast": torch.tensor(1.0), "intrinsic": torch.tensor(float("inf"))})
        with pytest.raises(RunError, match="step 1: intrinsic is inf"):
            record.read()


def test_a_state_comes_back_and_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    state = {"step": 3, "hash": "ab", "world_size": 1, "tensor": torch.arange(4), "nested": [{"a": 1.5}, None]}
    (tmp_path / "state.pt").write_bytes(in_bytes(state))
    loaded = load_state(tmp_path / "state.pt")
    assert loaded["step"] == 3
    assert torch.equal(loaded["tensor"], state["tensor"])
    torch.save({"path": tmp_path}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match=r"evil\.pt cannot be read"):
        load_state(tmp_path / "evil.pt")


def test_one_waits_for_a_folder_no_longer_than_it_is_held(tmp_path: Path) -> None:
    wait_until_free(tmp_path / "nowhere")
    with claim(tmp_path / "run"):
        holder = threading.Thread(target=wait_until_free, args=(tmp_path / "run",))
        holder.start()
        holder.join(timeout=0.5)
        assert holder.is_alive()
        wait_until_free(tmp_path / "run", seconds=0.1)  # gives up
    holder.join(timeout=10)
    assert not holder.is_alive()
    with claim(tmp_path / "run"):
        pass


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    with claim(tmp_path / "run"), pytest.raises(InputError, match="in use"), claim(tmp_path / "run"):
        pass
    (tmp_path / "run" / "file").touch()
    with pytest.raises(InputError, match="not empty"), claim(tmp_path / "run"):
        pass
    with claim(tmp_path / "run", resume=True):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"), claim(tmp_path / "file" / "run"):
        pass


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def write_and_fail(path: Path) -> None:
    write_text(path, "text")
    raise ZeroDivisionError


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, InputError])
@pytest.mark.parametrize("there", ["", "a", "a/b"])
def test_of_a_run_that_has_not_begun_nothing_is_left(tmp_path: Path, error: type[BaseException], there: str) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = tree(tmp_path)

    def refused() -> None:
        with claim(tmp_path / "a" / "b"), logging_to(tmp_path / "a" / "b" / "logs" / "pretrain.log"):
            say("first words")
            raise error("no")

    with pytest.raises(error):
        refused()
    assert tree(tmp_path) == before


def test_what_was_there_before_and_what_a_run_wrote_stay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("0001.png", ".0002.png.7.aside", "logs/mine.log", ".lock"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is not empty"), claim(data):
        pass
    assert tree(tmp_path) == before
    assert (data / ".lock").read_text() == "mine"
    (data / ".lock").unlink()
    with pytest.raises(InputError, match="is not empty"), claim(data):
        pass
    with pytest.raises(ZeroDivisionError), claim(data, resume=True):
        raise ZeroDivisionError
    assert tree(tmp_path) == before - {
        "data/.lock",
        "data/.0002.png.7.aside",
    }  # a resumed folder is one of ours, and is swept
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "run"):
        write_and_fail(tmp_path / "run" / "config.json")
    assert {"run/config.json", "run/.lock"} <= tree(tmp_path)


def test_what_somebody_put_among_the_logs_of_a_refused_run_stays(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(tmp_path / "run"):
        write_and_fail(tmp_path / "run" / "logs" / "notes.txt")
    assert "run/logs/notes.txt" in tree(tmp_path)


def test_a_lock_that_was_removed_with_its_run_holds_nobody_and_lets_only_one_in(tmp_path: Path) -> None:
    """Many processes are refused and remove their lock, while others come for the same folder."""
    out, inside, most = tmp_path / "run", [0], [0]

    def come() -> None:
        for _ in range(50):
            with suppress(InputError, ZeroDivisionError), claim(out):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1
                raise ZeroDivisionError

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1


def test_a_folder_that_cannot_be_made_leaves_none_of_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(InputError, match=r"cannot write to .*Permission denied"), claim(tmp_path / "a" / "b"):
        pass
    assert not tree(tmp_path)


def test_an_error_of_writing_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        write_text(tmp_path / "folder", "text")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "folder"), None)
    assert tree(tmp_path) == {"folder"}


def test_only_a_file_of_ours_is_written_over(tmp_path: Path) -> None:
    is_ours = json_with("protocol")
    path = tmp_path / "out"
    check_target(path, "--out", is_ours)
    path.write_text('{"protocol": {}, "mAP": 1}')
    check_target(path, "--out", is_ours)
    for text in ("my notes", '{"mAP": 1}', '["protocol"]', '"protocol"', "", "[" * 10000):
        path.write_text(text)
        with pytest.raises(InputError, match=r"--out .*out exists and holds something else"):
            check_target(path, "--out", is_ours)
        assert path.read_text() == text
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"is no file"):
        check_target(path, "--out", is_ours)
    with pytest.raises(InputError, match=r"is a folder; give the name of a file in it"):
        check_target(tmp_path, "--out", is_ours)


def test_a_job_that_is_started_again_takes_up_what_it_began_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_enter(job: str, restarts: int) -> bool:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
        try:
            with claim(tmp_path / "run"):
                (tmp_path / "run" / "config.json").touch()
        except InputError:
            return False
        return True

    assert may_enter("job7", 0)
    assert may_enter("job7", 0)  # requeued, or restarted because of another node: not counted
    assert not may_enter("job8", 0)
    assert not may_enter("job8", 1)
    (tmp_path / "run" / "config.json").unlink()
    assert may_enter("none", 0)
    assert not may_enter("none", 0)  # every job without a name is called so
    assert may_enter("none", 1)


def test_what_a_killed_process_left_half_written_goes_away(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    for name in (".state.pt.77.aside", "states/.step.9.aside", ".mine", "state.pt"):
        (tmp_path / name).write_text("half")
    with claim(tmp_path, resume=True):
        pass
    assert {path.name for path in tmp_path.rglob("*")} == {"states", ".mine", "state.pt", ".lock"}


def test_numbers_belong_to_seed_epoch_and_image_whatever_the_batch() -> None:
    images = np.array([5, 2, 900_000])
    drawn = uniforms(1, 2, images, purpose="crop", count=3)
    assert np.array_equal(uniforms(1, 2, images[1:2], purpose="crop", count=3), drawn[1:2])
    for other in ((2, 2, "crop"), (1, 3, "crop"), (1, 2, "flip")):
        assert not np.isin(uniforms(other[0], other[1], images, purpose=other[2], count=3), drawn).any()


def test_numbers_are_uniform_and_do_not_depend_on_each_other() -> None:
    drawn = uniforms(0, 0, np.arange(40_000), purpose="test", count=4)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    expected = drawn.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 45  # 99.9 % of chi-square with 19 degrees of freedom
    correlations = np.corrcoef(np.concatenate([drawn.T, np.roll(drawn, 1, axis=0).T])) - np.eye(8)
    assert np.abs(correlations).max() < 0.02


def test_an_order_is_a_permutation_and_the_same_everywhere() -> None:
    order = permutation(1, 2, 100, purpose="order")
    assert sorted(order) == list(range(100))
    assert np.array_equal(order, permutation(1, 2, 100, purpose="order"))
    assert not np.array_equal(order, permutation(1, 3, 100, purpose="order"))


def test_schedules_at_their_corners() -> None:
    factors = [warmup_cosine(step, total=100, warmup=10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[99] < 0.001
    assert [ramp(step, 4) for step in (0, 2, 4, 9)] == [0, 0.5, 1, 1]
    assert ramp(0, 0) == 1
    assert [staircase(step, milestones=(20, 30)) for step in (0, 19, 20, 30)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [warm_up(step, length=10, start=0.1) for step in (0, 5, 10, 11)] == pytest.approx([0.1, 0.55, 1, 1])
    assert warm_up(0, length=0, start=0.1) == 1
    plateau = [cosine(step, first=30, total=60, last=0.5) for step in (0, 30, 45, 60, 99)]
    assert plateau == pytest.approx([1, 1, 0.75, 0.5, 0.5])
    assert json.dumps(factors)


def test_a_source_tree_says_where_a_result_comes_from_without_being_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "upreid":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    versions = provenance()["versions"]
    assert isinstance(versions, dict)
    assert versions["upreid"] is None
    assert versions["torch"]
