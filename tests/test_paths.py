"""Paths that a user may give by mistake: refused in one line, and everything is as it was."""

from pathlib import Path

import pytest

from upreid.cli import main


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    assert main(["synth", str(root), "--identities", "4", "--height", "32", "--width", "16", "--workers", "1"]) == 0
    return root


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pack {data} {data}/../other", "is not empty"),
        (
            "pretrain laptop --data.root {data} --out {other} --train.batch 8 --train.device cpu",
            "is not empty; resume with --resume {other}",
        ),
        ("pretrain laptop --data.root {data}/none --out {new}", "none"),
        ("pretrain laptop --data.root {data} --out {new} --train.batch 1000 --train.device cpu", "1000"),
        ("pretrain --resume {other}", "{other}"),
        ("pretrain --resume {new}", "{new}"),
        ("study ablation-laptop --out {other}", "{other}"),
    ],
)
def test_a_refused_command_leaves_everything_as_it_was(
    line: str, words: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"data": str(pictures), "other": str(tmp_path / "other"), "new": str(tmp_path / "new" / "run")}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    assert main(line.format(**places).split()) == 2
    assert words.format(**places) in capsys.readouterr().err.strip().splitlines()[-1]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "command", ["split market1501 {root} --identity-share 0.5 --out {out}", "diagnose {root} --out {out}"]
)
def test_a_result_is_not_written_over_what_is_no_result(
    command: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], market: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for out, words in (
        (notes, "exists and holds something else"),
        (tmp_path, "is a folder; give the name of a file in it"),
    ):
        assert main(command.format(root=market, out=out).split()) == 2
        assert f"--out {out} {words}" in capsys.readouterr().err.strip().splitlines()[-1]
    assert notes.read_text() == "mine"
