"""`upreid adapt`: train an encoder on images without labels by clustering them, and evaluate it where labels exist.

With a labelled source beside them it is domain adaptation with joint training.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from upreid.commands import choice
from upreid.commands.downstream import augmentation, finish, plan_of, start_of
from upreid.commands.starting_point import saved_size
from upreid.config.adapt import AdaptConfig, MemoryOptions
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults, refuse_training_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.data.records import Record, numbered_people, records_of
from upreid.data.settings import UNLABELLED
from upreid.data.sources.recognise import open_source
from upreid.errors import InputError
from upreid.methods import cluster_contrast
from upreid.retrieval.clustering import require_scikit_learn
from upreid.retrieval.evaluation import check_ranking
from upreid.retrieval.settings import check_clustering
from upreid.runtime.distributed import from_lead
from upreid.training.feeds.clustered import ClusteredFeed
from upreid.training.feeds.labelled import fingerprint
from upreid.training.launch import fit
from upreid.training.parts import Context, Program, TrainingParts
from upreid.training.saved import saved_run
from upreid.training.step import make_optimiser

PROGRAM = Program(name="adapt", what="adaptation", workers_on_gpu=4)


def run(config: AdaptConfig) -> int:
    """Train from the start, then evaluate; return the exit code: 0, or 128 + the signal that asked to stop."""
    return choice.begin(config, train, check_settings) if config.choose else train(config)


def train(config: AdaptConfig, *, resumes: bool = False, is_trial: bool = False) -> int:
    """Train, or go on with the run in the folder; a trial is not evaluated."""
    return fit(lambda context: parts(config, context, is_trial=is_trial), config, resumes=resumes, program=PROGRAM)


def resume(folder: Path, flags: Sequence[str] = ()) -> int:
    """Go on from the last state in `folder`; `flags` may change what decides no number, such as `--data.root`."""
    if choice.is_under_way(folder):
        return choice.begin(choice.going_on(folder, flags), train, check_settings, resumes=True)
    saved = saved_run(folder, PROGRAM.name, flags)
    if saved.start is not None:
        raise InputError(
            "an adaptation does not go on for longer than it was begun; start a new one with --train.epochs"
        )
    return fit(lambda context: parts(saved.config, context), saved.config, program=PROGRAM, saved=saved)


def parts(config: AdaptConfig, context: Context, *, is_trial: bool = False) -> TrainingParts:
    """Build what an adaptation consists of; everything that can go wrong before the first step goes wrong here."""
    require_scikit_learn()
    config, chosen = choice.applied(config) if config.choose else (config, {})
    check_settings(config)
    labelled, records, remarks = images_of(config, context)
    check_cameras(config, records)
    source = source_of(config, context, labelled)
    if labelled is not None:
        ranking = {"same_camera": config.test.same_camera, "multi_query": config.test.multi_query}
        remarks += from_lead(lambda: refuse_unreadable(labelled, **ranking), context.world)
    if context.header is None:
        check_size(config)
    start, origins = start_of(config, context)
    trained_on = f"{labelled.name} without labels" if labelled else "images without labels"
    if source is not None:
        trained_on = f"{source.name} with labels and {trained_on}"
    if before := start.header.trained_on:
        trained_on = f"{before}, then {trained_on}"
    method = cluster_contrast.build(
        config,
        start,
        trained_on=context.header.trained_on if context.header else trained_on,
        world=context.world,
        num_people=max(numbered_people(source.train), default=-1) + 1 if source else 0,
    )
    train, has_cameras = config.train, all(record.camera is not None for record in records)
    wants_cameras = config.memory.cameras == "sampler"
    use_cameras = has_cameras and wants_cameras
    images = [replace(record, person=None) for record in records]
    feed = ClusteredFeed(
        images,
        method,
        config.cluster.plain,
        reliability_gap=config.cluster.reliability_gap,
        fingerprint=fingerprint(images) + (f", source {fingerprint(source.train)}" if source else ""),
        preprocess=start.preprocess,
        augment=augmentation(config, start.preprocess),
        clusters=train.identities,
        images=train.images,
        iterations=train.iterations,
        use_cameras=wants_cameras,
        people=[record.person for record in records] if labelled else None,
        seed=train.seed,
        compute=context.compute,
        source=source.train if source else (),
        alone_epochs=config.source.alone_epochs,
        world=context.world,
        stop=context.stop,
        unreadable_share=config.data.unreadable_share,
    )
    plan, optim = plan_of(config, train.iterations), config.optim
    counted = f"{len(records)} images without labels, {train.iterations} steps per epoch, {plan.steps} steps"
    beside = [] if source is None else [source_line(source, train.identities * train.images)]
    used = "camera labels decide which images meet in a batch" if use_cameras else "camera labels are not used"
    used += " and split clusters into proxies" if has_proxies(config) else ""
    unmeasured = [] if labelled else ["there are no labels to evaluate with: the run ends with its encoder"]

    def conclude(evaluated: Benchmark) -> None:
        facts = protocol(config, feed, source, use_cameras=use_cameras) | ({"choice": chosen} if chosen else {})
        finish(config, evaluated, facts, context, train.iterations)

    return TrainingParts(
        method=method,
        feed=feed,
        plan=plan,
        optimiser=lambda some: make_optimiser(optim.name, some, lr=optim.lr, weight_decay=optim.weight_decay),
        resolved={"choice": chosen} if chosen else {},
        sentences=[*remarks, *origins, counted, *beside, used, *unmeasured],
        evaluated=None if labelled is None or is_trial else (labelled, config.test),
        finish=None if labelled is None or is_trial else partial(conclude, labelled),
    )


def images_of(config: AdaptConfig, context: Context) -> tuple[Benchmark | None, Sequence[Record], list[str]]:
    """Return the labelled set where there is one, the images to adapt to, and what is to be said of them."""
    data = config.data
    if data.name == UNLABELLED:
        source = open_source(data.root, patience=data.patience)
        return None, records_of(source), [source.description]
    labelled = open_benchmark(data.name, data.root, quiet=not context.world.is_lead, patience=data.patience)
    remarks = refuse_faults(labelled, same_camera=config.test.same_camera)
    check_ranking(config.test, labelled, prefix="--test.")
    return labelled, labelled.train, remarks


def source_of(config: AdaptConfig, context: Context, target: Benchmark | None) -> Benchmark | None:
    """Return the labelled set that is learnt from beside the target; InputError where it is the target."""
    name, root, data = config.source.name, config.source.root, config.data
    if name is None or root is None:
        return None
    source = open_benchmark(name, root, quiet=not context.world.is_lead, patience=data.patience)
    refuse_training_faults(source)
    ours, theirs = (os.path.realpath(one) for one in (source.root, target.root if target else data.root))
    is_inside = target is None and os.path.commonpath([ours, theirs]) in (ours, theirs)
    if ours == theirs or is_inside or (target is not None and are_copies(source.train, target.train)):
        raise InputError(
            f"--source.root {root} and --data.root {data.root} hold the same images; give a source that is another set than the "
            "target, or train without one (a recipe such as usl, and no --source.name)"
        )
    return source


def are_copies(ours: Sequence[Record], theirs: Sequence[Record]) -> bool:
    """Say whether two lists hold the same images, not only the same names and labels, as sets of one layout may."""
    same_names = fingerprint(ours) == fingerprint(theirs)
    return same_names and all(one.read() == other.read() for one, other in zip(ours, theirs, strict=True))


def source_line(source: Benchmark, count: int) -> str:
    """Say which labels are learnt from."""
    facts = source.facts["train"]
    return (
        f"source {source.name}: {facts['images']} images of {facts['people']} people, whose labels are learnt from; "
        f"each step has {count} of them beside {count} images without labels"
    )


def check_settings(config: AdaptConfig) -> None:
    """Refuse settings that mean nothing, or that would be ignored."""
    plain, gap = config.cluster.plain, config.cluster.reliability_gap
    check_clustering(**vars(plain), prefix="--cluster.")
    if not gap < min(plain.eps, 1 - plain.eps):
        raise InputError(
            f"--cluster.reliability-gap {gap:g} with --cluster.eps {plain.eps:g}: expected a gap that leaves eps between 0 and 1 "
            "when it is added and when it is taken away, such as 0.02"
        )
    if config.memory.kind == "hybrid" and config.memory.update != "every":
        raise InputError(
            f"--memory.update {config.memory.update} with --memory.kind hybrid: there the vector of each image follows its own "
            "features; leave --memory.update away"
        )
    if config.head.camera_weight:
        raise InputError("--head.camera-weight: an adaptation embeds no cameras; leave it at 0")
    source = config.source
    if source.root is None and source.name is not None:
        raise InputError(
            f"--source.name {source.name} without its folder: give --source.root, or take a recipe without a source"
        )
    if source.root is not None and source.name is None:
        raise InputError(f"--source.root {source.root} without its layout: give --source.name, such as personx")
    if source.name is None and source.alone_epochs:
        raise InputError(
            "--source.alone-epochs without a source: give --source.name and --source.root, or leave it away"
        )
    memory = config.memory
    if not has_proxies(config):
        beginning = MemoryOptions()
        for name in ("negatives", "across_weight"):
            if getattr(memory, name) != getattr(beginning, name):
                flag = f"--memory.{name.replace('_', '-')}"
                raise InputError(
                    f"{flag} is for --memory.kind camera-proxies, and the kind is {memory.kind}; leave it away"
                )
    elif source.name is not None:
        raise InputError(
            "--memory.kind camera-proxies with a source: proxies are made for training without labels only; take --memory.kind "
            "clusters, or leave the source away"
        )
    elif memory.cameras == "ignored":
        raise InputError(
            "--memory.kind camera-proxies with --memory.cameras ignored: proxies need the cameras; leave one of the two away"
        )


def has_proxies(config: AdaptConfig) -> bool:
    """Tell whether clusters are split into proxies of cameras."""
    return config.memory.kind == "camera-proxies"


def check_cameras(config: AdaptConfig, records: Sequence[Record]) -> None:
    """Refuse proxies of cameras where a camera is not known, or where there is only one."""
    if not has_proxies(config):
        return
    seen = [record.camera for record in records]
    known = set(seen) - {None}
    if unknown := seen.count(None):
        found = f"{unknown} of {len(seen)} images of {config.data.root} have no camera label"
    elif len(known) < 2:
        found = f"all {len(seen)} images of {config.data.root} are of one camera"
    else:
        return
    raise InputError(
        f"--memory.kind camera-proxies: {found}, and clusters are to be split by camera; take --memory.kind clusters, or "
        "a labelled set (--data.name) of two cameras or more"
    )


def check_size(config: AdaptConfig) -> None:
    """Refuse an encoder file whose input has another size than the recipe or a flag says."""
    saved, given = saved_size(config.init), (config.input.height, config.input.width)
    if saved is not None and any(ours not in (None, theirs) for ours, theirs in zip(given, saved, strict=True)):
        wanted = "x".join(str(ours or theirs) for ours, theirs in zip(given, saved, strict=True))
        raise InputError(
            f"--init {config.init} takes images of {saved[0]}x{saved[1]}, and the recipe or the command line says {wanted}; "
            f"give --input.height {saved[0]} --input.width {saved[1]}, or another encoder"
        )


def protocol(
    config: AdaptConfig, feed: ClusteredFeed, source: Benchmark | None, *, use_cameras: bool
) -> dict[str, Any]:
    """Return what a result should state about the adaptation, once it is done."""
    known: dict[str, Any] = {}
    if source is not None:
        facts = {"dataset": source.name, "labels": "used", **source.facts["train"]}
        known["source"] = facts | {"epochs_from_source_alone": feed.num_alone}
    clustering = vars(config.cluster if config.cluster.reliability_gap else config.cluster.plain)
    return {
        "setting": "without labels" if source is None else "domain adaptation, joint training",
        **known,
        "training_images": feed.num_images,
        "clustering": {"method": "DBSCAN on Jaccard distances", **clustering},
        **({} if config.memory.kind == "clusters" else {"memory": config.memory.kind}),
        "camera_labels": "sampler and proxies" if has_proxies(config) else "sampler" if use_cameras else "not used",
        "chosen_epoch": "last",
    }
