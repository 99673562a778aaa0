"""Parts of `gpu.py` about training steps: alone, compiled, with the largest batch, fed by a packed set, and of fine-tuning."""

import gc
import statistics
import sys
import time
from collections.abc import Mapping

import torch

from _gpu_bench import METHODS, ROUNDS, Add, Bench
from _plain import Plain
from _steps import Step, finetuning, noise_views, pretraining, read
from _turns import Work, operations, peak_memory, peak_work, ratio, seconds_of, take_turns
from run import Run
from upreid.config.finetune import FinetuneConfig
from upreid.runtime.compute import settle


def steps(bench: Bench, add: Add, *, backbone: str) -> None:
    """Measure the steps alone, in eager mode, beside straightforward ones; then the largest batch that fits."""
    made = {name: pretraining(bench.config(backbone, *flags), bench.device) for name, flags in METHODS.items()}
    config, autocast = bench.config(backbone), made["both terms"].precision.autocast
    plain = {name: Plain(config, step.views, autocast).step for name, step in made.items()}
    candidates: dict[str, Work] = {**made, **{f"{name}, straightforward": work for name, work in plain.items()}}
    compare(bench, add, candidates, plain, config.train.batch)
    del plain, candidates
    for name, step in made.items():
        largest(bench, add, name, step)
        step.views = {}


def compiled(bench: Bench, add: Add, *, backbone: str) -> None:
    """Measure the steps alone with torch.compile. The test of the script itself goes through it without a compiler."""
    if bench.tiny:
        torch.compiler.set_stance("force_eager")
    config, made, plain = bench.config(backbone), {}, {}
    for name, flags in METHODS.items():
        made[name] = step = pretraining(bench.config(backbone, *flags, "--train.compile"), bench.device)
        add(f"{name}, first two steps", seconds=sum(seconds_of(step, bench.device) for _ in range(2)))
        plain[name] = Plain(config, step.views, step.precision.autocast).step
    compare(bench, add, made, plain, config.train.batch)


def compare(bench: Bench, add: Add, candidates: Mapping[str, Work], plain: Mapping[str, Work], batch: int) -> None:
    """Let steps take turns with the machine's largest matrix product; `plain` are steps whose operations can be counted."""
    product, count = peak_work(bench.device, torch.bfloat16)["matrix product"]
    counts = {name: operations(work) for name, work in plain.items()}
    for work in candidates.values():
        work()
    seconds = take_turns({**candidates, "product": product}, ROUNDS, bench.device, bench.repeats)
    rate = count / statistics.median(seconds["product"])
    for name, work in candidates.items():
        spent, done = statistics.median(seconds[name]), counts[name.partition(",")[0]]
        values = {"batch": batch, "steps/s": 1 / spent, "images/s": batch / spent}
        values |= {"MoCo steps": ratio(seconds, name, "MoCo v2")}
        values |= {"TFLOP/s": done / spent / 1e12, "% of the bf16 product": 100 * done / spent / rate}
        add(name, **values, **{"GiB of tensors": peak_memory(work, bench.device) / 2**10})


def largest(bench: Bench, add: Add, name: str, step: Step) -> None:
    """Double the batch while it fits, then try half as much again; measure the largest that fits."""
    batch, limit = (8, 16) if bench.tiny else (256, 16_384)
    while batch < limit and fits(bench, step, 2 * batch):
        batch *= 2
    if fits(bench, step, 3 * batch // 2):
        batch = 3 * batch // 2
    assert fits(bench, step, batch)
    spent = min(seconds_of(step, bench.device) for _ in range(3))
    add(f"{name}, largest batch", **{"batch": batch, "steps/s": 1 / spent, "images/s": batch / spent})


def fits(bench: Bench, step: Step, batch: int) -> bool:
    """Do two steps on so many images; return whether the memory of the device was enough."""
    step.views = {}
    try:
        step.views = noise_views(step.method.views(), batch, bench.size(), bench.device)
        step()
        step()
    except RuntimeError as error:  # also of cuDNN and cuBLAS, which have words of their own for it
        print(f"{batch} images do not fit: {error}", file=sys.stderr)
        step.views = {}
        step.optimiser.zero_grad()
    else:
        return True
    gc.collect()  # after the handler, which holds the frames of the failed step
    torch.cuda.empty_cache()
    return False


def runs(bench: Bench, add: Add, *, backbone: str) -> None:
    """Compare runs from a packed set with their steps alone, and with what the loader alone delivers."""
    packed = bench.crops()
    compute = settle(bench.device.type, None, None, workers_wanted=1 if bench.tiny else 8)
    torch.set_num_threads(compute.threads)
    for name, flags in METHODS.items():
        run = Run(bench.config(backbone, *flags, "--data.root", packed), compute)
        count, batch = 2 if bench.tiny else 40, run.config.train.batch
        whole, alone = run.with_data(count)[0], run.alone(count)[0]
        batches = iter(run.feed.batches(0, 2 * count))
        next(batches)  # the workers have started
        began = time.perf_counter()
        loader = sum(1 for _ in batches) / (time.perf_counter() - began)
        rates = {"images/s": count / whole, "of the step alone": count / alone, "of the loader alone": loader}
        rates = {title: batch * rate for title, rate in rates.items()}
        add(f"{name}, batch {batch}", **rates, **{"% of the step": 100 * alone / whole, "workers": compute.workers})


def fine_tuning(bench: Bench, add: Add) -> None:
    """Measure the steps of Bag of Tricks and MGN, in the precision of the recipe and in bfloat16."""
    for recipe in ("laptop-bot", "laptop-mgn") if bench.tiny else ("bot", "mgn"):
        for how in ([], ["--train.bf16", "--train.channels-last"]):
            flags = ["--init", "random", "--data.name", "market1501", "--train.device", bench.device.type, *how]
            config = read(FinetuneConfig, "finetune", recipe, flags)
            step, batch = finetuning(config, bench.device), config.train.identities * config.train.images
            spent = statistics.median(take_turns({"step": step}, ROUNDS, bench.device, bench.repeats)["step"])
            precision = "bf16" if config.train.bf16 else "fp32"
            case = f"{recipe}, {precision}{', channels-last' if config.train.channels_last else ''}"
            rates = {"batch": batch, "steps/s": 1 / spent, "images/s": batch / spent}
            add(case, **rates, **{"GiB of tensors": peak_memory(step, bench.device) / 2**10})
