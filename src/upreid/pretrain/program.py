"""`upreid pretrain`: unlabelled person images in, an encoder out."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from upreid.build.plan import Plan, explanations, make_plan
from upreid.build.pretraining import method as build_method
from upreid.build.saved import open_run, saved_config
from upreid.build.state import restore
from upreid.config.files import digest, to_dict
from upreid.config.pretrain import MocoV2Config
from upreid.data.dataset import SkipLedger
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.method import Method
from upreid.pretrain.loop import Session, train
from upreid.runtime.compute import Compute, check_compiler, settle
from upreid.runtime.console import say
from upreid.runtime.distributed import World, apart, join
from upreid.runtime.files import write_text
from upreid.runtime.interrupt import listen
from upreid.runtime.journal import Journal
from upreid.runtime.provenance import provenance
from upreid.runtime.record import Record
from upreid.runtime.tensorboard import TensorBoard


def run(config: MocoV2Config) -> int:
    """Train from the start; return the exit code: 0, or 128 + the signal that asked to stop."""
    return session(config, resumes=False)


def resume(folder: Path) -> int:
    """Go on from the last state in `folder`, with the configuration that it was started with."""
    return session(saved_config(folder, "pretrain"), resumes=True)


def session(config: MocoV2Config, *, resumes: bool) -> int:
    """Build the parts, claim the folder, train. Nothing is written before everything has been built."""
    on_cpu = config.train.device == "cpu" or not torch.cuda.is_available()
    wishes = config.train.device, config.train.threads, config.train.workers
    compute = settle(*wishes, workers_wanted=1 if on_cpu else 8)
    torch.set_num_threads(compute.threads)
    if config.train.compile:
        check_compiler()
    wanted = config.data
    source = open_source(wanted.root, cfs_share=wanted.cfs_share, patience=wanted.patience)
    with ExitStack() as stack:
        world = stack.enter_context(join(compute.device))
        plan = make_plan(config, len(source), world)
        method = build_method(config, compute, world, plan.steps_per_epoch)
        optimiser = build_optimiser(config, method)
        states, state = open_run(config, "pretrain", world, stack, resumes=resumes)
        first = 0 if state is None else int(state["step"])
        ledger = SkipLedger(len(source), config.data.unreadable_share, state["skipped"] if state else ())
        if state is not None:
            check_images(config, source, state)
            restore(method, optimiser, state)
        if world.is_lead:
            say(source.description)
            introduce(config, plan, world, compute)
        sinks = [stack.enter_context(sink) for sink in make_sinks(config, world, first)]
        part = Session(
            config=config,
            plan=plan,
            compute=compute,
            world=world,
            method=method,
            optimiser=optimiser,
            record=Record(sinks),
            ledger=ledger,
            source=source,
            states=states,
            stop=stack.enter_context(listen()),
        )
        with apart():
            return train(part, first)


def build_optimiser(config: MocoV2Config, method: Method) -> torch.optim.Optimizer:
    """SGD or AdamW over every parameter, as MoCo and LUPerson; the rate is set at every step."""
    wanted, parameters = config.optim, method.network.parameters()
    if wanted.name == "adamw":
        return torch.optim.AdamW(parameters, lr=wanted.lr, weight_decay=wanted.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters, lr=wanted.lr, momentum=wanted.momentum, weight_decay=wanted.weight_decay, fused=True
    )


def make_sinks(config: MocoV2Config, world: World, first: int) -> list[Journal | TensorBoard]:
    """Where numbers go: the journal, and TensorBoard where asked for; rank 0 only."""
    if not world.is_lead:
        return []
    views = [TensorBoard(config.out / "logs" / "tensorboard", resume_at=first)] if config.tensorboard else []
    return [Journal(config.out / "metrics.jsonl", resume_at=first), *views]


def check_images(config: MocoV2Config, source: Source, state: dict[str, Any]) -> None:
    """Refuse a state that was made from other images."""
    if state["images"] != len(source):
        raise InputError(
            f"{config.data.root} holds {len(source)} images and held {state['images']} when the run was saved; "
            f"put them back, or start a new run"
        )
    if state.get("source") != source.fingerprint:
        raise InputError(
            f"{config.data.root} holds {len(source)} images as before, but others than when the run was saved (names, order "
            f"or form have changed); put them back, or start a new run"
        )


def introduce(config: MocoV2Config, plan: Plan, world: World, compute: Compute) -> None:
    """Write config.json if it is not there yet, and say how this run computes and what is promised of resuming it."""
    compute.announce()
    for line in explanations(config, plan, world):
        say(line)
    exact = compute.device.type == "cpu" and not config.train.compile
    where = "eager mode, this device, thread count and number of processes"
    say(
        f"resuming is bit-exact ({where})"
        if exact
        else "resuming is exact in data and schedule, not promised bit for bit"
    )
    if (config.out / "config.json").exists():
        return
    settings = to_dict(config)
    resolved = {"steps": plan.steps, "lr": plan.lr, "images": plan.num_images, "world_size": world.size}
    compute_facts = {"device": str(compute.device), "threads": compute.threads, "workers": compute.workers}
    config_json = {"program": "pretrain", "hash": digest(config), "settings": settings}
    write_text(
        config.out / "config.json",
        json.dumps({**config_json, "resolved": resolved | compute_facts, **provenance()}, indent=2) + "\n",
    )
