"""Every command line of README.md and of the documents runs as it stands there, on small corpora and with two steps.

Lines are those of the indented blocks. A page that a test of its own runs (`commands_of` in another file) is left to that test.
"""

import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import upreid
from upreid.cli import main
from upreid.config.grid import read_grid

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
RUN_ELSEWHERE = {
    page
    for path in Path(__file__).parent.rglob("test_*.py")
    for page in re.findall(r'commands_of\("([\w-]+)\.md"\)', path.read_text())
} | {"own-ablation"}  # tests/study/test_own_data.py

WORLD = "--identities 10 --seed 1 --height 64 --width 32 --workers 1"
ALONE = "--train.device cpu --train.threads 1 --train.workers 0"
COMPUTE = "--device cpu --threads 1 --workers 0"
SMALL = {
    "synth": WORLD,
    "pack": "--workers 1",
    "pretrain": "--contrast.queue 16 --train.batch 8 --train.steps 2 --optim.warmup-epochs 0 " + ALONE,
    "finetune": "--train.identities 2 --train.images 4 --train.steps 2 --input.height 96 --input.width 32 " + ALONE,
    "adapt": "--train.identities 2 --train.images 4 --train.bn-groups 2 --train.steps 2 --cluster.eps 0.4 "
    "--cluster.min-samples 2 --cluster.k1 8 --cluster.k2 2 " + ALONE,
    "evaluate": COMPUTE,
    "transfer": COMPUTE,
    "extract": COMPUTE,
}
"""Options that a command gets after its own: the last of a repeated option wins."""
NARROW = "--model.backbone resnet18 --model.channels 8 --model.last-stride 1 --model.bn-groups 1 --augment.height 64 "
NARROW += "--augment.width 32"
"""Network of a pre-training whose line names none."""
INSTEAD = {"--identity-share": "0.7", "--data.identity-share": "0.7", "--wild": "40"}
"""Values in place of those of a page: a tenth of a few people is nobody."""
PLACE_OF_OUT = {"synth": 1, "pack": 2, "convert": 2, "export": 2}
PROGRAMS = ("upreid", "make", "python", "pip", ".venv/bin/pip")


def commands_of(page: str) -> list[list[str]]:
    """List the commands of a page as words, one after the other as they are typed."""
    text = re.sub(r"```.*?```", "", PAGES[page].read_text(), flags=re.DOTALL).replace("\\\n", " ")
    first_of_loop = dict(re.findall(r"for (\w+) in (\S+)", text))
    found = []
    for line in re.findall(r"(?m)^ {4,}(\S.*)$", text):
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: first_of_loop.get(name[1], name[0]), line), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words[:1] in (["torchrun"], ["srun"]):  # several processes are tested in tests/ranks and tests/faults
            words = words[words.index("upreid") :]
        found += [words] if words and words[0] in PROGRAMS else []
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: crops, labelled sets, pictures to search for, and encoders."""
    folder = tmp_path_factory.mktemp("world")
    corpus = folder / "corpus"
    assert main(["synth", str(corpus), *WORLD.split()]) == 0
    for layout in ("cuhk03-np-labeled", "msmt17-v2", "personx"):
        assert main(["synth", str(folder / "data"), *WORLD.split(), "--layout", layout]) == 0
    for place in (folder / "data", folder / "demo" / "corpus"):
        shutil.copytree(corpus / "market1501", place / "market1501")
    shutil.copytree(folder / "data" / "personx", corpus / "personx")
    paint_people(folder / "many", 44)
    for name in ("crops", "lup"):
        shutil.copytree(corpus / "wild", folder / name)
    pictures = sorted((folder / "crops").rglob("*.jpg"))
    names = [picture.relative_to(folder / "crops").as_posix() for picture in pictures]
    rows = [f"{name},{place // 4}\n" for place, name in enumerate(names)]
    (folder / "crops" / "tracklets.csv").write_text("file,tracklet\n" + "".join(rows))
    (folder / "queries").mkdir()
    for name, picture in zip(("query.jpg", "a.jpg", "b.jpg", "queries/1.jpg"), pictures, strict=False):
        shutil.copy(picture, folder / name)
    small = [*NARROW.split(), *SMALL["pretrain"].split()]
    runs = folder / "runs"
    assert (
        main(["pretrain", "moco-laptop", "--data.root", str(folder / "crops"), "--out", str(runs / "a"), *small]) == 0
    )
    for copy in (runs / "mine", folder / "demo" / "runs" / "upreid"):
        shutil.copytree(runs / "a", copy)
    market = ["--data.name", "market1501", "--data.root", str(corpus / "market1501"), "--init", str(runs / "a")]
    assert main(["finetune", "laptop-bot", *market, "--out", str(runs / "b"), *SMALL["finetune"].split()]) == 0
    return folder


def paint_people(folder: Path, count: int) -> None:
    """Write a set in Market-1501's layout whose people are patterns of noise: enough of them to calibrate on."""
    for person in range(1, count + 1):
        pattern = np.random.default_rng(person).integers(0, 256, (8, 4, 3), dtype=np.uint8)
        for camera, part in ((1, "query"), (2, "bounding_box_test"), (3, "bounding_box_test")):
            part = part if person > 2 else "bounding_box_train"
            (folder / part).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(pattern // camera).resize((32, 64))
            picture.save(folder / part / f"{person:04d}_c{camera}s1_000000_00.jpg")


def test_the_pages_have_commands() -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 60
    assert {"weights", "search", "trackers"} <= RUN_ELSEWHERE <= set(PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_ELSEWHERE and commands_of(page)])
def test_every_command_of_the_page_runs(
    page: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    shutil.copytree(world, here, copy_function=os.link)
    monkeypatch.chdir(here)
    for words in commands_of(page):
        line = " ".join(words)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif words[0] == "python":
            assert words[1] == "-m" or (ROOT / words[1]).is_file(), line
        elif words[0].endswith("pip"):
            assert extras_in(line) <= set(PROJECT["optional-dependencies"]), line
        else:
            assert run(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"
    for example in re.findall(r"```python\n(import timm\n.*?)```", PAGES[page].read_text(), re.DOTALL):
        names: dict[str, Any] = {}
        exec(example, names)
        encoder, pixels = upreid.load_encoder("runs/small"), torch.rand(2, 3, 128, 64)
        torch.testing.assert_close(names["model"](pixels), encoder(pixels))
        picture = Image.open("query.jpg").resize((64, 128))
        torch.testing.assert_close(names["transform"](picture), encoder.transform(picture))


def run(words: list[str]) -> int:
    """Run a command on small corpora; what it writes may be there already. A study's grid is read; tests/study runs studies."""
    name = words[0]
    if name == "study":
        if "--table" not in words:
            read_grid(words[1])
        is_kept = words[-1].startswith("docs/")
        return main([*words[:-1], str(ROOT / words[-1])]) if is_kept else 0
    if "--resume" in words:
        return main(words)
    if name == "calibrate" and "--data.root" in words:
        words[words.index("--data.root") + 1] = "many"
    for option, value in INSTEAD.items():
        if option in words:
            words[words.index(option) + 1] = value
    words = [
        one for word in words for one in (sorted(map(str, Path().glob(word))) if "*" in word else [of_small(word)])
    ]
    out = Path(words[words.index("--out") + 1] if "--out" in words else words[PLACE_OF_OUT.get(name, 0)])
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    network = NARROW.split() if name == "pretrain" and "--model.backbone" not in words else []
    return main([*words, *network, *SMALL.get(name, "").split()])


def of_small(word: str) -> str:
    """Return a picture of the small corpus in place of one of a large corpus."""
    is_missing = word.endswith(".jpg") and not Path(word).exists()
    return str(min(Path(word).parent.glob("*.jpg"))) if is_missing else word


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def extras_in(line: str) -> set[str]:
    """List the extras that a line installs."""
    return {extra for found in re.findall(r"\[([\w,]+)\]", line) for extra in found.split(",")}
