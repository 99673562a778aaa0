import pytest
import torch

from upreid.commands.pretrain import check_batch, method_of, peak_lr, plan_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.errors import InputError
from upreid.methods.pretraining import Setup
from upreid.runtime.distributed import World
from upreid.training.loop import Plan


def config(recipe: str, *flags: str) -> MocoV2Config:
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", "images", "--out", "run", *flags]
    return parse(MocoV2Config, words, program="pretrain")


def make_plan(wanted: MocoV2Config, num_images: int, world: World) -> Plan:
    check_batch(wanted, num_images, world)
    return plan_of(wanted, num_images // wanted.train.batch)


def test_lupersons_numbers_come_out_of_its_recipe() -> None:
    plan = make_plan(config("moco-luperson-resnet50"), 4_180_243, World(rank=0, size=8))
    assert peak_lr(config("moco-luperson-resnet50")) == pytest.approx(0.3)
    assert plan.steps_per_epoch == 1632  # 1,633 with the last part of a batch, which waits for the next epoch here
    assert plan.steps == 200 * 1632
    assert plan.lr(0) == pytest.approx(0.3)
    assert plan.lr(plan.steps // 2) == pytest.approx(0.15)


@pytest.mark.parametrize(("batch", "lr"), [(256, 0.03), (512, 0.06), (1024, 0.12)])
def test_the_learning_rate_follows_the_batch(batch: int, lr: float) -> None:
    assert peak_lr(config("luperson-resnet50", "--train.batch", str(batch))) == pytest.approx(lr)


def test_durations_in_epochs_become_steps() -> None:
    flags = ["--train.epochs", "2.5", "--optim.warmup-epochs", "0.5"]
    wanted = config("laptop", "--train.batch", "64", *flags)
    plan = make_plan(wanted, 640, World())
    assert plan.steps == 25
    assert [plan.lr(step) for step in range(6)] == pytest.approx(
        [peak_lr(wanted) * min(1 / 5 * n, 1) for n in (1, 2, 3, 4, 5, 5)]
    )
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
        (
            ["--consistency.weight", "0", "--intrinsic.weight", "3"],
            1,
            "no consistency, intrinsic i-a x 3 on 4x2 patches",
        ),
        ([], 1, "consistency g-key x 1, no intrinsic"),
    ],
)
def test_the_log_says_which_protection_and_which_terms_are_on(flags: list[str], size: int, words: str) -> None:
    sync = "--model.sync-bn" in flags  # works on GPUs only, where nobody builds the method in this test
    setup = Setup(
        device=torch.device("cuda" if sync else "cpu"),
        num_images=5000,
        steps_per_epoch=10,
        world=World(rank=0, size=size),
    )
    assert any(words in line for line in method_of(config("laptop", *flags), setup).explanations())


def test_the_log_warns_of_a_queue_in_which_an_image_meets_its_own_key() -> None:
    setup = Setup(device=torch.device("cpu"), num_images=1500, steps_per_epoch=10)
    assert any("1024 keys holds more than half" in line for line in method_of(config("laptop"), setup).explanations())
