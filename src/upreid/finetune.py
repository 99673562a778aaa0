"""`upreid finetune`: train an encoder on a labelled set (Bag of Tricks), and evaluate it."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from upreid.build.finetuning import Schedule, TrainingSet, schedule, starting_point, training_set
from upreid.build.labelled import benchmark, result_line, retrieve
from upreid.config.downstream import FinetuneConfig
from upreid.config.files import digest, to_dict
from upreid.data.augment.downstream import DownstreamAugment
from upreid.data.benchmarks import Benchmark
from upreid.data.splits import share_of_people
from upreid.errors import InputError
from upreid.losses.identity import smoothed_cross_entropy
from upreid.losses.triplet import batch_hard_triplet
from upreid.models.backbone import num_features
from upreid.models.encoder import Encoder, save_encoder
from upreid.models.heads.bnneck import BNNeck
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import logging_to, progress, say
from upreid.runtime.files import write_text
from upreid.runtime.folder import claim
from upreid.runtime.journal import Journal
from upreid.runtime.provenance import provenance
from upreid.runtime.record import Record
from upreid.runtime.seed import stream_key


def run(config: FinetuneConfig) -> dict[str, Any]:
    """Train, evaluate, save; return what `retrieval.json` holds."""
    check_numbers(config)
    train = config.train
    on_cpu = train.device == "cpu" or not torch.cuda.is_available()
    compute = settle(train.device, train.threads, train.workers, workers_wanted=1 if on_cpu else 4)
    torch.set_num_threads(compute.threads)
    labelled = benchmark(config.data)
    records = share_of_people(labelled.train, config.data.identity_share, seed=config.data.split_seed)
    with ExitStack() as stack:
        start, origins = starting_point(config)
        data = training_set(config, records, start.preprocess, compute)
        stack.enter_context(claim(config.out))
        stack.enter_context(logging_to(config.out / "logs" / "finetune.log"))
        compute.announce()
        for sentence in origins:
            say(sentence)
        plan = schedule(config, data)
        say(
            f"{len(records)} images of {data.num_people} people, {plan.steps_per_epoch} steps per epoch, {plan.steps} steps"
        )
        write_config(config, plan, compute)
        journal = stack.enter_context(Journal(config.out / "metrics.jsonl"))
        trainee = prepare(config, start, data, compute)
        optimise(config, trainee, data, plan, Record([journal]), compute)
        return finish(config, trainee, labelled, plan, compute)


def check_numbers(config: FinetuneConfig) -> None:
    """Refuse numbers outside their range, before anything is read or written."""
    train, optim, wanted, loss = config.train, config.optim, config.input, config.loss
    at_least = {
        "--train.identities": (train.identities, 2),  # batch-hard mining needs somebody else,
        "--train.images": (train.images, 2),  # and another image of the same person
        "--train.steps": (1 if train.steps is None else train.steps, 1),
        "--input.pad": (wanted.pad, 0),
        "--loss.margin": (loss.margin, 0),
        "--loss.triplet-weight": (loss.triplet_weight, 0),
        "--optim.weight-decay": (optim.weight_decay, 0),
        "--optim.warmup-epochs": (optim.warmup_epochs, 0),
    }
    for flag, (value, least) in at_least.items():
        if not value >= least:
            raise InputError(f"{flag} {value}: must be at least {least}")
    for flag, value in {"--optim.lr": optim.lr, "--train.epochs": train.epochs}.items():
        if not value > 0:
            raise InputError(f"{flag} {value}: must be above 0")
    shares = {"--input.flip-probability": wanted.flip_probability, "--loss.smoothing": loss.smoothing}
    shares["--input.erase-probability"] = wanted.erase_probability
    for flag, value in shares.items():
        if not 0 <= value <= 1:
            raise InputError(f"{flag} {value}: must be between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """What is being trained."""

    encoder: Encoder
    head: BNNeck
    optimiser: torch.optim.Optimizer


def prepare(config: FinetuneConfig, start: Encoder, data: TrainingSet, compute: Compute) -> Trainee:
    """Put a BNNeck on the encoder, and both under one optimiser."""
    torch.manual_seed(stream_key(config.train.seed, 0, "head"))
    encoder, head = start.to(compute.device), BNNeck(num_features(start.backbone), data.num_people).to(compute.device)
    learning = [p for module in (encoder, head) for p in module.parameters() if p.requires_grad]
    wanted = config.optim
    optimiser = torch.optim.Adam(learning, lr=wanted.lr, weight_decay=wanted.weight_decay, fused=True)
    return Trainee(encoder=encoder, head=head, optimiser=optimiser)


def optimise(
    config: FinetuneConfig, trainee: Trainee, data: TrainingSet, plan: Schedule, record: Record, compute: Compute
) -> None:
    """Do every step."""
    augment = DownstreamAugment(
        seed=config.train.seed,
        pad=config.input.pad,
        flip_probability=config.input.flip_probability,
        erase_probability=config.input.erase_probability,
    )
    autocast = partial(torch.autocast, compute.device.type, dtype=torch.bfloat16, enabled=config.train.bf16)
    batch = config.train.identities * config.train.images
    trainee.encoder.train()
    trainee.head.train()
    with progress("fine-tuning", plan.steps * batch, "images") as meter:
        for step, (images, people) in enumerate(data.steps(plan.steps)):
            torch.manual_seed(stream_key(config.train.seed, step, "fine-tuning step"))  # stochastic depth
            lr = plan.lr_at(step)
            for group in trainee.optimiser.param_groups:
                group["lr"] = lr
            with autocast():
                features = trainee.encoder(augment(images.to(compute.device), step))
                logits = trainee.head(features)
            losses = named_losses(config, features.float(), logits.float(), people.to(compute.device))
            total = losses["identity"] + config.loss.triplet_weight * losses["triplet"]
            trainee.optimiser.zero_grad()
            total.backward()
            trainee.optimiser.step()
            record.add(step, lr, {name: loss.detach() for name, loss in losses.items()})
            meter.advance(batch, record.note())
        record.read()


def named_losses(config: FinetuneConfig, features: Tensor, logits: Tensor, people: Tensor) -> dict[str, Tensor]:
    """Identity loss after the neck, triplet loss before it."""
    return {
        "identity": smoothed_cross_entropy(logits, people, smoothing=config.loss.smoothing),
        "triplet": batch_hard_triplet(features, people, margin=config.loss.margin),
    }


def finish(
    config: FinetuneConfig, trainee: Trainee, labelled: Benchmark, plan: Schedule, compute: Compute
) -> dict[str, Any]:
    """Write the encoder with its neck, evaluate it, write the numbers."""
    origin = {"recipe": config.recipe, "recipe_hash": digest(to_dict(config)), "step": plan.steps}
    header = replace(trainee.encoder.header, neck=True, **origin)
    encoder = Encoder(trainee.encoder.backbone, header, trainee.head.neck).eval()
    save_encoder(config.out / "encoder.safetensors", encoder.backbone, header, encoder.neck)
    result = retrieve(encoder, labelled, encoder.preprocess, compute)
    split = {"identity_share": config.data.identity_share, "split_seed": config.data.split_seed}
    result["protocol"] |= {"neck": "after", **split, "init": config.init, "seed": config.train.seed}
    write_text(config.out / "retrieval.json", json.dumps(result, indent=2) + "\n")
    say(f"{labelled.name}: {result_line(result)}")
    return result


def write_config(config: FinetuneConfig, plan: Schedule, compute: Compute) -> None:
    """Write everything resolved."""
    settings = to_dict(config)
    facts = {"program": "finetune", "hash": digest(settings), "settings": settings}
    resolved = {"steps": plan.steps, "device": str(compute.device), "threads": compute.threads}
    text = json.dumps({**facts, "resolved": resolved, **provenance()}, indent=2)
    write_text(config.out / "config.json", text + "\n")
