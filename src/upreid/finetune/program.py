"""`upreid finetune`: train an encoder on a labelled set (BoT, MGN, TransReID), and evaluate it."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from upreid.build.finetuning import (
    Schedule,
    augmentation,
    optimiser,
    pk_batches,
    schedule,
    trainee,
    training_set,
)
from upreid.build.saved import open_run, saved_config
from upreid.build.start import starting_point
from upreid.build.state import check_world, restore_module
from upreid.config.files import digest, to_dict
from upreid.config.finetune import FinetuneConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.benchmarks.checkup import refuse_faults
from upreid.data.training_part import in_words, split_facts, training_part
from upreid.finetune.checks import check_numbers
from upreid.finetune.loop import Session, train
from upreid.models.encoder import read_file, rebuild
from upreid.retrieval.evaluation import encoding, identity_of, rank_sides, say_result
from upreid.retrieval.features import encode_sides
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import say
from upreid.runtime.distributed import World, apart, from_lead, join
from upreid.runtime.files import write_text
from upreid.runtime.interrupt import Stop, listen
from upreid.runtime.journal import Journal
from upreid.runtime.provenance import provenance
from upreid.runtime.record import Record


def run(config: FinetuneConfig) -> int:
    """Train from the start, then evaluate; return the exit code: 0, or 128 + the signal that asked to stop."""
    return session(config, resumes=False)


def resume(folder: Path) -> int:
    """Go on from the last state in `folder`, with the configuration that it was started with."""
    return session(saved_config(folder, "finetune"), resumes=True)


def session(config: FinetuneConfig, *, resumes: bool) -> int:
    """Build the parts, claim the folder, train, evaluate. Nothing is written before everything has been built."""
    check_numbers(config)
    on_cpu = config.train.device == "cpu" or not torch.cuda.is_available()
    compute = settle(config.train.device, config.train.threads, config.train.workers, workers_wanted=1 if on_cpu else 4)
    torch.set_num_threads(compute.threads)
    with ExitStack() as stack:
        world = stack.enter_context(join(compute.device))
        with listen() as stop:
            part, labelled, first = prepare(config, compute, world, stop, stack, resumes=resumes)
            with apart():
                code = train(part, first)
        if code == 0:
            finish(config, labelled, part.split, compute, world)
        return code


def prepare(
    config: FinetuneConfig, compute: Compute, world: World, stop: Stop, stack: ExitStack, *, resumes: bool
) -> tuple[Session, Benchmark, int]:
    """Everything that can go wrong before the first step goes wrong here."""
    labelled = open_benchmark(config.data.name, config.data.root, quiet=not world.is_lead)
    records = training_part(config.data, labelled.train)
    pk_batches(config, records, world)  # what is impossible is said before minutes are spent on weights and images
    remarks = refuse_faults(labelled)
    start, origins = starting_point(config)
    data = training_set(config, records, start.preprocess, compute, world)
    facts = split_facts(config.data, records, len(labelled.train))
    net = trainee(config, start, data, in_words(config.data, facts))
    plan, adam = schedule(config, data.batches), optimiser(config, net)
    states, state = open_run(config, "finetune", world, stack, resumes=resumes)
    if world.is_lead:
        introduce(config, plan, compute, world, [*remarks, *origins, counted(facts, plan)])
    first = 0 if state is None else int(state["step"])
    if state is not None:
        check_world(state, world)
        restore_module("trainee", net, state, world)
        adam.load_state_dict(state["optimiser"])
    journal = [stack.enter_context(Journal(config.out / "metrics.jsonl", resume_at=first))] if world.is_lead else []
    part = Session(
        config=config,
        plan=plan,
        data=data,
        net=net,
        augment=augmentation(config, start.preprocess),
        optimiser=adam,
        record=Record(journal),
        compute=compute,
        world=world,
        split=facts,
        states=states,
        stop=stop,
    )
    return part, labelled, first


def counted(facts: dict[str, Any], plan: Schedule) -> str:
    """Images, people and steps, in one sentence."""
    return (
        f"{facts['training_images']} images of {facts['training_people']} people, "
        f"{plan.steps_per_epoch} steps per epoch, {plan.steps} steps"
    )


def introduce(config: FinetuneConfig, plan: Schedule, compute: Compute, world: World, sentences: list[str]) -> None:
    """Say what decided what, and write config.json with everything resolved if it is not there yet."""
    compute.announce()
    for sentence in sentences:
        say(sentence)
    if (config.out / "config.json").exists():
        return
    settings = to_dict(config)
    facts = {"program": "finetune", "hash": digest(config), "settings": settings}
    resolved = {
        "steps": plan.steps,
        "device": str(compute.device),
        "threads": compute.threads,
        "world_size": world.size,
    }
    text = json.dumps({**facts, "resolved": resolved, **provenance()}, indent=2)
    write_text(config.out / "config.json", text + "\n")


def finish(config: FinetuneConfig, labelled: Benchmark, split: dict[str, Any], compute: Compute, world: World) -> None:
    """Evaluate what was saved, all ranks together; rank 0 writes the numbers."""
    path = config.out / "encoder.safetensors"
    encoder = rebuild(path, *from_lead(lambda: read_file(path), world), device=compute.device)
    how = labelled, encoder.preprocess, compute, config.test
    sides = encode_sides(encoding(encoder, config.test), *how, world=world)
    if world.is_lead:
        result = rank_sides(sides)
        result["protocol"] |= {**identity_of(path, encoder, config.test), **split}
        write_text(config.out / "retrieval.json", json.dumps(result, indent=2) + "\n")
        say_result(result)
