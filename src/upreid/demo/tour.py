"""`upreid demo`: a tour that renders, pre-trains, fine-tunes and shows what came out."""

import json
from functools import partial
from typing import Any

from upreid.config.command_line import parse_training
from upreid.config.commands import DemoConfig
from upreid.config.files import to_dict
from upreid.demo.page import write_page
from upreid.demo.results import STARTS, DemoFolder, collect, print_table
from upreid.errors import InputError
from upreid.methods import MOCO_STEP, step_cost
from upreid.runtime.console import say
from upreid.runtime.files import write_text
from upreid.runtime.folder import claim
from upreid.runtime.jobs import Job, run_jobs
from upreid.runtime.pages import require_pages
from upreid.runtime.processes import cores
from upreid.runtime.resume import continued
from upreid.synthetic.corpus_folder import folders_there
from upreid.training.saved import encoder_is_whole, share_done

RECIPES = {"moco": "moco-laptop", "upreid": "laptop"}
WORK = {"synth": 1.0, "pretrain": 4.0, "finetune": 0.6}
"""Shares of the time."""
ONE_THREAD = ["--train.threads", "1", "--train.workers", "0", "--train.device", "cpu"]


def run(config: DemoConfig) -> None:
    """Do what is not done yet, then show the results of all of it."""
    require_pages("the curves and the page of the demo")
    folder = DemoFolder(config.out)
    with claim(config.out, resume=config.out.is_dir()):
        remember(config)
        run_jobs(all_jobs(config, folder), config.out / "logs", slots=[{}] * cores())
        results = collect(folder, config)
        write_text(config.out / "results.json", json.dumps(results, indent=2) + "\n")
        print_table(results)
        page = write_page(folder, config, results)
        say(f"page: {page}")


def remember(config: DemoConfig) -> None:
    """Keep the settings; InputError where the folder was made with others."""
    path = config.out / "demo.json"
    settings = {name: value for name, value in to_dict(config).items() if name != "out"}
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{name} {before.get(name)} -> {value}" for name, value in settings.items() if before.get(name) != value
        ]
        if changed:
            raise InputError(
                f"{config.out} holds a tour with other settings ({', '.join(changed)}); choose another --out"
            )
    write_text(path, json.dumps(settings, indent=2) + "\n")


def all_jobs(config: DemoConfig, folder: DemoFolder) -> list[Job]:
    """List the jobs: render, pre-train twice at equal compute, fine-tune from three starts, several times each."""
    corpus = folder.rendered(config)
    people = ["--version", str(corpus.version), "--identities", str(corpus.identities), "--seed", str(corpus.seed)]
    render = Job(
        name="synth",
        words=lambda: ["synth", str(folder.corpus), *people],
        is_done=lambda: {"wild", corpus.layout} <= folders_there(folder.corpus, corpus).keys(),
        work=WORK["synth"],
    )
    pretrainings = [pretraining(config, folder, start) for start in RECIPES]
    seeds = range(1, config.seeds + 1)
    finetunings = [finetuning(config, folder, start, seed) for start in STARTS for seed in seeds]
    return [render, *reversed(pretrainings), *finetunings]


def pretraining(config: DemoConfig, folder: DemoFolder, start: str) -> Job:
    """Return the job that pre-trains on `wild/` and watches retrieval on the labelled set."""
    run = folder.pretrained(start)
    where = ["--data.root", str(folder.corpus / "wild"), "--out", str(run)]
    cost = step_cost(parse_training("pretrain", [RECIPES[start], *where]))
    length = ["--train.epochs", f"{config.epochs * MOCO_STEP / cost:g}", "--train.seed", str(config.seed)]
    watch = ["--monitor.every-epochs", "4", "--monitor.root", str(folder.corpus / "market1501")]
    line = ["pretrain", RECIPES[start], *where, *length, *watch, *ONE_THREAD]
    return Job(
        name=f"pretrain-{start}",
        words=lambda: continued(line, run, {"data.root": str(folder.corpus / "wild")}),
        is_done=lambda: encoder_is_whole(run),
        done_share=partial(share_done, run),
        work=WORK["pretrain"],
        needs=("synth",),
    )


def finetuning(config: DemoConfig, folder: DemoFolder, start: str, seed: int) -> Job:
    """Return the job that fine-tunes with a share of the labelled people, and evaluates."""
    run = folder.finetuned(start, seed)

    def words() -> list[str]:
        init = "random" if start == "random" else str(folder.pretrained(start) / "encoder.safetensors")
        data = ["--data.name", "market1501", "--data.root", str(folder.corpus / "market1501")]
        length = ["--train.epochs", str(config.finetune_epochs), "--train.seed", str(seed)]
        share = ["--data.identity-share", str(config.identity_share), "--out", str(run)]
        line = ["finetune", "laptop-bot", "--init", init, *data, *share, *length, *ONE_THREAD]
        return continued(line, run, {"data.root": str(folder.corpus / "market1501"), "init": init})

    return Job(
        name=f"finetune-{start}-{seed}",
        words=words,
        is_done=(run / "retrieval.json").exists,
        done_share=partial(share_done, run),
        work=WORK["finetune"],
        needs=("synth",) if start == "random" else (f"pretrain-{start}",),
    )
