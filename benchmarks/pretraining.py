"""What a MoCo v2 step and one with both I2 terms cost, against straightforward ones, pixel arithmetic, and the machine's peak.

    python benchmarks/pretraining.py
    python benchmarks/pretraining.py --arms               # the second table alone, at the recipe's own size
    python benchmarks/pretraining.py --recipe luperson-resnet50 --batch 256 --device cuda [--compile]

Counted in pixels a MoCo step is 4 forwards of the batch (queries 3, with their backward; keys 1). The originals add 1 and the
patches 4, so a step with both terms should cost 9 / 4 = 2.25 MoCo steps. Views are made beforehand: this is the step alone. One
BatchNorm group, as on one of several GPUs; one thread on a CPU. The straightforward steps are in `_plain.py`, and so is MoCo
from lightly's building blocks, measured where lightly is installed. The peak is the faster of a large
matrix product and a wide convolution, measured in the same rounds; tensors are those that exist at once, above networks,
optimiser, queue and views.

A second table has the steps of the arms that studies compare, each in MoCo steps of the same rounds and beside what
`upreid.methods.step_cost` says, which only counts forwards. They have four BatchNorm groups, as in the laptop recipes.
"""

import argparse
import resource
from collections.abc import Sequence

import torch

from _plain import Plain, lightly_moco
from _steps import pretraining, read, settled
from _turns import Seconds, Work, operations, peak_memory, peak_work, ratio, take_turns
from upreid.config.pretrain import MocoV2Config
from upreid.methods import step_cost
from upreid.runtime.compute import settle

MOCO, BOTH = "MoCo v2", "both terms"
PLAIN_MOCO, PLAIN_BOTH, LIGHTLY = "MoCo v2, straightforward", "both terms, straightforward", "MoCo v2, lightly"
PIXEL_ARITHMETIC = 9 / 4
ALONE = ["--consistency.weight", 0]
INTRINSIC = ["--intrinsic.weight", 3]
ARMS: dict[str, list[object]] = {
    MOCO: ALONE,
    "UP-ReID as shipped": [],
    "G-key, a quarter": ["--consistency.share", 0.25],
    "both terms": INTRINSIC,
    "both terms, a quarter": [*INTRINSIC, "--consistency.share", 0.25, "--intrinsic.share", 0.25],
    "regions of the views": [*ALONE, *INTRINSIC, "--intrinsic.source", "views"],
    "G-key, regions of views": [*INTRINSIC, "--intrinsic.source", "views"],
    "originals as keys": [*ALONE, "--contrast.key", "original"],
    "classifier of positions": [*ALONE, *INTRINSIC, "--intrinsic.reading", "position"],
    "a third view as key": [*ALONE, "--contrast.third-view", "key"],
    "a third view as query": [*ALONE, "--contrast.third-view", "query"],
}
"""Name of an arm -> its flags over the recipe."""
AIM = 1.4
"""Cost in MoCo steps up to which an arm of UP-ReID is cheap."""
SIZES = (128, 64), (256, 128)
CPU_BATCH = {SIZES[0]: 64, SIZES[1]: 16}


def config_of(
    recipe: str, size: tuple[int, int], given: argparse.Namespace, groups: int = 1, flags: Sequence[object] = ()
) -> MocoV2Config:
    """Read a recipe at another size, with so many BatchNorm groups."""
    batch = given.batch or CPU_BATCH[size]
    shape = ["--augment.height", size[0], "--augment.width", size[1], "--train.batch", batch]
    shape += ["--model.bn-groups", groups, *flags]
    how = ["--train.device", given.device, "--train.compile" if given.compile else "--train.no-compile"]
    return settled(
        read(MocoV2Config, "pretrain", recipe, [*shape, *how]), settle(given.device, 1, 0, workers_wanted=0).device
    )


def candidates(config: MocoV2Config, moco_config: MocoV2Config, device: torch.device) -> dict[str, Work]:
    """Build every step that is measured, by name."""
    upreid = pretraining(config, device)
    two = {name: upreid.views[name] for name in ("query", "key")}
    autocast = upreid.precision.autocast
    steps: dict[str, Work] = {
        PLAIN_MOCO: Plain(config, two, autocast).step,
        MOCO: pretraining(moco_config, device, two),
        PLAIN_BOTH: Plain(config, upreid.views, autocast).step,
        BOTH: upreid,
    }
    lightly = lightly_moco(config, two, autocast)
    return steps if lightly is None else steps | {LIGHTLY: lightly}


def report(seconds: Seconds, steps: dict[str, Work], peaks: dict[str, float], device: torch.device) -> None:
    """Print a line for each step, then what must hold; `peaks` are the operations of the fastest work."""
    rates = {name: count / min(seconds[name]) for name, count in peaks.items()}
    best = max(rates, key=rates.__getitem__)
    print("  " + ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items()))
    counts = {plain: operations(steps[plain]) for plain in (PLAIN_MOCO, PLAIN_BOTH)}
    for name, work in steps.items():
        count = counts[PLAIN_BOTH if name in (BOTH, PLAIN_BOTH) else PLAIN_MOCO]
        share = count / peaks[best] / ratio(seconds, name, best)
        print(
            f"  {name:26s}{1 / min(seconds[name]):7.2f} steps/s {ratio(seconds, name, MOCO):6.2f} MoCo steps "
            f"{count / 1e9:7.0f} GFLOP {share:5.0%} of the peak {peak_memory(work, device):7.0f} MiB of tensors"
        )
    print(f"  MoCo v2 / straightforward: {ratio(seconds, MOCO, PLAIN_MOCO):.2f} (at most 1)")
    print(f"  both terms / straightforward: {ratio(seconds, BOTH, PLAIN_BOTH):.2f} (at most 1)")
    print(f"  both terms / pixel arithmetic: {ratio(seconds, BOTH, MOCO) / PIXEL_ARITHMETIC:.2f} (at most 1.1)")
    if LIGHTLY not in steps:
        print("  lightly is not installed (pip install --group bench): its row is left out")


def report_arms(size: tuple[int, int], given: argparse.Namespace, device: torch.device) -> None:
    """Measure the arms in turns, and print what each costs beside what `step_cost` says."""
    configs = {arm: config_of(given.recipe, size, given, 4, flags) for arm, flags in ARMS.items()}
    seconds = take_turns({arm: pretraining(config, device) for arm, config in configs.items()}, given.rounds, device)
    print("  arm, four BatchNorm groups   MoCo steps   by step_cost")
    for arm, config in configs.items():
        cost = ratio(seconds, arm, MOCO)
        print(f"  {arm:28s}{cost:11.2f}{step_cost(config) / 4:15.2f}{'' if cost <= AIM else f'   above {AIM}'}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The step alone")
    parser.add_argument("--recipe", default="laptop", help="and moco-RECIPE (default: laptop)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--batch", type=int, help="images; by default 64 at 128x64 and 16 at 256x128")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--arms", action="store_true", help="the arms alone, at the recipe's own size and batch")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = settle(given.device, 1, 0, workers_wanted=0).device
    if given.arms:
        own = read(MocoV2Config, "pretrain", given.recipe, [])
        size, given.batch = (own.augment.height, own.augment.width), given.batch or own.train.batch
        print(f"{given.recipe}, {size[0]}x{size[1]}, batch {given.batch}, {device}")
        report_arms(size, given, device)
        return
    for size in SIZES:
        config = config_of(given.recipe, size, given, flags=INTRINSIC)
        steps = candidates(config, config_of(f"moco-{given.recipe}", size, given), device)
        dtype = torch.bfloat16 if config.train.bf16 else torch.float32
        print(f"{given.recipe}, {size[0]}x{size[1]}, batch {config.train.batch}, {device}, {dtype}")
        peaks = peak_work(device, dtype)
        seconds = take_turns(steps | {name: work for name, (work, _) in peaks.items()}, given.rounds, device)
        report(seconds, steps, {name: count for name, (_, count) in peaks.items()}, device)
        report_arms(size, given, device)
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
