"""`upreid evaluate`: an encoder file and a labelled set in, numbers with their protocol out."""

import json
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from upreid.cli import main
from upreid.config.training import MonitorConfig
from upreid.models.encoder import save_encoder, skeleton
from upreid.models.header import EncoderHeader
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import World
from upreid.training.monitor import make_monitor

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=32,
    width=16,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
CAMERAS = (1, 2, 3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network with weights at random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, skeleton(HEADER))
    return path


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Six people to find and four to train on, seen by three cameras, two pictures each."""
    root, numbers = tmp_path / "market", np.random.default_rng(0)
    for person in range(1, 11):
        look = numbers.integers(0, 256, (4, 2, 3))
        for camera in CAMERAS:
            for shot in range(2):
                part = "query" if (camera, shot) == (1, 0) else "bounding_box_test"
                folder = root / (part if person <= 6 else "bounding_box_train")
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(look + numbers.normal(0, 60, look.shape), 0, 255).astype(np.uint8)
                path = folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png"
                Image.fromarray(pixels).resize((16, 32)).save(path)
    return root


Evaluate = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def evaluate(encoder: Path, market: Path, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Evaluate in this process; return the numbers, and what was said on standard error."""

    def run(*flags: object, name: str = "market1501") -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        data = ["--data.name", name, "--data.root", str(market)]
        compute = ["--device", "cpu", "--threads", "1", "--workers", "0"]
        code = main(["evaluate", str(encoder), *data, *compute, *map(str, flags)])
        said = capsys.readouterr()
        return (json.loads(said.out) if code == 0 else {"code": code}), said.err

    return run


def test_a_sound_set_is_measured_without_remarks(evaluate: Evaluate) -> None:
    result, said = evaluate()
    assert 0 < result["mAP"] <= 100
    assert result["protocol"]["remarks"] == []
    assert f"market1501: mAP {result['mAP']:.2f}, Rank-1 {result['rank1']:.2f}" in said
    assert said.count("features: ") == 2  # queries and gallery


def test_the_folder_of_a_run_is_evaluated_as_its_encoder(
    evaluate: Evaluate, encoder: Path, market: Path, capsys
) -> None:
    of_file, _ = evaluate()
    data = [
        "--data.name",
        "market1501",
        "--data.root",
        str(market),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--workers",
        "0",
    ]
    assert main(["evaluate", str(encoder.parent), *data]) == 0
    assert json.loads(capsys.readouterr().out) == of_file


def test_a_checkpoint_of_another_program_is_refused_for_what_it_is(market: Path, tmp_path: Path, capsys) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pth")
    assert main(["evaluate", str(tmp_path / "model.pth"), "--data.name", "market1501", "--data.root", str(market)]) == 2
    said = capsys.readouterr().err
    assert "model.pth is a checkpoint of torch.save, and no encoder file; give the encoder.safetensors of a run" in said
    assert "Traceback" not in said


def test_a_query_copied_into_the_gallery_under_another_camera_is_said(evaluate: Evaluate, market: Path, capsys) -> None:
    for query in (market / "query").iterdir():
        shutil.copy(query, market / "bounding_box_test" / query.name.replace("_c1s1_", "_c4s1_"))
    result, said = evaluate("--batch", 5, "--out", market / "result.json")
    assert result["rank1"] == 100
    (remark,) = result["protocol"]["remarks"]
    assert remark.startswith("6 of 6 queries have the same features as their nearest true match")
    assert remark in said
    capsys.readouterr()
    assert main(["table", str(market / "result.json")]) == 0
    assert f"{market / 'result.json'}: {remark}." in capsys.readouterr().out


def test_one_picture_under_many_names_is_said(evaluate: Evaluate, market: Path) -> None:
    first, *others = sorted((market / "bounding_box_test").iterdir())
    for other in others:
        shutil.copy(first, other)
    result, said = evaluate()
    assert any("30 of 30 gallery entries share their features" in remark for remark in result["protocol"]["remarks"])
    assert all(remark in said for remark in result["protocol"]["remarks"])


def test_matches_of_the_querys_own_camera_count_where_they_are_kept(evaluate: Evaluate, market: Path) -> None:
    dropped, kept = evaluate()[0], evaluate("--same-camera", "keep")[0]
    assert dropped["protocol"]["same_person_same_camera"] == "left out per query"
    assert kept["protocol"]["same_person_same_camera"] == "kept"
    assert dropped["mAP"] != kept["mAP"]
    for image in [*(market / "bounding_box_test").iterdir()]:
        if "_c1s1_" not in image.name:
            image.unlink()
    refused, said = evaluate()
    assert refused["code"] == 2
    assert "all images come from one camera" in said
    assert "--same-camera keep" in said
    assert "features:" not in said
    assert evaluate("--same-camera", "keep")[0]["mAP"] > 0


def test_multi_query_is_said_in_the_protocol_and_refused_without_its_images(evaluate: Evaluate, market: Path) -> None:
    refused, said = evaluate("--multi-query")
    assert refused["code"] == 2
    assert "no images for multi-query" in said
    shutil.copytree(market / "bounding_box_test", market / "gt_bbox")
    result, _ = evaluate("--multi-query")
    assert result["protocol"]["multi_query"] == {"images": 6, "pooling": "mean", "queries_of_one_image": 0}
    assert result["mAP"] != evaluate()[0]["mAP"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rerank", "--k1", 5), "--k2 6 exceeds --k1 5"),
        (("--rerank", "--k1", 40), "--k1 40: market1501 has 36 images to rank"),
        (("--rerank", "--lambda-value", 3), "--lambda-value got '3'"),
        (("--k1", 10), "--k1 10: has no effect without --rerank"),
        (("--rerank-variant", "fast-reid"), "--rerank-variant fast-reid: has no effect without --rerank"),
        (
            ("--rerank", "--rerank-variant", "luperson", "--metric", "euclidean"),
            "--rerank-variant luperson: it squares",
        ),
        (("--lambda-value", 0.1), "--lambda-value 0.1: has no effect without --rerank"),
    ],
)
def test_settings_that_cannot_be_or_would_be_ignored_are_refused_before_any_image(evaluate, flags, words) -> None:
    refused, said = evaluate(*flags)
    assert refused["code"] == 2
    assert words in said
    assert "features:" not in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--test.rerank", "--test.k1", "5"), "--test.k2 6 exceeds --test.k1 5"),
        (("--test.rerank", "--test.lambda-value", "3"), "--test.lambda-value got '3'"),
        (("--test.multi-query",), "no images for multi-query"),
    ],
)
def test_a_fine_tuning_notices_before_its_first_step(flags, words, market: Path, tmp_path: Path, capsys) -> None:
    data = ["--data.name", "market1501", "--data.root", str(market), "--out", str(tmp_path / "run")]
    size = ["--random.channels", "4", "--train.identities", "2", "--train.images", "2", "--train.device", "cpu"]
    compute = ["--train.threads", "1", "--train.workers", "0"]
    assert main(["finetune", "laptop-bot", "--init", "random", *data, *size, *compute, *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_rules_and_single_and_multiple_queries_never_share_a_column(evaluate, market, tmp_path, capsys) -> None:
    shutil.copytree(market / "bounding_box_test", market / "gt_bbox")
    files = [tmp_path / f"{number}.json" for number in range(3)]
    for file, flags in zip(files, ((), ("--same-camera", "keep"), ("--multi-query",)), strict=True):
        evaluate(*flags, "--out", file)
    capsys.readouterr()
    assert main(["table", *map(str, files)]) == 0
    table = capsys.readouterr().out
    assert "market1501 was measured in 3 ways that cannot be compared" in table
    assert "same_person_same_camera kept" in table
    assert "multi_query images 6 pooling mean" in table


class Page(HTMLParser):
    """Collects the marks and words of a page, what it refers to, and pictures without a description."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.crops: list[tuple[str, str]] = []
        self.marks, self.text = "", ""
        self.inside_mark = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.sources += [found[name] for name in ("src", "href") if name in found]
        self.inside_mark = found.get("class") == "mark"
        if tag == "img" and found["alt"].startswith("rank"):
            self.crops.append((found["alt"], found["src"]))

    def handle_data(self, data: str) -> None:
        self.text += data
        self.marks += data if self.inside_mark else ""
        self.inside_mark = False


@pytest.mark.parametrize("flags", [(), ("--rerank", "--k1", 6, "--k2", 2), ("--same-camera", "keep")])
def test_a_page_shows_the_best_and_the_worst_queries_with_their_answers(
    flags: tuple[object, ...], evaluate: Evaluate, tmp_path: Path
) -> None:
    result, said = evaluate("--page", tmp_path / "ranked.html", *flags)
    assert f"page: {tmp_path / 'ranked.html'}" in said
    page = Page(tmp_path / "ranked.html")
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.crops) == 6 * 10
    right = [alt.endswith("right") for alt, _ in page.crops]
    assert [mark == "✓" for mark in page.marks] == right
    firsts = right[::10]
    assert 100 * sum(firsts) / 6 == pytest.approx(result["rank1"])
    assert f"{result['mAP']:.1f}" in page.text
    precisions = [float(words.split(" %")[0]) for words in page.text.split("average precision ")[1:]]
    assert precisions[:3] == sorted(precisions)[:3]
    assert precisions[3:] == sorted(precisions, reverse=True)[:3]
    assert sum(precisions) / 6 == pytest.approx(result["mAP"], abs=0.06)
    seen = {(alt, "right" in alt) for alt, _ in page.crops if "camera 1," in alt}
    assert any(is_right for _, is_right in seen) == ("keep" in flags)
    evaluate("--page", tmp_path / "ranked.html", *flags)  # a page of ours may be written over


def test_a_page_shows_a_set_of_ones_own(evaluate: Evaluate, market: Path, tmp_path: Path) -> None:
    rows = [
        f"market/{path.parent.name}/{path.name},person {path.name[:4]},{path.name[5:7]},{part}"
        for folder, part in {"query": "query", "bounding_box_test": "gallery"}.items()
        for path in (market / folder).iterdir()
    ]
    rows += [
        f"market/bounding_box_train/{path.name},{path.name[:4]},{path.name[5:7]},train"
        for path in (market / "bounding_box_train").iterdir()
    ]
    (tmp_path / "set.csv").write_text("\n".join(["path,person,camera,split", *rows]))
    evaluate("--page", tmp_path / "ranked.html", "--data.root", tmp_path / "set.csv", name="csv")
    assert len(Page(tmp_path / "ranked.html").crops) == 60


def test_other_files_are_never_written_over(evaluate: Evaluate, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for flag in ("--out", "--page"):
        refused, said = evaluate(flag, notes)
        assert refused["code"] == 2
        assert f"{flag} {notes} exists and holds something else" in said
        refused, said = evaluate(flag, tmp_path)
        assert f"{flag} {tmp_path} is a folder; give the name of a file in it" in said
        refused, said = evaluate(flag, notes / "below" / "x")
        assert f"{flag} {notes / 'below' / 'x'} cannot be written" in said
        assert "market1501 at" not in said
    assert notes.read_text() == "mine"
    evaluate("--out", tmp_path / "new" / "result.json")
    evaluate("--out", tmp_path / "new" / "result.json")


def test_a_page_without_jinja2_is_refused_in_one_line(evaluate: Evaluate, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    refused, said = evaluate("--page", tmp_path / "ranked.html")
    assert refused["code"] == 2
    assert "pages (--page) need jinja2: pip install 'upreid[pages]'" in said
    assert not (tmp_path / "ranked.html").exists()


@pytest.mark.parametrize("form", ["without cameras", "packed"])
def test_a_page_shows_every_form_of_a_set(form: str, encoder: Path, market: Path, tmp_path: Path, capsys) -> None:
    name, root = "market1501", market
    if form == "packed":
        root = tmp_path / "packed"
        assert main(["pack", str(market), str(root), "--name", "market1501", "--workers", "1"]) == 0
    else:
        name = "market-style"
        for path in [*market.glob("*/*.png")]:
            path.rename(path.with_name(f"{path.name[:4]}_{path.name[5:7]}{path.name[10:]}"))  # 0001_c1000000_00.png
        for path in [*market.glob("*/*.png")]:
            path.rename(path.with_name(path.name.replace("_c", "_picture")))
    data = ["--data.name", name, "--data.root", str(root), "--page", str(tmp_path / "ranked.html")]
    capsys.readouterr()
    assert main(["evaluate", str(encoder), *data, "--device", "cpu", "--threads", "1", "--workers", "0"]) == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    rule = {"packed": "left out per query", "without cameras": "kept, since no cameras are known"}
    assert protocol["same_person_same_camera"] == rule[form]
    page = Page(tmp_path / "ranked.html")
    assert len(page.crops) == 60
    assert any("camera unknown" in alt for alt, _ in page.crops) == (form == "without cameras")


def test_a_monitor_says_what_cannot_be_ranked_and_the_training_goes_on(market: Path, capsys) -> None:
    compute = Compute(device=torch.device("cpu"), threads=1, workers=0)
    monitor = make_monitor(MonitorConfig(every_epochs=1.0, name="market1501", root=market), 1, compute, World())
    assert monitor is not None
    collapsed = skeleton(HEADER).eval()
    numbers = monitor.measure(collapsed, 3)
    assert numbers is not None
    assert numbers["mAP"] > 0
    for parameter in collapsed.parameters():
        parameter.data.zero_()
    assert monitor.measure(collapsed, 4) is None
    assert "step 4: not measured: 6 of 6 query features are zero" in capsys.readouterr().err
