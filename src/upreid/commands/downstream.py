"""What fine-tuning and adaptation have in common: start, augmentation, schedule, and the evaluation at the end."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from upreid.commands.starting_point import starting_point
from upreid.config.downstream import DownstreamConfig
from upreid.data.augment.downstream import DownstreamAugment, black
from upreid.data.benchmarks import Benchmark
from upreid.methods.schedule import cosine, staircase, warm_up
from upreid.models.encoder import Encoder, read_file, rebuild, skeleton
from upreid.retrieval.evaluation import evaluate_benchmark, identity_of, result_line, say_result
from upreid.retrieval.features import encode_benchmark
from upreid.retrieval.settings import METRIC_LABELS
from upreid.runtime.console import say
from upreid.runtime.distributed import from_lead
from upreid.runtime.files import write_text
from upreid.runtime.journal import read_journal
from upreid.training.loop import Plan
from upreid.training.parts import Context
from upreid.types import Preprocess


def start_of(config: DownstreamConfig, context: Context) -> tuple[Encoder, list[str]]:
    """Return the encoder to begin with; a resumed run has its own, and does not read `--init` again."""
    if context.header is None:
        return starting_point(config)
    header = replace(context.header, head=None)
    return skeleton(header), [f"backbone {header.backbone} as the run has it"]


def augmentation(config: DownstreamConfig, preprocess: Preprocess) -> DownstreamAugment:
    """Pad and crop, mirror, erase."""
    wanted = config.input
    colours = {"mean": (0.0, 0.0, 0.0), "black": black(preprocess.mean, preprocess.std)}
    return DownstreamAugment(
        seed=config.train.seed,
        pad=wanted.pad,
        flip_probability=wanted.flip_probability,
        erase_probability=wanted.erase_probability,
        pad_colour=colours[wanted.pad_colour],
        erase_colour=colours[wanted.erase_colour],
    )


def plan_of(config: DownstreamConfig, steps_per_epoch: int) -> Plan:
    """Turn epochs into steps: a warm-up, then a staircase or a cosine."""
    train, optim = config.train, config.optim
    steps = train.steps if train.steps is not None else max(round(train.epochs * steps_per_epoch), 1)
    length = optim.warmup_steps
    if length is None:
        length = min(round(optim.warmup_epochs * steps_per_epoch), steps)
    milestones = tuple(round(epoch * steps_per_epoch) for epoch in optim.milestones)
    first = max(length, round(optim.plateau_epochs * steps_per_epoch))

    def lr(step: int) -> float:
        begin = optim.lr * warm_up(step, length=length, start=optim.warmup_start)
        if optim.schedule == "cosine":
            return begin * cosine(step, first=first, total=steps, last=optim.final_lr / optim.lr)
        return begin * staircase(step, milestones=milestones)

    return Plan(steps=steps, steps_per_epoch=steps_per_epoch, lr=lr)


def finish(
    config: DownstreamConfig, labelled: Benchmark, facts: dict[str, Any], context: Context, steps_per_epoch: int
) -> None:
    """Evaluate what was saved, all ranks together; rank 0 writes the numbers, with `facts` in their protocol.

    The last epoch is the result. Where the monitor has watched the same set, the best epoch stands beside it, as an oracle.
    """
    path, compute, world = config.out / "encoder.safetensors", context.compute, context.world
    encoder = rebuild(path, *from_lead(lambda: read_file(path), world), device=compute.device)
    how = labelled, encoder.preprocess, compute, config.test
    encoded = encode_benchmark(encoder.at_neck(config.test.neck), *how, world=world)
    if world.is_lead:
        result = evaluate_benchmark(encoded)
        result["protocol"] |= {**identity_of(path, encoder, config.test), **facts}
        if config.monitor.every_epochs and config.monitor.root is None:
            result["oracle"] = oracle(result, read_journal(config.out / "metrics.jsonl"), steps_per_epoch)
        write_text(config.out / "retrieval.json", json.dumps(result, indent=2) + "\n")
        say_result(result)
        if "oracle" in result:
            best = result["oracle"]
            say(
                f"oracle (chosen with test labels): epoch {best['epoch']:g}, {result_line(best)}; the last epoch is the result"
            )


def oracle(last: dict[str, Any], journal: Sequence[dict[str, Any]], steps_per_epoch: int) -> dict[str, Any]:
    """Return the numbers of the epoch with the highest mAP on the test images: what nobody can choose without their labels."""
    step = max(row["step"] for row in journal)
    seen = [row for row in journal if row.get("mAP") is not None]
    best = max([{**last, "step": step}, *reversed(seen)], key=lambda row: row["mAP"])  # of equal ones the last
    numbers = {name: best[name] for name in METRIC_LABELS}
    return {"chosen_with": "test labels", "epoch": round((best["step"] + 1) / steps_per_epoch, 2), **numbers}
