"""What fine-tuning and adaptation have in common: start, augmentation, schedule, and the evaluation at the end."""

import json
from dataclasses import replace
from typing import Any

from upreid.commands.starting_point import starting_point
from upreid.config.downstream import DownstreamConfig
from upreid.data.augment.downstream import DownstreamAugment, black
from upreid.data.benchmarks import Benchmark
from upreid.methods.schedule import cosine, staircase, warm_up
from upreid.models.encoder import Encoder, read_file, rebuild, skeleton
from upreid.retrieval.evaluation import evaluate_benchmark, identity_of, say_result
from upreid.retrieval.features import encode_benchmark
from upreid.runtime.distributed import from_lead
from upreid.runtime.files import write_text
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


def finish(config: DownstreamConfig, labelled: Benchmark, facts: dict[str, Any], context: Context) -> None:
    """Evaluate what was saved, all ranks together; rank 0 writes the numbers, with `facts` in their protocol."""
    path, compute, world = config.out / "encoder.safetensors", context.compute, context.world
    encoder = rebuild(path, *from_lead(lambda: read_file(path), world), device=compute.device)
    how = labelled, encoder.preprocess, compute, config.test
    encoded = encode_benchmark(encoder.at_neck(config.test.neck), *how, world=world)
    if world.is_lead:
        result = evaluate_benchmark(encoded)
        result["protocol"] |= {**identity_of(path, encoder, config.test), **facts}
        write_text(config.out / "retrieval.json", json.dumps(result, indent=2) + "\n")
        say_result(result)
