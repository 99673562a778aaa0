import pytest

from upreid.build.plan import explanations, make_plan
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.errors import InputError
from upreid.runtime.distributed import World


def config(recipe: str, *flags: str) -> MocoV2Config:
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", "images", "--out", "run", *flags]
    return parse(MocoV2Config, words, program="pretrain")


def test_lupersons_numbers_come_out_of_its_recipe() -> None:
    plan = make_plan(config("moco-luperson-resnet50"), 4_180_243, World(rank=0, size=8))
    assert plan.lr == pytest.approx(0.3)
    assert plan.steps_per_epoch == 1632  # 1,633 with the last part of a batch, which waits for the next epoch here
    assert plan.steps == 200 * 1632
    assert plan.warmup == 0
    assert plan.lr_at(0) == pytest.approx(0.3)
    assert plan.lr_at(plan.steps // 2) == pytest.approx(0.15)


@pytest.mark.parametrize(("batch", "lr"), [(256, 0.03), (512, 0.06), (1024, 0.12)])
def test_the_learning_rate_follows_the_batch(batch: int, lr: float) -> None:
    plan = make_plan(config("luperson-resnet50", "--train.batch", str(batch)), 10_000, World())
    assert plan.lr == pytest.approx(lr)


def test_durations_in_epochs_become_steps() -> None:
    flags = [
        "--train.epochs",
        "2.5",
        "--optim.warmup-epochs",
        "0.5",
        "--monitor.every-epochs",
        "1",
        "--monitor.root",
        "x",
    ]
    plan = make_plan(config("laptop", "--train.batch", "64", *flags), 640, World())
    assert (plan.steps, plan.warmup, plan.monitor_every) == (25, 5, 10)
    assert make_plan(config("laptop", "--train.steps", "7"), 640, World()).steps == 7


def test_a_batch_that_does_not_divide_over_processes_gets_two_that_do() -> None:
    with pytest.raises(
        InputError, match=r"batch of 100 does not divide over 8 processes.*use 96 or 104 .*--train.batch 96"
    ):
        make_plan(config("luperson-resnet50", "--train.batch", "100"), 1000, World(rank=0, size=8))


@pytest.mark.parametrize(
    ("flags", "size", "words"),
    [
        (["--model.bn-groups", "4"], 1, "4 groups with permuted keys"),
        (["--model.bn-groups", "1"], 1, "query and key share statistics"),
        (["--model.bn-groups", "2"], 2, "shuffle-BN over 2 processes x 2 groups"),
        (["--model.bn-groups", "1", "--model.sync-bn"], 2, "SyncBN"),
        (["--consistency.weight", "0"], 1, "no consistency, intrinsic i-a x 3 on 4x2 patches of the map, jitter"),
        (["--intrinsic.weight", "0"], 1, "consistency g-key x 1, no intrinsic"),
    ],
)
def test_the_log_says_which_protection_and_which_terms_are_on(flags: list[str], size: int, words: str) -> None:
    wanted, world = config("laptop", *flags), World(rank=0, size=size)
    assert any(words in line for line in explanations(wanted, make_plan(wanted, 5000, world), world))
