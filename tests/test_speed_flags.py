"""--train.channels-last, --train.bf16, --train.compile and the fused optimiser do what they say, and change little else."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.methods.moco_v2 import MocoV2
from upreid.methods.pretraining import Setup
from upreid.runtime.distributed import World
from upreid.training.launch import placed
from upreid.training.precision import Precision, precision_of
from upreid.training.state import exported
from upreid.training.step import make_optimiser, train_step
from upreid.types import Views

CPU = torch.device("cpu")

BATCH, STEPS = 16, 3


def views(step: int) -> Views:
    numbers = torch.Generator().manual_seed(step)

    def noise(*shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, generator=numbers)

    whole = {name: noise(3, 64, 32) for name in ("query", "key", "original")}
    return {**whole, **{name: noise(1, 3, 64, 32) for name in ("query_patches", "key_patches")}}


def build(*flags: str) -> tuple[MocoV2, torch.optim.Optimizer, Precision]:
    required = ["--recipe", "both-terms-laptop", "--data.root", "none", "--out", "none", "--train.batch", str(BATCH)]
    small = ["--model.channels", "8", "--model.embed-dim", "16", "--contrast.queue", "40", "--model.bn-groups", "1"]
    small += ["--train.no-auto-precision"]
    recipe = read_recipe("both-terms-laptop", "pretrain")
    config = parse(MocoV2Config, [*required, *recipe, *required, *small, *flags], program="pretrain")
    precision = precision_of(config.train, CPU)
    method = method_of(config, Setup(device=CPU, num_images=100, steps_per_epoch=1))
    method = placed(method, precision, compiled=config.train.compile)
    assert isinstance(method, MocoV2)
    optimiser = make_optimiser(config.optim.name, method.learning(), lr=0.01, weight_decay=config.optim.weight_decay)
    return method, optimiser, precision


def losses(method: MocoV2, optimiser: torch.optim.Optimizer, precision: Precision) -> Tensor:
    rows = []
    for step in range(STEPS):
        named = train_step(method, method.student, views(step), step, optimiser, precision=precision)
        rows.append(torch.stack(list(named.values())))
    return torch.stack(rows)


def maps_of(method: MocoV2) -> list[Tensor]:
    """What the convolutions give from now on."""
    seen: list[Tensor] = []
    for module in method.student.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: seen.append(output))
    return seen


def test_channels_last_keeps_maps_channels_last_and_losses_as_they_are() -> None:
    method, *rest = build("--train.channels-last")
    seen = maps_of(method)
    torch.testing.assert_close(losses(method, *rest), losses(*build()), rtol=1e-3, atol=1e-4)
    assert seen
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


def test_bf16_convolves_in_bf16_and_keeps_losses_and_weights_in_single_precision() -> None:
    method, *rest = build("--train.bf16")
    seen, ours = maps_of(method), losses(method, *rest)
    assert {maps.dtype for maps in seen} == {torch.bfloat16}
    assert {ours.dtype, *(weight.dtype for weight in method.teacher.parameters())} == {torch.float32}
    torch.testing.assert_close(ours, losses(*build()), rtol=0.05, atol=0.05)
    assert not torch.equal(ours, losses(*build()))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_fused_optimiser_steps_as_the_plain_one(name: str) -> None:
    runs = []
    for fused in (True, False):
        method, optimiser, precision = build("--optim.name", name)
        assert all(group["fused"] for group in optimiser.param_groups)
        for group in optimiser.param_groups:
            group["fused"] = fused
        runs.append(losses(method, optimiser, precision))
    torch.testing.assert_close(*runs)


def count_graphs() -> None:
    """Run in a process of its own: the tests' checks of types do not go with torch.compile."""
    counter, compile_module, compile_function = CompileCounter(), nn.Module.compile, torch.compile
    nn.Module.compile = lambda module, **how: compile_module(module, backend=counter, **how)
    torch.compile = lambda function, **how: compile_function(function, **{"backend": counter} | how)
    compiled, plain = build("--train.compile"), build()
    torch.testing.assert_close(losses(*compiled), losses(*plain))
    print(counter.frame_count)
    encoders = [exported(method.student.backbone, World()).eval() for method, *_ in (compiled, plain)]
    before = [buffer.clone() for buffer in compiled[0].student.buffers()]
    torch.testing.assert_close(*(encoder(views(0)["query"]) for encoder in encoders))
    torch.testing.assert_close(list(compiled[0].student.buffers()), before, rtol=0, atol=0)


@pytest.mark.slow
def test_compiling_makes_one_whole_graph_for_images_and_one_for_patches() -> None:
    command = [sys.executable, "-W", "error", "-c", "import test_speed_flags; test_speed_flags.count_graphs()"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 4  # of network and momentum encoder; breaks and recompilations would add to them


@pytest.mark.slow
def test_a_compiled_run_comes_to_its_end(pictures: Path, tmp_path: Path, run_upreid) -> None:
    small = ["--model.channels", 4, "--train.batch", 8, "--contrast.queue", 16]
    where = ["--data.root", pictures, "--out", tmp_path / "run", "--train.device", "cpu", "--train.steps", 2]
    how = ["--train.compile", "--train.bf16", "--train.channels-last", "--model.bn-groups", 1]
    done = run_upreid("pretrain", "moco-laptop", *where, *small, *how, "--train.threads", 1, "--train.workers", 0)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "encoder.safetensors").exists()
