"""Whether bfloat16 in channels-last is faster here, as `--train.auto-precision` takes it to be: steps of each take turns.

    python benchmarks/precision.py [--rounds 7] [--device cuda]

One process, one thread on a CPU; pre-training steps of MoCo v2 and UP-ReID with the recipes' BatchNorm groups, and a fine-tuning
step. Ratios are to single precision in channels-first memory.
"""

import argparse

import torch

from _steps import finetuning, pretraining, read
from _turns import Work, ratio, take_turns
from upreid.config.finetune import FinetuneConfig
from upreid.config.pretrain import MocoV2Config
from upreid.runtime.compute import settle
from upreid.training.precision import has_bf16

SINGLE = "single"
PRECISIONS = {
    SINGLE: [],
    "single, channels-last": ["--train.channels-last"],
    "bf16": ["--train.bf16"],
    "bf16, channels-last": ["--train.bf16", "--train.channels-last"],
}
RESNET18 = ["--augment.height", 128, "--augment.width", 64, "--model.channels", 64]
RESNET50 = [*RESNET18, "--model.backbone", "resnet50", "--train.batch", 16]
CASES = {
    "MoCo v2, laptop network at 64x32": ("moco-laptop", []),
    "both terms, laptop network at 64x32": ("both-terms-laptop", []),
    "fine-tuning, laptop network at 64x32": ("laptop-bot", []),
    "MoCo v2, ResNet-18 at 128x64": ("moco-laptop", RESNET18),
    "MoCo v2, ResNet-50 at 128x64, 16 images": ("moco-laptop", RESNET50),
}
START = ["--init", "random", "--data.name", "market1501"]


def step_of(recipe: str, flags: list[object], device: torch.device) -> Work:
    """Build the step of a recipe in the precision that the flags name."""
    flags = [*flags, "--train.no-auto-precision"]
    if recipe == "laptop-bot":
        return finetuning(read(FinetuneConfig, "finetune", recipe, [*START, *flags]), device)
    return pretraining(read(MocoV2Config, "pretrain", recipe, flags), device)


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps in bfloat16 and in single precision")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = settle(given.device, 1, 0, workers_wanted=0).device
    print(f"{device}: {'has' if has_bf16(device) else 'has no'} instructions for bfloat16")
    for name, (recipe, flags) in CASES.items():
        steps = {precision: step_of(recipe, [*flags, *how], device) for precision, how in PRECISIONS.items()}
        seconds = take_turns(steps, given.rounds, device)
        print(name)
        for precision in steps:
            spent, best = ratio(seconds, precision, SINGLE), 1000 * min(seconds[precision])
            print(f"  {precision:22s} {best:8.1f} ms  {spent:5.2f} of the time  {1 / spent:5.2f} x as fast")


if __name__ == "__main__":
    main()
