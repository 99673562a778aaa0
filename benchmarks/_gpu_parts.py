"""The parts of `gpu.py`, in the order in which they are done."""

import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from safetensors.torch import load_file
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from _gpu_bench import BACKBONES, ROUNDS, Add, Bench
from _gpu_steps import compiled, fine_tuning, runs, steps
from _steps import NO_TERMS, pretraining
from _turns import Work, peak_work, ratio, take_turns
from augmentation import measure
from evaluation import MSMT17, from_features
from upreid.runtime.processes import usable_cores

TINY_SET = {"queries": 60, "gallery": 400, "people": 20, "distractors": 0, "cameras": 3}


def machine(bench: Bench, add: Add) -> None:
    """Measure the rates of a large product, a wide convolution and copies."""
    device = bench.device
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        add("GPU", name=facts.name, GiB=facts.total_memory / 2**30, multiprocessors=facts.multi_processor_count)
    peaks = peak_work(device, torch.bfloat16)
    seconds = take_turns({name: work for name, (work, _) in peaks.items()}, 5, device)
    for name, (_, count) in peaks.items():
        add(f"{name}, bf16", **{"TFLOP/s": count / statistics.median(seconds[name]) / 1e12})
    source = torch.empty(2**20 if bench.tiny else 2**32, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    spent = take_turns({"copy": lambda: target.copy_(source)}, 10, device)["copy"]
    add("copy on the device", **{"GB/s read and written": 2 * source.numel() / statistics.median(spent) / 1e9})
    host = torch.empty(2**20 if bench.tiny else 2**29, dtype=torch.uint8, pin_memory=device.type == "cuda")
    part = target[: host.numel()]
    spent = take_turns({"copy": lambda: part.copy_(host, non_blocking=True)}, 5, device)["copy"]
    add("copy to the device", **{"GB/s": host.numel() / statistics.median(spent) / 1e9})


def crops(bench: Bench, add: Add) -> None:
    """Render and pack the crops that later parts read."""
    bench.crops(add)


def augmentation(bench: Bench, add: Add) -> None:
    """Compare the views on the device with torchvision's on one core."""
    ours = ["band matrices (ours)"] if bench.tiny else ["ours on the GPU", "everything on the GPU"]
    sizes = [(bench.size(), bench.size())] if bench.tiny else [((128, 64), (128, 64)), ((256, 128), (256, 128))]
    for preset in ("luperson",) if bench.tiny else ("luperson", "luperson-jitter"):
        for file_size, size in sizes:
            base = measure("torchvision on Pillow", preset, file_size, size).rate
            add(f"{preset} {size[0]}x{size[1]}, torchvision on Pillow, one core", **{"views/s": base, "ratio": 1.0})
            for name in ours:
                rate = measure(name, preset, file_size, size).rate
                add(f"{preset} {size[0]}x{size[1]}, {name}", **{"views/s": rate, "ratio": rate / base})


def resumed(bench: Bench, add: Add) -> None:
    """Kill a pre-training with SIGKILL, resume it, and compare its encoder with that of a run that was not killed."""
    packed, whole, killed = bench.crops(), bench.work / "whole", bench.work / "killed"
    words, (count, every) = [sys.executable, "-m", "upreid", "pretrain"], (12, 4) if bench.tiny else (60, 20)
    start = [*words, BACKBONES["resnet50"], "--data.root", str(packed), *bench.flags("resnet50")]
    start += f"--train.steps {count} --train.save-every {every} --train.batch {8 if bench.tiny else 64}".split()
    for out in (whole, killed):
        shutil.rmtree(out, ignore_errors=True)
    with subprocess.Popen([*start, "--out", str(killed)]) as first:
        while first.poll() is None and not (killed / "state.pt").exists():
            time.sleep(0.02)
        first.kill()
    if first.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the run that was to be killed ended by itself with {first.returncode}")
    saved = int(torch.load(killed / "state.pt", weights_only=True, mmap=True)["step"])
    with subprocess.Popen([*start, "--out", str(whole)]) as other:
        subprocess.run([*words, "--resume", str(killed)], check=True)
    if other.returncode:
        raise RuntimeError(f"the run that was not killed ended with {other.returncode}")
    files = [out / "encoder.safetensors" for out in (killed, whole)]
    ours, theirs = (load_file(file) for file in files)
    largest_difference = max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)
    journals = [(out / "metrics.jsonl").read_text().count("\n") for out in (killed, whole)]
    add(
        f"killed after step {saved} of {count}",
        **{"same bytes": files[0].read_bytes() == files[1].read_bytes(), "largest difference": largest_difference},
        **{"lines of the journals": " and ".join(map(str, journals))},
    )


def ranks(bench: Bench, add: Add) -> None:
    """Run DistributedDataParallel, SyncBN and the collectives of a step in a group of one process."""
    device, on_gpu = bench.device, bench.device.type == "cuda"
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, init_method=f"file://{bench.work / 'store'}", rank=0, world_size=1)
    alone = pretraining(bench.config("resnet50", *NO_TERMS), device)
    sync = ["--model.sync-bn"] if on_gpu else []
    wrapped = pretraining(bench.config("resnet50", *NO_TERMS, *sync), device, alone.views)
    ids = [0] if on_gpu else None
    wrapped.trained = DistributedDataParallel(wrapped.method.student, device_ids=ids, broadcast_buffers=False)
    losses = [float(step()["contrast"]) for step in (alone, wrapped)]
    steps: dict[str, Work] = {"MoCo v2, one process": alone, f"the same with DDP{' and SyncBN' * on_gpu}": wrapped}
    seconds = take_turns(steps, ROUNDS, device, bench.repeats)
    for (name, _), loss in zip(steps.items(), losses, strict=True):
        spent = statistics.median(seconds[name])
        add(name, **{"steps/s": 1 / spent, "ratio": ratio(seconds, name, next(iter(steps))), "first loss": loss})
    count = sum(parameter.numel() for parameter in wrapped.method.learning())
    gradients, keys = torch.randn(count, device=device), torch.randn(256, 128, device=device)
    gathered = [torch.empty_like(keys)]
    collectives: dict[str, Work] = {
        f"all_reduce of {count / 1e6:.0f} million gradients": lambda: dist.all_reduce(gradients),
        "all_gather of 256 keys": lambda: dist.all_gather(gathered, keys),
    }
    for name, times in take_turns(collectives, 10, device).items():
        add(f"{backend}, {name}", ms=1000 * statistics.median(times))
    dist.destroy_process_group()


def evaluation(bench: Bench, add: Add) -> None:
    """Evaluate and re-rank features at MSMT17's size: noisy points around people, in few of 2,048 directions."""
    threads, size = usable_cores(), TINY_SET if bench.tiny else MSMT17
    for metric in ("cosine", "euclidean"):
        score, seconds, memory = from_features(metric, threads, size)
        add(f"evaluated, {metric}", seconds=seconds, mAP=score, threads=threads, **{"MiB above the features": memory})
    import reranking  # needs scipy, which the rest does not
    from upreid.retrieval import rerank
    from upreid.retrieval.metrics import evaluate_distances

    query, gallery, labels = reranking.problem(size["queries"], size["gallery"], 64 if bench.tiny else 2048)
    phases, began = reranking.timed(rerank, reranking.PHASES), time.perf_counter()
    scores = evaluate_distances(rerank.reranked_chunks(query, gallery, quiet=True), labels)
    spent = time.perf_counter() - began
    add("re-ranked", seconds=spent, mAP=scores["mAP"], threads=threads)
    for name, seconds in [*phases.items(), ("original distances, metrics", spent - sum(phases.values()))]:
        add(f"re-ranked: {name.replace('_', ' ')}", seconds=seconds)
    add("peak of the process", GiB=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


@dataclass(frozen=True)
class Part:
    """A part, and the seconds that it is expected to take; with less than half of them left it is not begun."""

    measure: Callable[[Bench, Add], None]
    seconds: float


PARTS = {
    "machine": Part(machine, 10),
    "crops": Part(crops, 25),
    "steps-resnet50": Part(partial(steps, backbone="resnet50"), 40),
    "steps-vit-small": Part(partial(steps, backbone="vit-small"), 40),
    "runs-resnet50": Part(partial(runs, backbone="resnet50"), 45),
    "runs-vit-small": Part(partial(runs, backbone="vit-small"), 35),
    "fine-tuning": Part(fine_tuning, 20),
    "augmentation": Part(augmentation, 20),
    "resumed": Part(resumed, 40),
    "ranks": Part(ranks, 15),
    "compiled-resnet50": Part(partial(compiled, backbone="resnet50"), 100),
    "evaluation": Part(evaluation, 60),
    "compiled-vit-small": Part(partial(compiled, backbone="vit-small"), 60),
}
"""Name -> part; a budget that is too small leaves out the last ones."""
