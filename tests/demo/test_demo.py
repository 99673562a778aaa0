import itertools
import json
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from upreid.config.commands import DemoConfig
from upreid.demo.results import DemoFolder
from upreid.demo.tour import all_jobs

SETTINGS = ["--identities", "34", "--epochs", "2", "--finetune-epochs", "1", "--identity-share", "1", "--seeds", "2"]


def tour(out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "upreid", "demo", "--out", str(out), *SETTINGS, *flags]


class Reader(HTMLParser):
    """Collects what a page refers to, and the images without a description."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.undescribed = 0
        self.frames = {"match": 0, "miss": 0}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.sources += [value for name in ("src", "href", "xlink:href") if (value := found.get(name))]
        self.undescribed += tag == "img" and not found.get("alt")
        for name in self.frames:
            self.frames[name] += name in (found.get("class") or "").split()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", ["pretrain-moco", "finetune-upreid-2"])
def test_an_interrupted_run_is_continued_or_moved_aside_and_never_deleted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def command(out: Path) -> list[str]:
        return next(job for job in all_jobs(DemoConfig(out=out), DemoFolder(out)) if job.name == name).words()

    line = command(Path("demo"))
    flags = dict(itertools.pairwise(line))
    folder = tmp_path / flags["--out"]
    folder.mkdir(parents=True)
    settings = {"data": {"root": flags["--data.root"]}, "init": flags.get("--init")}
    (folder / "config.json").write_text(json.dumps({"program": line[0], "settings": settings}))
    assert command(Path("demo")) == [line[0], "--resume", flags["--out"]]
    assert command(tmp_path / "demo") == [line[0], "--resume", str(folder)]
    (folder / "config.json").write_text(json.dumps({"program": line[0], "settings": {"data": {"root": "other"}}}))
    assert command(Path("demo")) == line
    assert (folder.with_name(f"{folder.name}.aside-1") / "config.json").exists()


@pytest.mark.slow
def test_a_tour_interrupted_goes_on_and_ends_in_a_table_and_a_page_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    process = subprocess.Popen(tour(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (out / "runs" / "upreid" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert words.strip().splitlines()[-1] == "upreid: error: stopped; run the same command again to go on"
    assert not (out / "index.html").exists()

    done = subprocess.run(tour(out), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "reused: synth" in done.stderr
    assert "Warning" not in done.stderr
    assert all(name in done.stdout for name in ("random start", "MoCo v2", "UP-ReID", "±"))
    results = json.loads((out / "results.json").read_text())
    for start in ("random", "moco", "upreid"):
        scores = [json.loads((out / "finetune" / f"{start}-{seed}" / "retrieval.json").read_text()) for seed in (1, 2)]
        assert results["scores"][start]["mAP"] == [score["mAP"] for score in scores]
        assert results["summary"][start]["mAP"]["mean"] == pytest.approx(sum(s["mAP"] for s in scores) / 2)

    reader = Reader()
    reader.feed((out / "index.html").read_text())
    assert "contrast of a third view" not in reader.text  # a loss that no run had has no panel
    assert reader.sources
    assert all(source.startswith(("data:image/", "#")) for source in reader.sources)
    assert reader.undescribed == 0
    assert reader.frames["match"] > 0
    assert sum(reader.frames.values()) == 6 * 8 * 3
    assert reader.text.count("✓") - 1 == reader.frames["match"]
    assert reader.text.count("✗") - 1 == reader.frames["miss"]

    again = subprocess.run(tour(out), capture_output=True, text=True, timeout=300, check=True)
    assert again.stderr.count("reused: ") == 9
    other = subprocess.run(tour(out, "--seed", "2"), capture_output=True, text=True, timeout=300, check=False)
    assert other.returncode == 2
    assert "seed 1 -> 2" in other.stderr
