"""`benchmarks/gpu.py`: it measures everything in little on a CPU, and a part that fails ends alone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

WITHOUT = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def find_others(name, *rest):
    return None if name.partition(".")[0] in {names!r} else find_spec(name, *rest)

PathFinder.find_spec = find_others
"""
NOT_NEEDED = ("scipy", "lmdb", "h5py", "jinja2", "sklearn", "tensorboard", "lightly", "faiss")


def run(folder: Path, *flags: str, without: tuple[str, ...] = ()) -> dict[str, list[dict[str, Any]]]:
    """Rows of each part, measured in little where the packages `without` are not installed."""
    (folder / "sitecustomize.py").write_text(WITHOUT.format(names=without))
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), environment.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    words = [
        sys.executable,
        str(BENCHMARKS / "gpu.py"),
        "--tiny",
        "--budget",
        "3000",
        "--out",
        str(folder / "out"),
        *flags,
    ]
    subprocess.run(words, check=False, env=environment, cwd=folder)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads((folder / "out" / "gpu.json").read_text())["rows"]:
        rows.setdefault(row.pop("part"), []).append(row)
    return rows


@pytest.mark.slow
def test_all_parts_but_re_ranking_measure_something_without_optional_packages(tmp_path: Path) -> None:
    rows = run(tmp_path, without=NOT_NEEDED)
    errors = {part: [row["error"] for row in some if "error" in row] for part, some in rows.items()}
    ranked = errors.pop("evaluation")
    assert errors == {part: [] for part in errors}, (tmp_path / "out" / "gpu.log").read_text()
    assert [error.splitlines()[-1] for error in ranked] == ["ModuleNotFoundError: No module named 'scipy'"]
    assert len(rows) == 13
    assert rows["resumed"][0]["same bytes"] is True
    for part in ("steps-resnet50", "steps-vit-small", "compiled-resnet50", "compiled-vit-small"):
        steps = {row["case"]: row for row in rows[part]}
        assert {"MoCo v2", "both terms"} <= set(steps)
        assert all(steps[name]["% of the bf16 product"] > 0 for name in ("MoCo v2", "both terms"))
    first, wrapped = rows["ranks"][:2]
    assert first["first loss"] == pytest.approx(wrapped["first loss"], rel=1e-3)
    tables = (tmp_path / "out" / "gpu.md").read_text()
    assert tables.count("### ") == 13
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.slow
def test_another_call_adds_parts_to_the_same_folder(tmp_path: Path) -> None:
    assert list(run(tmp_path, "--parts", "evaluation")) == ["evaluation"]
    rows = run(tmp_path, "--parts", "crops", "evaluation")
    assert set(rows) == {"crops", "evaluation"}
    cases = [row["case"] for row in rows["evaluation"]]
    assert len(cases) == len(set(cases))
    assert "re-ranked" in cases


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


@pytest.mark.slow
def test_a_part_that_fails_hangs_or_dies_ends_alone_and_is_written_down(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any, add: Any) -> None:
        add("before", number=1)
        raise ZeroDivisionError

    def hang(_: Any, add: Any) -> None:
        subprocess.Popen(["sleep", "60"])
        add("before", number=1)
        time.sleep(60)

    parts = {"fail": fail, "hang": hang, "die": lambda *_: os._exit(3), "good": lambda _, add: add("after", number=2.0)}
    part = sys.modules["_gpu_parts"].Part
    monkeypatch.setattr(gpu, "PARTS", {name: part(work, 0) for name, work in parts.items()})
    report, bench = gpu.Report(tmp_path), gpu.Bench(work=tmp_path, tiny=True)
    for name in parts:
        gpu.do(name, bench, report, tmp_path / "gpu.log", 3)
    rows = {(row["part"], row["case"]): row for row in report.rows()}
    assert rows[("fail", "before")]["number"] == rows[("hang", "before")]["number"] == 1
    assert "in fail" in rows[("fail", "ZeroDivisionError")]["error"]
    assert rows[("hang", "time")]["error"] == "stopped after 3 seconds"
    assert "exit code 3" in rows[("die", "process")]["error"]
    assert rows[("good", "after")]["number"] == 2
    report.publish({"commit": "1234", "hardware": {"gpu": "none", "torch": "2"}})
    tables = (tmp_path / "gpu.md").read_text()
    assert "| after | 2 |" in tables
    assert "- ZeroDivisionError: ZeroDivisionError" in tables


def test_a_measurement_that_was_cut_off_is_left_out(gpu: Any, tmp_path: Path) -> None:
    report = gpu.Report(tmp_path)
    report.add("machine", "product", rate=1.0)
    with report.path.open("a") as file:
        file.write('{"part": "machine", "ca')
    assert [row["case"] for row in report.rows()] == ["product"]
