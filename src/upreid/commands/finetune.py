"""`upreid finetune`: train an encoder on a labelled set (BoT, MGN, TransReID), and evaluate it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from upreid.commands.starting_point import starting_point
from upreid.config.finetune import FinetuneConfig
from upreid.data.augment.downstream import DownstreamAugment, black
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.data.records import Record
from upreid.data.splits import in_words, split_facts, training_part
from upreid.errors import InputError
from upreid.methods import supervised
from upreid.methods.schedule import cosine, staircase, warm_up
from upreid.models.encoder import Encoder, read_file, rebuild, skeleton
from upreid.retrieval.evaluation import check_ranking, evaluate_benchmark, identity_of, say_result
from upreid.retrieval.features import encode_benchmark
from upreid.runtime.distributed import from_lead
from upreid.runtime.files import write_text
from upreid.training.feeds.labelled import LabelledFeed
from upreid.training.launch import fit
from upreid.training.loop import Plan
from upreid.training.parts import Context, Program, TrainingParts
from upreid.training.saved import saved_run
from upreid.training.step import make_optimiser
from upreid.types import Preprocess

PROGRAM = Program(name="finetune", what="fine-tuning", workers_on_gpu=4)


def run(config: FinetuneConfig) -> int:
    """Train from the start, then evaluate; return the exit code: 0, or 128 + the signal that asked to stop."""
    return fit(lambda context: parts(config, context), config, program=PROGRAM)


def resume(folder: Path, flags: Sequence[str] = ()) -> int:
    """Go on from the last state in `folder`; `flags` may change what decides no number, such as `--data.root`.

    With more `--train.epochs` and another `--out` a new run starts from that state, where the schedule is one of steps.
    """
    saved = saved_run(folder, PROGRAM.name, flags)
    if saved.start is not None and saved.config.optim.schedule == "cosine":
        raise InputError(
            f"the learning rate of {folder} has come down along a cosine that ends where its epochs end; only a schedule of "
            "steps goes on: start a new fine-tuning with --train.epochs"
        )
    return fit(lambda context: parts(saved.config, context), saved.config, program=PROGRAM, saved=saved)


def parts(config: FinetuneConfig, context: Context) -> TrainingParts:
    """Build what a fine-tuning consists of; everything that can go wrong before the first step goes wrong here."""
    check_head(config)
    data = config.data
    labelled = open_benchmark(data.name, data.root, quiet=not context.world.is_lead, patience=data.patience)
    remarks = refuse_faults(labelled, same_camera=config.test.same_camera)
    check_ranking(config.test, labelled, prefix="--test.")
    records = training_part(config.data, labelled.train)
    check_cameras(config, records)
    ranking = {"same_camera": config.test.same_camera, "multi_query": config.test.multi_query}
    remarks += from_lead(lambda: refuse_unreadable(labelled, **ranking), context.world)
    start, origins = start_of(config, context)
    train = config.train
    feed = LabelledFeed(
        records,
        preprocess=start.preprocess,
        augment=augmentation(config, start.preprocess),
        identities=train.identities,
        images=train.images,
        seed=train.seed,
        compute=context.compute,
        accumulate=train.accumulate,
        world=context.world,
        unreadable_share=config.data.unreadable_share,
    )
    facts = split_facts(config.data, records, len(labelled.train))
    method = supervised.build(
        config,
        start,
        cameras=sorted(set(feed.cameras.tolist())),
        num_people=feed.num_people,
        trained_on=in_words(replace(data, name=labelled.name), facts),
        steps_per_epoch=feed.steps_per_epoch,
        world=context.world,
    )
    plan, optim = plan_of(config, feed.steps_per_epoch), config.optim
    counted = (
        f"{facts['training_images']} images of {facts['training_people']} people, "
        f"{plan.steps_per_epoch} steps per epoch, {plan.steps} steps"
    )
    return TrainingParts(
        method=method,
        feed=feed,
        plan=plan,
        optimiser=lambda some: make_optimiser(optim.name, some, lr=optim.lr, weight_decay=optim.weight_decay),
        sentences=[*remarks, *origins, counted],
        finish=lambda: finish(config, labelled, facts, context),
    )


def start_of(config: FinetuneConfig, context: Context) -> tuple[Encoder, list[str]]:
    """Return the encoder to begin with; a resumed run has its own, and does not read `--init` again."""
    if context.header is None:
        return starting_point(config)
    header = replace(context.header, head=None)
    return skeleton(header), [f"backbone {header.backbone} as the run has it"]


def check_head(config: FinetuneConfig) -> None:
    """Refuse options of one head on another."""
    head = config.head
    if head.name != "transreid" and (head.camera_weight or head.jigsaw):
        raise InputError(
            f"--head.camera-weight and --head.jigsaw belong to --head.name transreid, and this one is {head.name}"
        )


def check_cameras(config: FinetuneConfig, records: Sequence[Record]) -> None:
    """Refuse to learn from camera labels that are not there."""
    unknown = sum(record.camera is None for record in records)
    if config.head.camera_weight and unknown:
        raise InputError(
            f"--head.camera-weight {config.head.camera_weight}: {unknown} of {len(records)} training images have no camera "
            f"label; leave it at 0, or label them"
        )


def augmentation(config: FinetuneConfig, preprocess: Preprocess) -> DownstreamAugment:
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


def plan_of(config: FinetuneConfig, steps_per_epoch: int) -> Plan:
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


def finish(config: FinetuneConfig, labelled: Benchmark, split: dict[str, Any], context: Context) -> None:
    """Evaluate what was saved, all ranks together; rank 0 writes the numbers."""
    path, compute, world = config.out / "encoder.safetensors", context.compute, context.world
    encoder = rebuild(path, *from_lead(lambda: read_file(path), world), device=compute.device)
    how = labelled, encoder.preprocess, compute, config.test
    encoded = encode_benchmark(encoder.at_neck(config.test.neck), *how, world=world)
    if world.is_lead:
        result = evaluate_benchmark(encoded)
        result["protocol"] |= {**identity_of(path, encoder, config.test), **split}
        write_text(config.out / "retrieval.json", json.dumps(result, indent=2) + "\n")
        say_result(result)
