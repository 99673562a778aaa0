"""What a report says of the clusterings of an adaptation: charts from the journal, and pictures of some clusters."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upreid.report.clusters import chosen, cluster_charts
from upreid.report.runs import ReportedRun
from upreid.synthetic.settings import CorpusSettings

from .conftest import open_page, report, trained
from .test_page import parsed, words


def run_of(*lines: dict[str, Any]) -> ReportedRun:
    return ReportedRun(Path("u"), "u", {"program": "adapt", "settings": {}}, list(lines))


def clustering(epoch: int, **numbers: Any) -> dict[str, Any]:
    known = {
        "clusters": 10 + epoch,
        "outlier_share": 0.25,
        "largest_share": 0.5,
        "silhouette": -0.1,
        "sizes": {"50": 4.0},
    }
    return {"step": 5 * epoch, "epoch": epoch, "clusters": known | numbers, "seconds": 1.0}


def test_every_number_of_a_clustering_has_a_chart_over_the_epochs() -> None:
    agreement = {"adjusted_rand": 0.5, "purity": 0.75}
    first = clustering(0, agreement=agreement, reliable={"clusters": 8})
    run = run_of(first, {"step": 0, "lr": 0.1, "cluster": 2.0}, clustering(1, sizes=None))
    found = {chart.title: [list(line.points) for line in chart.lines] for chart in cluster_charts([run])}
    assert found == {
        "clusters": [[(1, 10), (2, 11)]],
        "reliable clusters": [[(1, 8)]],
        "outliers (%)": [[(1, 25), (2, 25)]],
        "images in the median cluster": [[(1, 4)]],
        "largest cluster (%)": [[(1, 50), (2, 50)]],
        "silhouette": [[(1, -0.1), (2, -0.1)]],
        "adjusted Rand index": [[(1, 0.5)]],
        "purity (%)": [[(1, 75)]],
    }
    assert [label for _, label in cluster_charts([run])[0].x_ticks] == ["1", "2"]
    assert cluster_charts([run_of({"step": 0, "lr": 0.1, "contrast": 2.0})]) == []


def test_clusters_are_chosen_from_the_largest_to_the_smallest_and_outliers_are_none_of_them() -> None:
    labels = np.repeat(np.arange(-1, 29), [50, *range(1, 30)])
    sizes = [len(places) for places in chosen(labels)]
    assert (sizes[0], sizes[-1], len(sizes)) == (29, 1, 8)
    assert sizes == sorted(sizes, reverse=True)
    assert all(len(set(labels[places])) == 1 and labels[places[0]] >= 0 for places in chosen(labels))
    assert chosen(np.full(5, -1)) == []


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of an adaptation, and that of its images."""
    from upreid.commands.synth import synthesise

    out = tmp_path_factory.mktemp("adapted")
    synthesise(out / "people", CorpusSettings(version=1, identities=24, height=32, width=16, seed=1), workers=1)
    corpus = out / "people" / "market1501"
    small = "--random.channels 8 --random.height 32 --random.width 16 --input.pad 2"
    loose = "--cluster.eps 0.4 --cluster.min-samples 2 --cluster.k1 8 --cluster.k2 2"
    quick = "--train.identities 4 --train.images 4 --train.iterations 3 --train.epochs 2"
    data = f"--init random --data.name market1501 --data.root {corpus}"
    trained("adapt laptop-usl", data, small, loose, quick, "--out", out / "u")
    return out / "u", corpus


@pytest.mark.slow
def test_a_page_shows_clusters_and_outliers_in_a_browser(
    adapted: tuple[Path, Path], tmp_path: Path, browser: Any
) -> None:
    page = tmp_path / "page.html"
    assert report(page, adapted[0]) == 0
    section = next(one for one in parsed(page).iter("section") if one.get("id") == "clusters")
    assert "u: clusters" in [words(one) for one in section.iter("h3")]
    captions = [words(one) for one in section.iter("figcaption")]
    assert any(caption.endswith("outliers") for caption in captions)
    assert any(" of person " in caption for caption in captions)
    pictures = list(section.iter("img"))
    assert len(pictures) > 20
    assert all(str(one.get("alt")).startswith("0") for one in pictures)  # names of files
    assert {kind for one in section.iter("span") if (kind := one.get("class"))} >= {"crop match", "mark"}
    for width, scheme in ((390, "dark"), (1200, "light")):
        tab = open_page(browser, page, width, scheme)
        assert tab.locator("#clusters .crop img").count() == len(pictures)
        tab.close()


@pytest.mark.slow
def test_a_page_without_the_images_says_so(
    adapted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, corpus = adapted
    moved = corpus.with_name("elsewhere")
    corpus.rename(moved)
    try:
        assert report(tmp_path / "gone.html", run) == 0
        assert "u: no pictures of its clusters, because" in capsys.readouterr().err
        shutil.copytree(moved, corpus)
        next(iter((corpus / "bounding_box_train").iterdir())).unlink()
        assert report(tmp_path / "others.html", run) == 0
        assert "are others than those that were clustered" in capsys.readouterr().err
    finally:
        shutil.rmtree(corpus, ignore_errors=True)
        moved.rename(corpus)
    section = next(one for one in parsed(tmp_path / "gone.html").iter("section") if one.get("id") == "clusters")
    assert [words(one) for one in section.iter("strong")][:2] == ["clusters", "outliers (%)"]
    assert list(section.iter("img")) == []
