import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from upreid.losses import consistency, intrinsic

SCRIPT = Path(__file__).parent / "two_steps.py"
CONSISTENCY = [["--consistency.reading", name, "--consistency.weight", "1"] for name in consistency.READINGS]
INTRINSIC = [["--intrinsic.reading", name, "--intrinsic.weight", "1"] for name in intrinsic.READINGS]
PIXELS = ["--intrinsic.source", "pixels"]
VIEWS = ["--intrinsic.reading", "i-d", "--intrinsic.source", "views", "--contrast.third-view", "query"]
MATES = [
    ["--contrast.mates", role, "--consistency.reading", reading, "--consistency.share", "0.5"]
    for role, reading in (("left-out", "g-key"), ("positives", "g-batch"))
]
ORIGINAL_KEYS = ["--contrast.key", "original", "--consistency.reading", "g-rel"]


def two_steps(out: Path, *flags: str, ranks: int = 1) -> dict[str, Tensor]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *torchrun, str(SCRIPT), str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(out, weights_only=True)


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.parametrize("flags", [*CONSISTENCY, *INTRINSIC, PIXELS, VIEWS, ORIGINAL_KEYS], ids=lambda flags: flags[1])
def test_one_process_with_two_groups_equals_two_ranks_with_one_each(tmp_path: Path, flags: list[str]) -> None:
    one = two_steps(tmp_path / "one.pt", *flags, "--model.bn-groups", "2")
    two = two_steps(tmp_path / "two.pt", *flags, "--model.bn-groups", "1", ranks=2)
    assert_same(one, two)


@pytest.mark.slow
@pytest.mark.ranks
def test_two_ranks_equal_one_process_with_two_groups_in_the_default_readings(tmp_path: Path) -> None:
    one = two_steps(tmp_path / "one.pt", "--model.bn-groups", "2")
    two = two_steps(tmp_path / "two.pt", "--model.bn-groups", "1", ranks=2)
    assert_same(one, two)


SHARES = ["--consistency.share", "0.5", "--intrinsic.share", "0.5"]


@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--consistency.reading", "g-batch", "--intrinsic.reading", "i-d"]])
def test_a_share_of_the_batch_is_the_same_images_however_the_batch_is_spread(tmp_path: Path, flags: list[str]) -> None:
    one = two_steps(tmp_path / "one.pt", *flags, *SHARES, "--model.bn-groups", "4")
    two = two_steps(tmp_path / "two.pt", *flags, *SHARES, "--model.bn-groups", "2", ranks=2)
    assert_same(one, two)
    parts = two_steps(tmp_path / "parts.pt", *flags, *SHARES, "--model.bn-groups", "2", "--train.accumulate", "2")
    trained = [{name: value for name, value in run.items() if "exported" not in name} for run in (one, parts)]
    assert_same(*trained)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--consistency.reading", "g-batch"], ["--consistency.reading", "g-rel"], PIXELS])
def test_accumulation_equals_batch_norm_groups(tmp_path: Path, flags: list[str]) -> None:
    groups = two_steps(tmp_path / "groups.pt", *flags, "--model.bn-groups", "4")
    parts = two_steps(tmp_path / "parts.pt", *flags, "--model.bn-groups", "2", "--train.accumulate", "2")
    # but for the running statistics, which move once in each forward
    assert_same(
        *(
            {name: value for name, value in run.items() if "running" not in name and "tracked" not in name}
            for run in (groups, parts)
        )
    )


@pytest.mark.slow
def test_groups_change_the_result_so_the_comparisons_above_compare_something(tmp_path: Path) -> None:
    two, four = (two_steps(tmp_path / f"{n}.pt", "--model.bn-groups", n) for n in ("2", "4"))
    assert not torch.allclose(two["losses"], four["losses"])


@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.parametrize("flags", MATES, ids=lambda flags: f"{flags[1]} {flags[3]}")
def test_tracklets_are_known_alike_on_two_ranks_and_in_one_process(tmp_path: Path, flags: list[str]) -> None:
    one = two_steps(tmp_path / "one.pt", *flags, "--model.bn-groups", "4")
    two = two_steps(tmp_path / "two.pt", *flags, "--model.bn-groups", "2", ranks=2)
    assert_same(one, two)
    plain = two_steps(tmp_path / "plain.pt", *flags[2:], "--model.bn-groups", "4")
    assert not torch.allclose(one["losses"], plain["losses"])  # so the tracklets had an effect
