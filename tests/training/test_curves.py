"""Cells of scripts/same_curve.py, run against themselves: stopped and resumed, or with another number of workers."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def curves() -> ModuleType:
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("same_curve", ROOT / "scripts" / "same_curve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["same_curve"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def corpus(curves: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = curves.Checkout(source=ROOT, runs=tmp_path_factory.mktemp("curves"))
    here.upreid("synth", str(here.runs / "corpus"), "--identities", "16", "--height", "64", "--width", "32")
    return here.runs / "corpus"


@pytest.mark.parametrize("name", ["laptop", "pixels", "g-rel", "vit", "bot", "mgn", "transreid", "frozen"])
def test_a_run_killed_after_half_its_steps_ends_as_the_whole_one(
    curves: ModuleType, corpus: Path, tmp_path: Path, name: str
) -> None:
    here = curves.Checkout(source=ROOT, runs=tmp_path)
    whole = curves.train(here, name, corpus)
    resumed = curves.resume(here, name, whole, tmp_path / "resumed")
    assert curves.first_difference(resumed, whole, ranks=1) is None


@pytest.mark.ranks
def test_two_ranks_go_on_as_they_began(curves: ModuleType, corpus: Path, tmp_path: Path) -> None:
    here = curves.Checkout(source=ROOT, runs=tmp_path)
    whole = curves.train(here, "two-ranks", corpus)
    resumed = curves.resume(here, "two-ranks", whole, tmp_path / "resumed")
    assert curves.first_difference(resumed, whole, ranks=2) is None


@pytest.mark.ranks
def test_the_journal_of_two_ranks_holds_the_losses_of_the_whole_batch(
    curves: ModuleType, corpus: Path, tmp_path: Path
) -> None:
    """Two ranks with two BatchNorm groups each are one process with four, up to rounding."""
    here = curves.Checkout(source=ROOT, runs=tmp_path)
    two, one = (curves.journal(curves.train(here, name, corpus), losses=True) for name in ("two-ranks", "laptop"))
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("name", "other"), [("laptop", "one-worker"), ("bot", "bot-one-worker")])
def test_a_worker_changes_nothing(curves: ModuleType, corpus: Path, tmp_path: Path, name: str, other: str) -> None:
    here = curves.Checkout(source=ROOT, runs=tmp_path)
    first, second = (curves.train(here, cell, corpus) for cell in (name, other))
    assert curves.first_difference(second, first, ranks=1) is None


def test_the_comparison_notices_another_seed(curves: ModuleType, corpus: Path, tmp_path: Path) -> None:
    here = curves.Checkout(source=ROOT, runs=tmp_path)
    first, second = (curves.train(here, cell, corpus) for cell in ("bot", "circle"))
    assert "journal" in (curves.first_difference(second, first, ranks=1) or "")
