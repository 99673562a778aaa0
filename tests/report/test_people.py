import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from upreid.commands.table import read
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.models.calibration import Calibration, Threshold, write_calibration
from upreid.models.encoder import KEY, load_encoder
from upreid.report.page import is_outdated
from upreid.report.people import calibrated, distance_chart, part_of, thresholds
from upreid.report.runs import ReportedRun
from upreid.retrieval.evaluation import labels_of

IMAGE = Threshold(
    distance=0.3,
    interval=(0.28, 0.33),
    expected=(0.004, 0.02),
    false_accept=0.012,
    false_accept_interval=(0.005, 0.02),
    false_reject=0.1,
    false_reject_interval=(0.05, 0.2),
)
FACTS = {"false_accept": 0.01, "metric": "cosine", "neck": "after", "flip": False, "data": "market1501", "pairs": "all"}
CALIBRATION = Calibration(**FACTS, people=60, test_people=40, image=IMAGE)


@pytest.fixture
def market(corpus: Path) -> Benchmark:
    return read_benchmark("market1501", corpus / "market1501")


def test_a_part_of_a_set_holds_some_people_whole_and_says_so(market: Benchmark) -> None:
    part, note = part_of(market, 2)
    people = {record.person for record in part.query}
    assert len(people) == 2
    assert {record.person for record in part.gallery} == people
    assert len(part.query) == sum(record.person in people for record in market.query)
    assert note.startswith("2 of 4 test people")
    assert "no result" in note
    assert part_of(market, 4)[0] is market


def test_distances_are_counted_by_person_and_camera(market: Benchmark, runs: Path) -> None:
    query = (market.query[0],)
    shown = market.query[0]
    assert shown.camera is not None
    gallery = tuple(
        replace(shown, person=person, camera=camera)
        for person, camera in [
            (shown.person, shown.camera),
            (shown.person, shown.camera + 1),
            (99, shown.camera),
            (99, 7),
            (98, 7),
        ]
    )
    features = torch.eye(2)[[0, 0, 0, 1, 1]]  # of strangers one is as near as the person, two are at distance 1
    run = ReportedRun(runs / "a", "a", {}, [])
    chart = distance_chart(run, torch.eye(2)[:1], features, labels_of(query, gallery), load_encoder(runs / "a"))
    same, other = ([y for _, y in line.points if y] for line in chart.lines)
    assert same == [100.0]  # the picture of the query's own camera does not count
    assert other == pytest.approx([100 / 3, 200 / 3])
    assert chart.marks == {}


def test_a_calibration_is_drawn_and_said() -> None:
    assert thresholds(CALIBRATION) == {"threshold at 1 % false accepts": 0.3}
    assert calibrated("a", CALIBRATION) == [
        "a, two images: cosine distance 0.300 (0.280 to 0.330) for 1 % false accepts; on 40 other people of market1501 "
        "1.2 % false accepts (0.5 to 2 %) and 10 % false rejects (5 to 20 %)."
    ]
    assert thresholds(replace(CALIBRATION, metric="euclidean")) == {}
    assert calibrated("a", None) == []


def test_a_calibrated_encoder_is_still_the_one_that_was_measured(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "b", tmp_path / "b"))
    assert not is_outdated(run, read(run))
    write_calibration(run / "encoder.safetensors", KEY, CALIBRATION)
    assert load_encoder(run).header.calibration == CALIBRATION
    assert not is_outdated(run, read(run))
    shutil.copy(runs / "a" / "encoder.safetensors", run / "encoder.safetensors")
    assert is_outdated(run, read(run))
