"""`upreid watch`: viewers are shown what a run's journal says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upreid.cli import main
from upreid.commands import watch as program
from upreid.errors import DataError
from upreid.runtime.follow import Follower
from upreid.runtime.journal import Journal

LOSSES = [5.0, 4.5, 4.25]


def run_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    with Journal(folder / "metrics.jsonl") as journal:
        for step, loss in enumerate(LOSSES):
            journal.write(step=step, lr=0.1, contrast=loss, diverged=float("nan"))
        journal.write(step=2, mAP=41.5)
        journal.write(step=2, epoch=1, clusters={"clusters": 30, "sizes": None, "agreement": {"purity": 0.5}})
    (folder / "config.json").write_text(json.dumps({"recipe": "laptop"}))
    return folder


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("default")  # of TensorBoard's reader
def test_tensorboard_shows_the_journal_however_often_it_was_written(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "runs" / "a")
    for _ in range(2):
        assert main(["watch", str(run), "--out", str(tmp_path / "watched")]) == 0
    found = scalars(tmp_path / "watched" / "a")
    assert found["contrast"] == list(enumerate(LOSSES))
    assert found["mAP"] == [(2, 41.5)]
    assert (found["clusters/clusters"], found["clusters/agreement/purity"]) == ([(2, 30.0)], [(2, 0.5)])
    assert "diverged" not in found  # null in the journal


def test_a_follower_reads_each_line_once_also_of_a_run_that_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.write(step=0, loss=1.0)
        follower = Follower(path)
        assert [entry["step"] for entry in follower.new_entries()] == [0]
        assert follower.new_entries() == []
        journal.write(step=1, loss=2.0)
        journal.write(step=2, loss=3.0)
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert [entry["step"] for entry in follower.new_entries()] == [1, 2]
    with Journal(path, resume_at=1) as journal:  # steps 1 and 2 were not saved, and come again
        assert follower.new_entries() == []
        journal.write(step=1, loss=2.0)
        journal.write(step=2, loss=3.0)
        assert follower.new_entries() == []
        journal.write(step=3, loss=4.0)
        assert [entry["step"] for entry in follower.new_entries()] == [3]
    with path.open("a") as file:
        file.write("damaged\n")
    with pytest.raises(DataError, match="line 5"):
        follower.new_entries()


@pytest.mark.filterwarnings("default")
def test_following_goes_on_until_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder(tmp_path / "a")
    looks = []

    def sleep(_: float) -> None:
        looks.append(None)
        if len(looks) == 2:
            raise KeyboardInterrupt
        with Journal(run / "metrics.jsonl", resume_at=3) as journal:
            journal.write(step=3, contrast=4.0)

    monkeypatch.setattr(program.time, "sleep", sleep)
    assert main(["watch", str(run), "--follow", "--out", str(tmp_path / "watched")]) == 0
    assert scalars(tmp_path / "watched" / "a")["contrast"] == [*enumerate(LOSSES), (3, 4.0)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_every_command_of_the_page_about_watching_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands_of: Callable[[str], list[list[str]]]
) -> None:
    pytest.importorskip("wandb", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        run_folder(Path("runs") / name)
    lines = commands_of("watch.md")
    assert len(lines) == 2
    for words in lines:
        assert main(words) == 0
    clusters = {"epoch", "clusters/clusters", "clusters/agreement/purity"}
    assert set(scalars(Path("watched/b"))) == {"lr", "contrast", "mAP"} | clusters


@pytest.mark.slow
def test_wandb_has_the_run_in_a_folder_without_a_network(tmp_path: Path, run_upreid: Callable[..., Any]) -> None:
    pytest.importorskip("wandb", exc_type=ImportError)
    run = run_folder(tmp_path / "a")
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}  # where nobody listens
    done = run_upreid("watch", run, "--to", "wandb", "--out", tmp_path / "watched", **nowhere)
    assert done.returncode == 0, done.stderr
    assert "wandb sync" in done.stderr
    (file,) = (tmp_path / "watched" / "a" / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert all(word in content for word in (b"contrast", b"4.25", b"mAP", b"41.5", b"laptop"))


def test_what_cannot_be_watched_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(*words: object) -> str:
        capsys.readouterr()
        assert main(["watch", *map(str, words), "--out", str(tmp_path / "watched")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    run = run_folder(tmp_path / "a")
    assert "the run has not started" in error_of(tmp_path)
    assert "two runs are called a" in error_of(run, run_folder(tmp_path / "other" / "a"))
    monkeypatch.setattr(program, "find_spec", lambda _: None)
    assert "pip install 'upreid[wandb]'" in error_of(run, "--to", "wandb")
    assert not (tmp_path / "watched").exists()
