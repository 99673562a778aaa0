"""Adaptation in processes of its own: killed at random moments, on two ranks, and every recipe on the layouts that it is for."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from upreid.cli import main
from upreid.config.adapt import AdaptConfig
from upreid.config.command_line import parse_training
from upreid.config.recipe import recipe_names
from upreid.data.settings import UNLABELLED

pytestmark = pytest.mark.slow

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
SMALL += ["--train.identities", "4", "--train.images", "4"]
LOOSE = ["--cluster.eps", "0.4", "--cluster.min-samples", "2", "--cluster.k1", "8", "--cluster.k2", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
CLUSTERS_ALONE = "laptop-uda --memory.kind clusters --cluster.reliability-gap 0"
PROXIES = "laptop-usl --memory.kind camera-proxies"
KILLS = {"laptop-usl": (10, 30), CLUSTERS_ALONE: (3, 12), "laptop-uda": (2, 8), PROXIES: (2, 8)}
"""How often a run of a recipe with flags is killed, and its epochs."""
SYNTH = ["--version", "1", "--identities", "24", "--seed", "1", "--height", "32", "--width", "16", "--workers", "1"]


def begin(recipe: str, corpus: Path, out: Path, *flags: str) -> list[str]:
    data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus / "market1501")]
    data += ["--source.root", str(corpus / "personx")] if recipe == "laptop-uda" else []
    return ["adapt", recipe, *data, "--out", str(out), *SMALL, *LOOSE, *ALONE, *flags]


def command(words: list[str], ranks: int = 1) -> list[str]:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    return [sys.executable, "-m", *launcher, "upreid", *words]


def finish(words: list[str], ranks: int = 1) -> None:
    done = subprocess.run(command(words, ranks), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    finish(["synth", str(out), *SYNTH])
    finish(["synth", str(out), *SYNTH, "--layout", "personx"])
    return out


def starts(out: Path) -> int:
    """Count how often a run has come to its steps."""
    log = out / "logs" / "adapt.log"
    return log.read_text().count("resuming is bit-exact") if log.exists() else 0


def kill_at_a_random_moment(words: list[str], out: Path, chance: random.Random) -> None:
    """Start, wait until the run is at its features, clusters and steps, and kill it a little later."""
    before = starts(out)
    process = subprocess.Popen(command(words), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while starts(out) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.8))
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("words", KILLS)
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(words: str, corpus: Path, tmp_path: Path) -> None:
    (recipe, *flags), (kills, epochs) = words.split(), KILLS[words]
    long = ["--train.iterations", "8", "--train.epochs", str(epochs), "--train.save-every", "3", *flags]
    finish(begin(recipe, corpus, tmp_path / "whole", *long))
    chance, part = random.Random(1), tmp_path / "part"
    for _ in range(kills):
        is_begun = (part / "config.json").exists()
        command_line = ["adapt", "--resume", str(part)] if is_begun else begin(recipe, corpus, part, *long)
        kill_at_a_random_moment(command_line, part, chance)
    finish(["adapt", "--resume", str(part)])
    for name in ("encoder.safetensors", "retrieval.json"):
        assert (part / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


SLOW = """
import sys, time
from pathlib import Path
from upreid import cli
from upreid.retrieval import clustering
from upreid.training.feeds import clustered

phase, epoch, mark = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
places = {"features": (clustered, "encode_batches"), "neighbours": (clustering, "neighbours"), "clusters": (clustering, "dbscan")}
module, name = places[phase]
work, calls = getattr(module, name), []

def linger(*given, **settings):
    calls.append(1)
    if len(calls) == epoch + 1:
        mark.touch()
        time.sleep(3)
    return work(*given, **settings)

setattr(module, name, linger)
sys.exit(cli.main(sys.argv[4:]))
"""
"""A run that waits in a phase of a clustering until a signal has reached it."""


SHORT = ["--train.iterations", "4", "--train.epochs", "3", "--train.save-every", "100"]


def stop_within(phase: str, epoch: int, corpus: Path, folder: Path, ranks: int = 1) -> None:
    """Send SIGTERM while a run is in a phase of the clustering before an epoch, and see that it takes no further step."""
    (folder / "slow.py").write_text(SLOW)
    words = [phase, str(epoch), str(folder / "mark"), *begin("laptop-usl", corpus, folder / "part", *SHORT)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    with (folder / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, *launcher, str(folder / "slow.py"), *words], stderr=said)
        deadline = time.monotonic() + 120
        while not (folder / "mark").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=120) != 0
    assert f"stopped at step {4 * epoch} of 12; go on with: " in (folder / "said").read_text()


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(begin("laptop-usl", corpus, out, *SHORT))
    return out


@pytest.mark.parametrize(("phase", "epoch"), [("features", 0), ("clusters", 2)])
def test_a_request_to_stop_is_obeyed_within_a_clustering_and_the_run_goes_on_to_the_same_bytes(
    phase: str, epoch: int, corpus: Path, whole: Path, tmp_path: Path
) -> None:
    stop_within(phase, epoch, corpus, tmp_path)
    finish(["adapt", "--resume", str(tmp_path / "part")])
    for name in ("encoder.safetensors", "retrieval.json"):
        assert (tmp_path / "part" / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.ranks
def test_two_ranks_agree_to_stop_within_a_clustering(corpus: Path, tmp_path: Path) -> None:
    stop_within("neighbours", 1, corpus, tmp_path, ranks=2)
    assert (tmp_path / "part" / "state.pt").exists()


LOSSES = {
    "laptop-usl": ("cluster",),
    PROXIES: ("camera", "across_cameras"),
    CLUSTERS_ALONE: ("cluster", "source"),
    "laptop-uda": ("cluster", "source"),
}
"""A recipe with flags, and the losses of its journal."""


@pytest.mark.ranks
@pytest.mark.parametrize("words", LOSSES)
def test_two_ranks_compute_what_one_process_does_with_the_same_batchnorm_groups(
    words: str, corpus: Path, tmp_path: Path
) -> None:
    recipe, *flags = words.split()
    short = ["--train.iterations", "4", "--train.epochs", "2", "--train.no-auto-precision", *flags]
    for ranks in (1, 2):
        finish(begin(recipe, corpus, tmp_path / str(ranks), *short), ranks)
    rows = [
        [json.loads(row) for row in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("1", "2")
    ]
    for loss in LOSSES[words]:
        ours, theirs = ([row[loss] for row in some if loss in row] for some in rows)
        assert len(ours) == 8
        assert theirs == pytest.approx(ours, rel=1e-3)
    found = [[row["clusters"]["clusters"] for row in some if "clusters" in row] for some in rows]
    assert found[0] == found[1]


@pytest.mark.parametrize("recipe", recipe_names("adapt"))
def test_every_recipe_starts_on_its_layout(recipe: str, tmp_path: Path) -> None:
    words = ["adapt", recipe, "--init", "random", "--out", str(tmp_path / "run")]
    config = parse_training("adapt", [*words[1:], "--data.root", "x"])
    assert isinstance(config, AdaptConfig)
    name = config.data.name
    folders = {}
    for flag, one, seed in (("--data.root", name, "1"), ("--source.root", config.source.name, "2")):
        if one is None:
            continue
        layout = "market1501" if one == UNLABELLED else one.removesuffix("-trainval")
        out = tmp_path / seed
        assert main(["synth", str(out), *SYNTH, "--seed", seed, "--layout", layout]) == 0
        folders[flag] = out / ("wild" if one == UNLABELLED else layout)
    is_vit = config.random.backbone.startswith("vit")
    backbone = "vit_tiny_patch16_224" if is_vit else "resnet18"
    network = ["--random.backbone", backbone, "--input.height", "32", "--input.width", "16"]
    network += SMALL[2:] if is_vit else SMALL  # a ViT has no channels
    places = [word for flag, folder in folders.items() for word in (flag, str(folder))]
    assert main([*words, *network, *LOOSE, *ALONE, "--train.steps", "2", *places]) == 0
    assert (tmp_path / "run" / "retrieval.json").exists() == (name != UNLABELLED)
