from pathlib import Path
from typing import Any

import pytest

from upreid.report.curves import series, terms_of, throughput
from upreid.report.runs import ReportedRun, names_of

FACTS: dict[str, Any] = {"program": "pretrain", "settings": {"train": {"batch": 10}}}


def run_of(*lines: dict[str, Any]) -> ReportedRun:
    return ReportedRun(Path("a"), "a", FACTS, list(lines))


def step(number: int, seconds: float) -> dict[str, Any]:
    return {"step": number, "lr": 0.1, "contrast": 2.0 - number / 100, "seconds": seconds}


def test_throughput_leaves_out_the_monitor_and_begins_anew_after_a_resume() -> None:
    before = [step(number, float(number)) for number in range(4)]
    monitor = {"step": 3, "mAP": 5.0, "seconds": 100.0}
    after = [step(4, 102.0), step(5, 104.0)]
    resumed = [step(6, 1.0), step(7, 1.25), step(8, 3.5)]
    run = run_of(*before, monitor, *after, *resumed)
    assert run.minutes == pytest.approx((104 + 3.5) / 60)
    assert throughput(run) == [(2, 10.0), (4, 5.0), (5, 5.0), (8, 8.0)]


def test_a_loss_that_is_not_finite_has_no_point() -> None:
    run = run_of(
        step(0, 1.0), {**step(1, 2.0), "contrast": None}, step(2, 3.0), {"step": 2, "mAP": 1.0, "seconds": 4.0}
    )
    assert terms_of(run) == ["contrast"]
    assert series(run, "contrast") == [(0, 2.0), (2, 1.98)]
    assert series(run, "mAP") == [(2, 1.0)]


def test_runs_are_called_by_as_much_of_their_paths_as_tells_them_apart() -> None:
    assert names_of([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert names_of([Path("/x/one/a"), Path("/x/two/a")]) == ["one/a", "two/a"]
