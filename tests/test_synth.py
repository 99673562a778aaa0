"""The whole corpus on disk: same bytes from any number of workers, nothing half-written, one line for bad input."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from upreid.cli import main
from upreid.commands import synth
from upreid.commands.synth import synthesise
from upreid.errors import InputError
from upreid.synthetic.corpus_folder import PARTIAL
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings

SMALL = {"version": 1, "identities": 4, "seed": 1, "height": 32, "width": 16}


def synthesise_small(out: Path, *, workers: int | None = None, **changes: Any) -> None:
    synthesise(out, CorpusSettings(**SMALL | changes), workers=workers)


def digest(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    synthesise_small(root, workers=1)
    return root


def test_the_folders_and_counts_are_as_documented(corpus: Path):
    assert sorted(path.name for path in corpus.iterdir()) == ["corpus.json", "market1501", "wild"]
    counts = {path.name: len(list(path.iterdir())) for path in (corpus / "market1501").iterdir()}
    assert counts == {"bounding_box_train": 24, "query": 12, "bounding_box_test": 12}
    assert len(list((corpus / "wild").rglob("*.jpg"))) == 48


def test_the_manifest_says_what_the_corpus_was_made_from(corpus: Path):
    manifest = json.loads((corpus / "corpus.json").read_text())
    assert manifest["folders"] == {"wild": {"images": 48}, "market1501": {"images": 48}}
    assert {"version": manifest["generator"]} | {name: manifest[name] for name in list(SMALL)[1:]} == SMALL


def test_two_workers_write_the_same_bytes_as_one(corpus: Path, tmp_path: Path):
    synthesise_small(tmp_path, workers=2)
    assert digest(tmp_path) == digest(corpus)


def test_version_2_writes_the_same_bytes_from_two_workers_with_its_list_of_tracklets(tmp_path: Path):
    for workers in (1, 2):
        synthesise_small(tmp_path / str(workers), workers=workers, version=2, wild=30)
    one, two = digest(tmp_path / "1"), digest(tmp_path / "2")
    assert one == two
    assert json.loads((tmp_path / "1" / "corpus.json").read_text())["generator"] == 2
    listed = (tmp_path / "1" / "wild" / "tracklets.csv").read_text().splitlines()
    crops = sorted(name.removeprefix("wild/") for name in one if name.startswith("wild/") and name.endswith(".jpg"))
    assert [line.partition(",")[0] for line in listed] == ["file", *crops]
    (tmp_path / "1" / "wild" / "tracklets.csv").unlink()
    with pytest.raises(InputError, match="30 of 31 files are left"):
        synthesise_small(tmp_path / "1", version=2, wild=30)


def test_one_version_is_never_mixed_with_the_other(corpus: Path):
    with pytest.raises(InputError, match="not empty"):
        synthesise_small(corpus, version=2)


def test_the_same_corpus_is_reused_and_not_touched(corpus: Path, capsys: pytest.CaptureFixture[str]):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    synthesise_small(corpus)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    assert "reused" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"seed": 2}, {"identities": 6}, {"camera_strength": 0.5}])
def test_another_corpus_is_never_mixed_with_or_written_over(corpus: Path, change: dict[str, float]):
    before = digest(corpus)
    with pytest.raises(InputError, match="not empty"):
        synthesise_small(corpus, **change)
    assert digest(corpus) == before


def test_files_of_the_user_in_the_way_are_refused(tmp_path: Path):
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="not empty"):
        synthesise_small(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["wild", "mine.jpg"]


def test_a_corpus_with_files_missing_is_named(tmp_path: Path):
    synthesise_small(tmp_path, workers=1)
    next((tmp_path / "wild").rglob("*.jpg")).unlink()
    with pytest.raises(InputError, match="47 of 48"):
        synthesise_small(tmp_path)


def test_a_run_that_fails_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        (tmp_path / PARTIAL / "wild").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synth, "render", fail)
    with pytest.raises(InputError, match="No space left on device"):
        synthesise_small(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_leaves_no_final_folder_and_no_worker_and_the_next_run_is_whole(tmp_path: Path):
    corpus = CorpusSettings(identities=60)
    call = (
        "from pathlib import Path\nfrom upreid.commands.synth import synthesise\n"
        "from upreid.synthetic.settings import CorpusSettings\n"
        f"if __name__ == '__main__':\n    synthesise(Path({str(tmp_path / 'out')!r}), {corpus!r}, workers=2)\n"
    )
    script = tmp_path / "call.py"
    script.write_text(call)
    with subprocess.Popen([sys.executable, script], start_new_session=True, stderr=subprocess.DEVNULL) as run:
        wait_for(lambda: any((tmp_path / "out").rglob("*.jpg")))
        run.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_alive(run.pid))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PARTIAL]
    synthesise_small(tmp_path / "out", workers=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["corpus.json", "market1501", "wild"]


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_killed_while_moving_is_finished_by_the_next(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def move_one(partial: Path, out: Path, folders: list[str]) -> None:
        (partial / folders[0]).replace(out / folders[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synth, "move", move_one)
        with pytest.raises(KeyboardInterrupt):
            synthesise_small(tmp_path, workers=1)
    monkeypatch.setattr(synth, "render", None)  # nothing is rendered twice
    synthesise_small(tmp_path)
    assert digest(tmp_path) == digest(corpus)


@pytest.fixture(scope="module")
def added(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus with every other layout added, one call after the other."""
    root = shutil.copytree(corpus, tmp_path_factory.mktemp("added") / "corpus")
    for layout in LAYOUTS:
        synthesise_small(root, workers=1, layout=layout)
    return root


def test_another_layout_is_added_and_what_is_there_is_not_touched(corpus: Path, added: Path):
    before, after = digest(corpus), digest(added)
    del before["corpus.json"]
    assert before.items() <= after.items()
    assert sorted(path.name for path in added.iterdir()) == sorted(["corpus.json", "wild", *LAYOUTS])
    manifest = json.loads((added / "corpus.json").read_text())
    assert list(manifest["folders"]) == ["wild", *LAYOUTS]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_has_the_same_bytes_whatever_else_was_written(layout: str, added: Path, tmp_path: Path):
    synthesise_small(tmp_path, workers=2, layout=layout)
    assert digest(tmp_path / layout) == digest(added / layout)
    assert digest(tmp_path / "wild") == digest(added / "wild")


@pytest.mark.parametrize("layout", ["market1501", "msmt17-v2", "cuhk03-raw"])
def test_the_same_layout_is_reused(layout: str, added: Path, capsys: pytest.CaptureFixture[str]):
    (added / layout / "of a reader.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in added.rglob("*")}
    synthesise_small(added, layout=layout)
    assert {path: path.stat().st_mtime_ns for path in added.rglob("*")} == before
    assert "reused" in capsys.readouterr().err
    (added / layout / "of a reader.txt").unlink()


def test_another_layout_of_another_corpus_is_not_added(corpus: Path):
    before = digest(corpus)
    with pytest.raises(InputError, match="not empty and was made otherwise"):
        synthesise_small(corpus, seed=2, layout="msmt17-v2")
    assert digest(corpus) == before


def test_another_corpus_is_not_begun_beside_a_layout_whose_wild_is_gone(corpus: Path, tmp_path: Path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    shutil.rmtree(root / "wild")
    with pytest.raises(InputError, match="market1501 is not empty"):
        synthesise_small(root, seed=2, layout="msmt17-v2")


def test_a_list_that_is_gone_is_missed(added: Path, tmp_path: Path):
    root = shutil.copytree(added, tmp_path / "corpus")
    (root / "msmt17-v2" / "MSMT17_V2" / "list_val.txt").unlink()
    with pytest.raises(InputError, match="msmt17-v2: 51 of 52 files are left"):
        synthesise_small(root, layout="msmt17-v2")


def test_an_addition_that_fails_midway_leaves_the_rest_as_it_was(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    layout = dataclasses.replace(LAYOUTS["cuhk03-raw"], finish=fail)
    monkeypatch.setitem(LAYOUTS, "cuhk03-raw", layout)
    with pytest.raises(InputError, match="No space left on device"):
        synthesise_small(root, workers=1, layout="cuhk03-raw")
    assert digest(root) == digest(corpus)
    assert not (root / PARTIAL).exists()


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_addition_killed_while_moving_is_finished_by_a_call_for_any_layout(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    root = shutil.copytree(corpus, tmp_path / "corpus")
    with monkeypatch.context() as patch:
        patch.setattr(synth, "move", stop)
        with pytest.raises(KeyboardInterrupt):
            synthesise_small(root, workers=1, layout="msmt17-v2")
    monkeypatch.setattr(synth, "render", None)  # nothing is rendered twice
    synthesise_small(root)
    assert sorted(path.name for path in root.iterdir()) == ["corpus.json", "market1501", "msmt17-v2", "wild"]
    synthesise_small(root, layout="msmt17-v2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--identities 3", "--identities got '3'; give a whole number from 4 to 9,999"),
        ("--identities -2", "--identities got '-2'"),
        ("--height 31", "--height got '31'; give a whole number from 32 to 2,048"),
        ("--width 8", "--width got '8'"),
        ("--seed -1", "--seed got '-1'"),
        ("--camera-strength -0.1", "--camera-strength got '-0.1'; give a number of at least 0"),
        ("--background-strength nan", "--background-strength got 'nan'"),
        ("--occlusion-strength inf", "--occlusion-strength got 'inf'"),
        ("--workers 0", "--workers got '0'"),
        ("--layout market", "unknown layout 'market'; did you mean 'market1501'"),
    ],
)
def test_impossible_values_are_one_clear_line(tmp_path: Path, words: str, message: str, capsys) -> None:
    assert main(["synth", str(tmp_path / "out"), *words.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("layout", "package", "extra"),
    [("luperson-lmdb", "lmdb", "lmdb"), ("cuhk03-raw", "h5py", "cuhk03"), ("cuhk03-raw-v5", "h5py", "cuhk03")],
)
def test_a_layout_whose_package_is_missing_is_refused_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, package: str, extra: str
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    with pytest.raises(InputError, match=rf"layout {layout} needs the package {package}: .*upreid\[{extra}\]"):
        synthesise_small(tmp_path, layout=layout)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_one_clear_line(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot write the corpus"):
        synthesise_small(tmp_path / "out", workers=1)


def test_importing_the_renderer_does_not_import_torch():
    check = "import sys, upreid.commands.synth; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
