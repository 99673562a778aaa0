"""`upreid adapt`: train an encoder on images without labels by clustering them, and evaluate it where labels exist."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from upreid.commands.downstream import augmentation, finish, plan_of, start_of
from upreid.commands.starting_point import saved_size
from upreid.config.adapt import AdaptConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.benchmarks.contents import refuse_unreadable
from upreid.data.records import Record
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
    return fit(lambda context: parts(config, context), config, program=PROGRAM)


def resume(folder: Path, flags: Sequence[str] = ()) -> int:
    """Go on from the last state in `folder`; `flags` may change what decides no number, such as `--data.root`."""
    saved = saved_run(folder, PROGRAM.name, flags)
    if saved.start is not None:
        raise InputError(
            "an adaptation does not go on for longer than it was begun; start a new one with --train.epochs"
        )
    return fit(lambda context: parts(saved.config, context), saved.config, program=PROGRAM, saved=saved)


def parts(config: AdaptConfig, context: Context) -> TrainingParts:
    """Build what an adaptation consists of; everything that can go wrong before the first step goes wrong here."""
    require_scikit_learn()
    check_settings(config)
    labelled, records, remarks = images_of(config, context)
    if context.header is None:
        check_size(config)
    start, origins = start_of(config, context)
    name = config.data.name if labelled is None else labelled.name
    trained_on = f"{name} without labels" if labelled else "images without labels"
    if before := start.header.trained_on:
        trained_on = f"{before}, then {trained_on}"
    method = cluster_contrast.build(
        config, start, trained_on=context.header.trained_on if context.header else trained_on, world=context.world
    )
    train, has_cameras = config.train, all(record.camera is not None for record in records)
    use_cameras = has_cameras and config.memory.cameras == "sampler"
    feed = ClusteredFeed(
        [replace(record, person=None) for record in records],
        method,
        config.cluster,
        fingerprint=fingerprint([replace(record, person=None) for record in records]),
        preprocess=start.preprocess,
        augment=augmentation(config, start.preprocess),
        clusters=train.identities,
        images=train.images,
        iterations=train.iterations,
        use_cameras=use_cameras,
        people=[record.person for record in records] if labelled else None,
        seed=train.seed,
        compute=context.compute,
        world=context.world,
        stop=context.stop,
        unreadable_share=config.data.unreadable_share,
    )
    plan, optim = plan_of(config, train.iterations), config.optim
    facts = protocol(config, len(records), use_cameras=use_cameras)
    counted = f"{len(records)} images without labels, {train.iterations} steps per epoch, {plan.steps} steps"
    used = "camera labels decide which images meet in a batch" if use_cameras else "camera labels are not used"
    unmeasured = [] if labelled else ["there are no labels to evaluate with: the run ends with its encoder"]
    return TrainingParts(
        method=method,
        feed=feed,
        plan=plan,
        optimiser=lambda some: make_optimiser(optim.name, some, lr=optim.lr, weight_decay=optim.weight_decay),
        sentences=[*remarks, *origins, counted, used, *unmeasured],
        finish=None if labelled is None else lambda: finish(config, labelled, facts, context),
    )


def images_of(config: AdaptConfig, context: Context) -> tuple[Benchmark | None, Sequence[Record], list[str]]:
    """Return the labelled set where there is one, the images to adapt to, and what is to be said of them."""
    data = config.data
    if data.name == UNLABELLED:
        source = open_source(data.root, patience=data.patience)
        some = [Record(path=Path(source.name(place)), source=source, index=place) for place in range(len(source))]
        return None, some, [source.description]
    labelled = open_benchmark(data.name, data.root, quiet=not context.world.is_lead, patience=data.patience)
    remarks = refuse_faults(labelled, same_camera=config.test.same_camera)
    check_ranking(config.test, labelled, prefix="--test.")
    ranking = {"same_camera": config.test.same_camera, "multi_query": config.test.multi_query}
    remarks += from_lead(lambda: refuse_unreadable(labelled, **ranking), context.world)
    return labelled, labelled.train, remarks


def check_settings(config: AdaptConfig) -> None:
    """Refuse settings that mean nothing, or that would be ignored."""
    check_clustering(**vars(config.cluster), prefix="--cluster.")
    if config.head.camera_weight:
        raise InputError("--head.camera-weight: an adaptation embeds no cameras; leave it at 0")


def check_size(config: AdaptConfig) -> None:
    """Refuse an encoder file whose input has another size than the recipe or a flag says."""
    saved, given = saved_size(config.init), (config.input.height, config.input.width)
    if saved is not None and any(ours not in (None, theirs) for ours, theirs in zip(given, saved, strict=True)):
        wanted = "x".join(str(ours or theirs) for ours, theirs in zip(given, saved, strict=True))
        raise InputError(
            f"--init {config.init} takes images of {saved[0]}x{saved[1]}, and the recipe or the command line says {wanted}; "
            f"give --input.height {saved[0]} --input.width {saved[1]}, or another encoder"
        )


def protocol(config: AdaptConfig, num_images: int, *, use_cameras: bool) -> dict[str, Any]:
    """Return what a result should state about the adaptation."""
    return {
        "setting": "without labels",
        "training_images": num_images,
        "clustering": {"method": "DBSCAN on Jaccard distances", **vars(config.cluster)},
        "camera_labels": "sampler" if use_cameras else "not used",
        "chosen_epoch": "last",
    }
