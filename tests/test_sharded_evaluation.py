"""Evaluation shared over ranks: the same numbers, bit for bit, as one process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from upreid.data.benchmarks import open_benchmark
from upreid.models.encoder import load_encoder
from upreid.retrieval.features import features
from upreid.runtime.compute import settle
from upreid.runtime.distributed import World

TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "16", "--model.bn-groups", "1"]
SMALL += ["--train.batch", "8", "--augment.height", "32", "--augment.width", "16"]
SMALL += ["--intrinsic.rows", "2", "--intrinsic.columns", "1"]


def upreid(words: list[object], *, ranks: int = 1) -> str:
    launcher = TORCHRUN if ranks > 1 else []
    command = [sys.executable, "-m", *launcher, "upreid", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven people; 7 queries and 27 gallery images, which no batch divides."""
    root, numbers = tmp_path_factory.mktemp("market"), np.random.default_rng(0)
    names = [("query", person, 1, 0) for person in range(1, 8)]
    names += [("bounding_box_test", person, camera, 0) for person in range(1, 8) for camera in (1, 2, 3, 4)][1:]
    names += [("bounding_box_train", person, camera, 0) for person in range(11, 19) for camera in (1, 2)]
    for folder, person, camera, shot in names:
        (root / folder).mkdir(exist_ok=True)
        pixels = numbers.integers(0, 256, (4, 2, 3), dtype=np.uint8)
        path = root / folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png"
        Image.fromarray(pixels).resize((16, 32)).save(path)
    return root


@pytest.fixture(scope="module")
def run(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks that watched themselves on the labelled set."""
    out = tmp_path_factory.mktemp("runs") / "run"
    where = ["--data.root", market / "bounding_box_train", "--out", out, "--train.steps", 4]
    watch = ["--monitor.every-epochs", 1, "--monitor.root", market]
    upreid(["pretrain", "laptop", *where, *SMALL, *ALONE, *watch], ranks=2)
    return out


def evaluate(run: Path, market: Path, out: Path, *flags: object, ranks: int = 1) -> tuple[dict[str, Any], str]:
    data = ["--data.name", "market1501", "--data.root", market]
    where = ["--device", "cpu", "--threads", 1, "--workers", 0, "--out", out]
    words = upreid(["evaluate", run / "encoder.safetensors", *data, *where, *flags], ranks=ranks)
    return json.loads(out.read_text()), words


@pytest.mark.slow
@pytest.mark.ranks
@pytest.mark.parametrize("flags", [("--batch", 5, "--flip"), ("--batch", 128, "--rerank", "--k1", 4, "--k2", 2)])
def test_two_ranks_measure_what_one_process_does(run: Path, market: Path, tmp_path: Path, flags: tuple[Any]) -> None:
    one, _ = evaluate(run, market, tmp_path / "one.json", *flags)
    two, words = evaluate(run, market, tmp_path / "two.json", *flags, ranks=2)
    assert one == two
    assert words.count("market1501: mAP") == 1


@pytest.mark.slow
@pytest.mark.ranks
def test_the_monitor_of_two_ranks_measures_the_encoder_that_is_exported(
    run: Path, market: Path, tmp_path: Path
) -> None:
    theirs, _ = evaluate(run, market, tmp_path / "one.json")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    watched = [line for line in lines if "mAP" in line]
    assert [line["step"] for line in watched] == [1, 3]
    assert {name: watched[-1][name] for name in ("mAP", "rank1", "mINP")} == {
        name: theirs[name] for name in ("mAP", "rank1", "mINP")
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_shares_of_all_ranks_are_the_whole_in_order(
    run: Path, market: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = open_benchmark("market1501", market, quiet=True)
    encoder, compute = load_encoder(run / "encoder.safetensors"), settle("cpu", 1, 0, workers_wanted=0)
    how = encoder, labelled.gallery, encoder.preprocess, compute
    whole = features(*how, batch=5, quiet=True)
    monkeypatch.setattr("upreid.retrieval.features.gather_rows", lambda rows, _: rows)
    parts = [features(*how, World(rank, size), batch=5, quiet=True) for rank in range(size)]
    assert torch.equal(torch.cat([part for part in parts if len(part)]), whole)
    assert sum(map(len, parts)) == 27
