"""`upreid finetune`: train an encoder on a labelled set (BoT, MGN, TransReID), and evaluate it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from upreid.commands.downstream import augmentation, finish, plan_of, start_of
from upreid.config.finetune import FinetuneConfig
from upreid.data.benchmarks import open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.data.records import Record
from upreid.data.splits import in_words, split_facts, training_part
from upreid.errors import InputError
from upreid.methods import supervised
from upreid.retrieval.evaluation import check_ranking
from upreid.runtime.distributed import from_lead
from upreid.training.feeds.labelled import LabelledFeed
from upreid.training.launch import fit
from upreid.training.parts import Context, Program, TrainingParts
from upreid.training.saved import saved_run
from upreid.training.step import make_optimiser

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
        evaluated=(labelled, config.test),
        finish=lambda: finish(config, labelled, facts, context, feed.steps_per_epoch),
    )


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
