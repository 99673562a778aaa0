"""What a run says before its first step, and writes into config.json."""

import json
from pathlib import Path
from typing import Any

from upreid.config.files import read_json, to_dict
from upreid.config.training import TrainingConfig
from upreid.runtime.compute import Compute, provenance
from upreid.runtime.console import say
from upreid.runtime.files import write_text
from upreid.training.parts import Context, Program, TrainingParts
from upreid.training.precision import Precision
from upreid.training.saved import SavedRun


def introduce(
    config: TrainingConfig,
    program: Program,
    hash_: str,
    context: Context,
    precision: Precision,
    parts: TrainingParts,
    saved: SavedRun | None,
) -> None:
    """Say how this run computes and what is promised of resuming it, and write config.json if it is not there yet."""
    compute, world = context.compute, context.world
    if not world.is_lead:
        return
    compute.announce()
    say(f"precision: {precision}")
    for sentence in [*parts.sentences, *parts.method.explanations()]:
        say(sentence)
    where = "eager mode, this device, thread count and number of processes"
    exact = compute.device.type == "cpu" and not config.train.compile
    say(
        f"resuming is bit-exact ({where})"
        if exact
        else "resuming is exact in data and schedule, not promised bit for bit"
    )
    path = config.out / "config.json"
    if path.exists():
        for sentence in differences(read_json(path).get("resolved", {}), compute):
            say(sentence)
        return
    resolved = {
        "steps": parts.plan.steps,
        **parts.resolved,
        "images": parts.feed.num_images,
        "world_size": world.size,
        "device": str(compute.device),
        "threads": compute.threads,
        "workers": compute.workers,
        **precision.resolved,
    }
    facts = {"program": program.name, "hash": hash_, "settings": to_dict(config), "resolved": resolved}
    if saved is not None and saved.start is not None:
        facts["starts_from"] = str(saved.start)
    write_text(path, json.dumps({**facts, "started_in": str(Path.cwd()), **provenance()}, indent=2) + "\n")


def differences(resolved: Any, compute: Compute) -> list[str]:
    """Say where a resumed run computes otherwise than it began, which equal bytes are not promised for."""
    began = resolved if isinstance(resolved, dict) else {}
    now = {"device": str(compute.device), "threads": compute.threads}
    changed = [f"{name} {began[name]} -> {now[name]}" for name in now if began.get(name, now[name]) != now[name]]
    return [f"this run was begun otherwise ({', '.join(changed)}): equal bytes are not promised"] if changed else []
