"""A term on a share of the batch, and a term that is on in a part of the training only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from upreid.cli import main
from upreid.errors import InputError
from upreid.losses.intrinsic import i_d
from upreid.methods import step_cost
from upreid.methods.pretraining import Setup
from upreid.models.batchnorm import GroupedBatchNorm
from upreid.runtime.distributed import World

SCHEDULES = ["--intrinsic.end", "0.4", "--consistency.begin", "0.6", "--consistency.share", "0.5"]
LATER = ["--intrinsic.begin", "0.5", "--consistency.end", "0.75"]


@pytest.mark.parametrize(
    ("flags", "batch", "groups", "sizes"),
    [
        (["--train.batch", "64", "--intrinsic.share", "0.25"], 64, 4, [1, 16]),
        (["--train.batch", "64", "--intrinsic.share", "0.5"], 64, 4, [2, 16]),
        (["--train.batch", "64", "--intrinsic.share", "0.3"], 64, 4, [1, 20]),
        (["--train.batch", "64", "--intrinsic.share", "0.75"], 64, 4, [3, 16]),
        (["--train.batch", "32", "--model.bn-groups", "1", "--intrinsic.share", "0.5"], 32, 1, [1, 16]),
    ],
)
def test_groups_of_a_share_are_no_smaller_than_those_of_the_batch(
    flags: list[str], batch: int, groups: int, sizes: list[int], made, noise
) -> None:
    method = made(*flags, "--consistency.share", flags[-1])
    norm = next(part for part in method.student.modules() if isinstance(part, GroupedBatchNorm))
    seen: list[list[int]] = []
    for network in (method.student, method.teacher):
        first = next(part for part in network.modules() if isinstance(part, GroupedBatchNorm))
        first.register_forward_hook(lambda part, given, _: seen.append([part.groups, len(given[0]) // part.groups]))
    views = noise(method, batch)
    method.targets(views, 0)
    method.student(*method.inputs(views, slice(0, batch)))
    whole = [groups, batch // groups]
    assert seen == [whole, sizes, sizes, whole, sizes]  # keys, originals, key patches; queries, query patches
    assert norm.groups == groups


def test_the_terms_look_at_the_first_images_of_each_group_and_at_no_others(made, noise) -> None:
    flags = ["--consistency.reading", "g-cos", "--intrinsic.reading", "i-d", "--train.batch", "64"]
    method = made(*flags, "--consistency.share", "0.5", "--intrinsic.share", "0.25")
    views = noise(method, 64)
    targets, outputs = method.targets(views, 0), method.student(*method.inputs(views, slice(0, 64)))
    losses = method.losses(outputs, views, targets, slice(0, 64))
    query, patches = outputs
    originals, key_patches = targets.intra_identity.originals, targets.intra_identity.patches
    rows = [16 * group + place for group in range(4) for place in range(8)]
    slow = sum(2 - 2 * query[row] @ originals[place] for place, row in enumerate(rows)) / len(rows)
    torch.testing.assert_close(losses["consistency"], slow)
    how = {"temperature": 0.2, "hardest": None, "columns": 2}
    torch.testing.assert_close(losses["intrinsic"], i_d(patches, key_patches, torch.arange(16), **how))
    (gradient,) = torch.autograd.grad(losses["consistency"], query)
    assert gradient.abs().sum(dim=1).nonzero()[:, 0].tolist() == rows


@pytest.mark.parametrize(
    ("flags", "size", "words"),
    [
        (["--intrinsic.share", "0.2"], 1, r"--intrinsic\.share 0\.2 leaves 12 images .* 4 x 16.*give 0\.25 or more"),
        (["--consistency.share", "0.01"], 1, r"--consistency\.share 0\.01 leaves no image .*give 0\.25 or more"),
        (["--consistency.share", "0.1"], 2, r"--consistency\.share 0\.1 leaves 4 images .*4 x 8, .* of 8; give 0\.25"),
        (["--model.bn-groups", "1", "--intrinsic.share", "0.2"], 1, r"leaves 13 images .* group of 16; give 0\.25"),
        (["--intrinsic.begin", "0.5", "--intrinsic.end", "0.5"], 1, r"--intrinsic\.begin 0\.5 and --intrinsic\.end"),
        (["--consistency.begin", "1"], 1, r"--consistency\.begin 1 .*none of the 400 steps"),
    ],
)
def test_a_term_without_enough_images_or_steps_is_refused(flags: list[str], size: int, words: str, made) -> None:
    setup = Setup(device=torch.device("cpu"), num_images=1000, steps_per_epoch=10, world=World(rank=0, size=size))
    with pytest.raises(InputError, match=words) as caught:
        made(*flags, setup=setup)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "flags", [["--intrinsic.share", "0"], ["--consistency.share", "1.5"], ["--intrinsic.end", "0"]]
)
def test_shares_and_fractions_have_ranges(flags: list[str], config) -> None:
    with pytest.raises(InputError, match=f"{flags[0]} got '{flags[1]}'"):
        config(*flags)


@pytest.mark.parametrize(
    ("flags", "cost"),
    [
        ([], 9.0),
        (["--consistency.weight", "0", "--intrinsic.weight", "0"], 4.0),
        (["--consistency.share", "0.25", "--intrinsic.share", "0.25"], 5.25),
        (["--intrinsic.weight", "0", "--consistency.share", "0.25"], 4.25),
        (["--intrinsic.end", "0.25", "--consistency.begin", "0.5"], 5.5),
    ],
)
def test_a_step_costs_what_its_shares_and_schedules_leave_of_it(flags: list[str], cost: float, config) -> None:
    assert step_cost(config(*flags)) == pytest.approx(cost)


def test_the_log_says_which_images_and_steps_a_term_has(made) -> None:
    lines = made("--consistency.share", "0.25", "--intrinsic.begin", "0.5", "--train.steps", "100").explanations()
    assert any("g-key x 1, 4 images of each BatchNorm group" in line for line in lines)
    assert any("jitter, in steps 50 to 99" in line for line in lines)


@pytest.mark.slow
def test_a_term_is_on_in_its_steps_only_and_a_run_resumes_bit_for_bit_before_between_and_after(
    pictures: Path, tmp_path: Path, train
) -> None:
    assert train(pictures, tmp_path / "later", *LATER) == 0
    lines = [json.loads(line) for line in (tmp_path / "later" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "intrinsic" in line] == [6, 7, 8, 9, 10, 11]
    assert [line["step"] for line in lines if "consistency" in line] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert train(pictures, tmp_path / "whole", *SCHEDULES) == 0
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "intrinsic" in line] == [0, 1, 2, 3, 4]
    assert [line["step"] for line in lines if "consistency" in line] == [7, 8, 9, 10, 11]
    for step, whole, flags in [(2, "whole", SCHEDULES), (6, "whole", SCHEDULES), (4, "later", LATER)]:
        run = tmp_path / f"from-{step}"
        assert train(pictures, run, *flags) == 0
        (run / "states" / f"step-{step:09}.pt").replace(run / "state.pt")
        (run / "encoder.safetensors").unlink()
        assert main(["pretrain", "--resume", str(run)]) == 0
        ours, theirs = ((folder / "encoder.safetensors").read_bytes() for folder in (run, tmp_path / whole))
        assert ours == theirs, step


@pytest.mark.slow
def test_a_step_without_a_term_encodes_no_picture_of_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train
) -> None:
    encoded: list[int] = []
    forward = nn.Conv2d.forward

    def counted(conv: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if conv.in_channels == 3 and images.shape[0] > 1:
            encoded.append(len(images))
        return forward(conv, images)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    assert train(pictures, tmp_path / "run", *SCHEDULES) == 0
    assert encoded == 5 * [8, 8, 8, 8] + 2 * [8, 8] + 5 * [8, 4, 8]


@pytest.mark.ranks
@pytest.mark.slow
def test_two_ranks_agree_on_what_learns_where_a_term_begins_and_ends(pictures: Path, tmp_path: Path, short) -> None:
    runs = []
    for number, flags in enumerate([SCHEDULES, LATER]):
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "upreid"]
        where = ["pretrain", "both-terms-laptop", "--data.root", str(pictures), "--out", str(tmp_path / f"{number}")]
        words = [sys.executable, *launch, *where, *short, *flags]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        runs.append([json.loads(line) for line in (tmp_path / f"{number}" / "metrics.jsonl").read_text().splitlines()])
    assert [line["step"] for line in runs[0] if "intrinsic" in line] == [0, 1, 2, 3, 4]
    assert [line["step"] for line in runs[1] if "intrinsic" in line] == [6, 7, 8, 9, 10, 11]
