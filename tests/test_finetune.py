import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from upreid.commands import evaluate, finetune, split
from upreid.commands.starting_point import starting_point
from upreid.config.command_line import parse
from upreid.config.commands import EvaluateConfig, SplitConfig
from upreid.config.finetune import FinetuneConfig
from upreid.config.recipe import read_recipe
from upreid.errors import InputError, RunError
from upreid.models.encoder import load_encoder
from upreid.runtime.files import sha256
from upreid.training import loop
from upreid.training.feeds import inputs

NUM_PEOPLE = 12
TINY = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.steps", "3"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
"""Tests run side by side; two threads that wait for each other on a busy core are many times slower than one."""


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people to train on and twelve others to find; stripes of grey under the strong colour of a camera."""
    root = tmp_path_factory.mktemp("market")
    for person in range(1, 2 * NUM_PEOPLE + 1):
        clothes = np.random.default_rng(person).uniform(0, 90, (4, 1, 1))
        for camera, colour in enumerate([(150, 20, 20), (20, 150, 20), (20, 20, 150)], start=1):
            for shot in range(2):
                noise = np.random.default_rng((person, camera, shot)).uniform(0, 15, (4, 2, 3))
                pixels = Image.fromarray((clothes + noise + colour).astype(np.uint8))
                test = "query" if shot == 0 and camera == 1 else "bounding_box_test"
                folder = root / ("bounding_box_train" if person <= NUM_PEOPLE else test)
                folder.mkdir(exist_ok=True)
                pixels.resize((16, 32), Image.Resampling.NEAREST).save(
                    folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png"
                )
    return root


def config(market: Path, out: Path, *flags: str, init: str = "random") -> FinetuneConfig:
    data = ["--data.name", "market1501", "--data.root", str(market), "--out", str(out)]
    recipe = ["--recipe", "laptop-bot", *read_recipe("laptop-bot", "finetune")]
    words = [*recipe, "--init", init, *data, *TINY, *QUICK, *ALONE, *flags]
    return parse(FinetuneConfig, words, program="finetune")


def tuned(wanted: FinetuneConfig) -> dict[str, Any]:
    """Run to the end, and read what was measured."""
    assert finetune.run(wanted) == 0
    return json.loads((wanted.out / "retrieval.json").read_text())


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def start(market: Path, tmp_path: Path) -> str:
    """An encoder file that knows its size and normalisation."""
    flags = ["--random.height", "48", "--random.width", "24", "--random.mean", "0.3", "0.4", "0.5"]
    finetune.run(config(market, tmp_path / "start", *flags))
    return str(tmp_path / "start" / "encoder.safetensors")


def test_a_run_leaves_what_it_should_and_nothing_else(market: Path, tmp_path: Path) -> None:
    result = tuned(config(market, tmp_path / "run"))
    files = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert files - {".lock"} == {
        "config.json",
        "metrics.jsonl",
        "retrieval.json",
        "encoder.safetensors",
        "state.pt",
        "logs/finetune.log",
    }
    assert result["protocol"]["encoder_sha256"] == sha256(tmp_path / "run" / "encoder.safetensors")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["train"]["steps"] == 3


@pytest.mark.parametrize("neck", ["after", "before"])
def test_evaluating_the_saved_encoder_gives_the_same_numbers_on_the_side_of_the_neck_that_its_run_tested(
    neck: str, market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tuned(config(market, tmp_path / "run", "--test.neck", neck))
    words = ["--encoder", str(tmp_path / "run" / "encoder.safetensors"), "--data.name", "market1501"]
    words += ["--data.root", str(market), "--device", "cpu", "--threads", "1", "--workers", "0"]
    evaluate.run(parse(EvaluateConfig, words, program="evaluate"))
    theirs = json.loads(capsys.readouterr().out)
    protocols = ours.pop("protocol"), theirs.pop("protocol")
    assert ours == theirs
    shared = protocols[0].keys() & protocols[1].keys()
    assert {name: protocols[0][name] for name in shared} == {name: protocols[1][name] for name in shared}
    assert protocols[0]["neck"] == neck


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(market: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        finetune.run(config(market, tmp_path / name, "--train.seed", seed))
    a, b, c = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    without_time = [[{**line, "seconds": 0} for line in journal(tmp_path / name)] for name in "ab"]
    assert without_time[0] == without_time[1]


def test_images_kept_in_memory_and_images_read_again_train_alike(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune.run(config(market, tmp_path / "kept"))
    monkeypatch.setattr(inputs, "CACHE_BYTES", 0)
    finetune.run(config(market, tmp_path / "read"))
    kept, read = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("kept", "read"))
    assert kept == read


def test_the_header_decides_what_no_flag_does_and_the_run_says_so(
    market: Path, tmp_path: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune.run(config(market, tmp_path / "run", "--input.width", "32", init=start))
    header = load_encoder(tmp_path / "run" / "encoder.safetensors").header
    assert (header.backbone, header.channels, header.last_stride) == ("resnet18", 8, 1)
    assert (header.height, header.width, header.mean) == (48, 32, (0.3, 0.4, 0.5))
    said = capsys.readouterr().err
    for line in ("backbone resnet18 from the encoder's header", "height 48 from the encoder's header"):
        assert line in said
    assert "mean (0.3, 0.4, 0.5) from the encoder's header" in said
    assert "width 32 from --input.width" in said
    assert "width 32 from --input.width" in (tmp_path / "run" / "logs" / "finetune.log").read_text()


def test_a_vit_of_another_input_size_can_be_read_back(market: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "vit.toml"
    recipe.write_text('program = "finetune"\n[random]\nbackbone = "vit_tiny_patch16_224"\nheight = 64\nwidth = 32\n')
    words = [
        "--recipe",
        str(recipe),
        *read_recipe(str(recipe), "finetune"),
        "--input.height",
        "96",
        "--train.steps",
        "1",
    ]
    words += ["--init", "random", "--data.name", "market1501", "--data.root", str(market), "--train.identities", "4"]
    assert (
        finetune.run(parse(FinetuneConfig, [*words, *ALONE, "--out", str(tmp_path / "run")], program="finetune")) == 0
    )
    encoder = load_encoder(tmp_path / "run" / "encoder.safetensors")
    assert (encoder.header.height, encoder.header.width) == (96, 32)
    assert encoder.before_neck(torch.zeros(1, 3, 96, 32)).isfinite().all()


def test_training_goes_on_from_the_weights_of_the_file_and_with_a_new_neck(
    market: Path, tmp_path: Path, start: str
) -> None:
    standing = ["--optim.lr", "1e-12", "--optim.weight-decay", "0", "--train.steps", "1"]
    finetune.run(config(market, tmp_path / "run", *standing, init=start))
    before, after = (load_encoder(path) for path in (start, tmp_path / "run" / "encoder.safetensors"))
    for name, weight in before.backbone.named_parameters():
        assert_close(after.backbone.get_parameter(name), weight, rtol=0, atol=1e-6)
    assert after.get_buffer("head.neck.num_batches_tracked") == 1


def test_the_neck_that_is_saved_has_no_shift(market: Path, tmp_path: Path) -> None:
    finetune.run(config(market, tmp_path / "run"))
    neck = load_encoder(tmp_path / "run" / "encoder.safetensors").get_submodule("head.neck")
    assert isinstance(neck, torch.nn.BatchNorm1d)
    assert torch.equal(neck.bias, torch.zeros_like(neck.bias))
    assert not torch.equal(neck.weight, torch.ones_like(neck.weight))
    assert neck.num_batches_tracked == 3


def test_the_journal_has_every_step_once_and_begins_with_an_undecided_classifier(market: Path, tmp_path: Path) -> None:
    finetune.run(config(market, tmp_path / "run", "--optim.warmup-epochs", "1"))
    lines = journal(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert all(math.isfinite(line[name]) for line in lines for name in ("identity", "triplet"))
    assert lines[0]["identity"] == pytest.approx(math.log(NUM_PEOPLE), rel=0.02)
    assert 0 < lines[0]["lr"] < lines[1]["lr"]


def test_a_share_of_the_people_trains_so_many_and_the_result_says_so(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tuned(config(market, tmp_path / "run", "--data.identity-share", "0.5"))
    assert "36 images of 6 people" in capsys.readouterr().err
    assert (result["protocol"]["identity_share"], result["protocol"]["split_seed"]) == (0.5, 1)
    assert (result["protocol"]["training_people"], len(result["protocol"]["split_hash"])) == (6, 16)
    assert journal(tmp_path / "run")[0]["identity"] == pytest.approx(math.log(6), rel=0.02)


def test_the_triplet_loss_takes_part_with_its_weight(market: Path, tmp_path: Path) -> None:
    for name, weight in (("with", "1"), ("without", "0")):
        finetune.run(config(market, tmp_path / name, "--loss.triplet-weight", weight))
    with_it, without = (journal(tmp_path / name) for name in ("with", "without"))
    assert with_it[0]["triplet"] == without[0]["triplet"]
    assert with_it[2]["triplet"] != without[2]["triplet"]


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_terms(market: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not finite at step \d+: .*identity is nan.*triplet is nan"):
        finetune.run(config(market, tmp_path / "run", "--optim.lr", "1e30", "--optim.warmup-epochs", "0"))
    assert not (tmp_path / "run" / "encoder.safetensors").exists()
    assert not (tmp_path / "run" / "retrieval.json").exists()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--train.identities", "0"),
        ("--train.images", "1"),
        ("--train.steps", "0"),
        ("--train.epochs", "0"),
        ("--input.pad", "-1"),
        ("--input.flip-probability", "1.5"),
        ("--input.erase-probability", "-0.1"),
        ("--loss.smoothing", "2"),
        ("--loss.margin", "nan"),
        ("--optim.lr", "0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_by_flag_before_anything_is_written(
    market: Path, tmp_path: Path, flag: str, value: str
) -> None:
    with pytest.raises(InputError, match=rf"^{flag} got '{value}'; give a"):
        finetune.run(config(market, tmp_path / "run", flag, value))
    assert not (tmp_path / "run").exists()


def test_more_people_per_batch_than_there_are_is_refused_with_both_numbers(market: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"batches of 16 people, .* has {NUM_PEOPLE}"):
        finetune.run(config(market, tmp_path / "run", "--train.identities", "16"))
    assert not (tmp_path / "run").exists()


def test_a_start_that_is_neither_a_file_nor_random_is_refused_with_what_is(market: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"imagenet.*encoder\.safetensors.*random"):
        finetune.run(config(market, tmp_path / "run", init="imagenet"))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_files_in_it_is_refused_and_left_as_it_was(market: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        finetune.run(config(market, tmp_path / "run"))
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "run" / "config.json").exists()


def test_training_finds_unseen_people_that_a_random_start_does_not(market: Path, tmp_path: Path) -> None:
    still = tuned(config(market, tmp_path / "still", "--optim.lr", "1e-12"))
    longer = ["--train.steps", "120", "--optim.lr", "3e-3", "--optim.warmup-epochs", "1"]
    trained = tuned(config(market, tmp_path / "trained", *longer))
    assert trained["mAP"] > still["mAP"] + 20  # 8 -> 55 when this was written
    first, last = journal(tmp_path / "trained")[0], journal(tmp_path / "trained")[-1]
    assert last["identity"] < first["identity"]
    assert last["triplet"] < first["triplet"]


MGN = ["--head.name", "mgn", "--head.pool", "gem", "--head.extra-bn", "--head.embed-dim", "8", "--random.height", "48"]
MGN += ["--loss.identity", "circle", "--loss.triplet", "soft", "--loss.triplet-on", "after"]


def test_mgn_trains_saves_and_retrieves_with_eight_features(market: Path, tmp_path: Path) -> None:
    result = tuned(config(market, tmp_path / "run", *MGN, "--test.neck", "before", "--test.metric", "euclidean"))
    assert (result["protocol"]["head"], result["protocol"]["neck"]) == ("mgn", "before")
    assert (result["protocol"]["dimensions"], result["protocol"]["metric"]) == (64, "euclidean")
    assert all(math.isfinite(line["identity"]) for line in journal(tmp_path / "run"))


def test_the_backbone_stands_still_while_it_is_frozen_and_its_statistics_too(market: Path, tmp_path: Path) -> None:
    flags = [*MGN, "--optim.lr", "0.01", "--optim.warmup-epochs", "0"]
    for name, epochs in (("still", "9"), ("later", "0.25")):
        finetune.run(config(market, tmp_path / name, *flags, "--train.steps", "4", "--train.freeze-epochs", epochs))
    untouched = starting_point(config(market, tmp_path / "none", *flags))[0].backbone.state_dict()
    still, later = (load_encoder(tmp_path / name / "encoder.safetensors") for name in ("still", "later"))
    for name, value in still.backbone.state_dict().items():
        assert torch.equal(value, untouched[name]), name
    own = still.backbone.get_parameter("layer4.0.conv1.weight")
    copies = [still.get_parameter(f"head.branches.{branch}.1.0.conv1.weight") for branch in (0, 1)]
    assert all(torch.equal(copy, own) for copy in copies)
    assert not torch.equal(later.backbone.get_parameter("conv1.weight"), untouched["conv1.weight"])
    assert later.backbone.get_buffer("bn1.num_batches_tracked") > 0


def test_a_frozen_start_still_teaches_head_and_classifier(market: Path, tmp_path: Path) -> None:
    flags = ["--train.freeze-epochs", "99", "--train.steps", "30", "--optim.lr", "0.01", "--optim.warmup-epochs", "0"]
    finetune.run(config(market, tmp_path / "run", *flags))
    lines = journal(tmp_path / "run")
    assert lines[-1]["identity"] < lines[0]["identity"] - 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flags"), [("bot", []), ("mgn", MGN)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    market: Path,
    tmp_path: Path,
    name: str,
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = [*flags, "--train.steps", "8", "--train.save-every", "3", "--train.freeze-epochs", "1.5"]
    whole = tuned(config(market, tmp_path / "whole", *wanted))
    part = config(market, tmp_path / "part", *wanted)
    real, calls = loop.one_step, []

    def failing(*words: Any) -> None:
        calls.append(words)
        if len(calls) == 5:
            raise KeyboardInterrupt
        real(*words)

    monkeypatch.setattr(loop, "one_step", failing)
    with pytest.raises(KeyboardInterrupt):
        finetune.run(part)
    monkeypatch.setattr(loop, "one_step", real)
    assert finetune.resume(tmp_path / "part") == 0
    ours, theirs = ((tmp_path / run / "encoder.safetensors").read_bytes() for run in ("part", "whole"))
    assert ours == theirs
    resumed = json.loads((tmp_path / "part" / "retrieval.json").read_text())
    assert resumed == whole
    assert [line["step"] for line in journal(tmp_path / "part")] == list(range(8))
    finetune.resume(tmp_path / "part")  # it had come to its end: only the evaluation is done again
    assert (tmp_path / "part" / "encoder.safetensors").read_bytes() == theirs
    state = tmp_path / "part" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1])
    assert finetune.resume(tmp_path / "part") == 0
    assert "going back to the state before, of step 6" in capsys.readouterr().err
    assert (tmp_path / "part" / "encoder.safetensors").read_bytes() == theirs
    assert [line["step"] for line in journal(tmp_path / "part")] == list(range(8))


def test_a_split_file_decides_what_trains(market: Path, tmp_path: Path) -> None:
    words = ["--name", "market1501", "--root", str(market), "--out", str(tmp_path / "s.json"), "--image-share", "0.5"]
    split.run(parse(SplitConfig, words, program="split"))
    by_file = tuned(config(market, tmp_path / "file", "--data.split", str(tmp_path / "s.json")))
    by_share = tuned(config(market, tmp_path / "share", "--data.image-share", "0.5"))
    assert by_file["mAP"] == by_share["mAP"]
    assert by_file["protocol"]["split_hash"] == by_share["protocol"]["split_hash"]
    assert by_file["protocol"]["training_images"] == 36
    assert by_share["protocol"]["trained_on"] == "market1501, 50% of the images (split 1)"
    both = config(market, tmp_path / "both", "--data.split", str(tmp_path / "s.json"), "--data.image-share", "0.5")
    with pytest.raises(InputError, match="leave the shares out"):
        finetune.run(both)
    with pytest.raises(InputError, match="inside the data set's folder"):
        split.run(parse(SplitConfig, [*words, "--out", str(market / "s.json")], program="split"))


def test_half_precision_and_channels_last_train_too(market: Path, tmp_path: Path) -> None:
    finetune.run(config(market, tmp_path / "run", *MGN, "--train.bf16", "--train.channels-last"))
    assert all(math.isfinite(line["identity"] + line["triplet"]) for line in journal(tmp_path / "run"))


def test_people_in_train_and_test_at_once_are_refused_before_training(market: Path, tmp_path: Path) -> None:
    shutil.copytree(market, tmp_path / "market")
    image = next((tmp_path / "market" / "bounding_box_train").iterdir())
    shutil.copy(image, tmp_path / "market" / "bounding_box_test" / image.name)
    with pytest.raises(InputError, match=r"1 people both train and test.*upreid doctor"):
        finetune.run(config(tmp_path / "market", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_longer_run_starts_from_the_state_of_a_finished_one_where_rates_fall_in_steps(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ["--optim.schedule", "steps", "--optim.milestones", "99", "--optim.warmup-epochs", "0"]
    short, whole = (config(market, tmp_path / name, *steps, "--train.steps", n) for name, n in (("a", "4"), ("b", "8")))
    finetune.run(short)
    finetune.run(whole)
    longer = ["--train.steps", "8", "--out", str(tmp_path / "c")]
    assert finetune.resume(tmp_path / "a", longer) == 0
    lines = journal(tmp_path / "c")
    assert lines[0] == {"step": 4, "starts_from": str(tmp_path / "a")}
    assert [line["step"] for line in lines[1:]] == [4, 5, 6, 7]
    assert [line["identity"] for line in lines[1:]] == [line["identity"] for line in journal(tmp_path / "b")[4:]]
    states = [load_encoder(tmp_path / name / "encoder.safetensors").state_dict() for name in ("b", "c")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    with pytest.raises(InputError, match=r"come to step 4, .* end at 3"):
        finetune.resume(tmp_path / "a", ["--train.steps", "3", "--out", str(tmp_path / "d")])
    assert not (tmp_path / "d").exists()
    finetune.run(config(market, tmp_path / "cosine"))
    with pytest.raises(InputError, match="cosine"):
        finetune.resume(tmp_path / "cosine", ["--train.steps", "8", "--out", str(tmp_path / "e")])


def test_a_fine_tuning_refuses_to_go_on_with_other_images_and_does_not_read_its_start_again(
    market: Path, tmp_path: Path
) -> None:
    shutil.copytree(market, tmp_path / "market")
    finetune.run(config(tmp_path / "market", tmp_path / "start"))
    start = tmp_path / "start" / "encoder.safetensors"
    whole = config(tmp_path / "market", tmp_path / "run", "--train.save-every", "1", init=str(start))
    finetune.run(whole)
    expected = (tmp_path / "run" / "encoder.safetensors").read_bytes()
    start.unlink()
    (tmp_path / "run" / "states" / "step-000000002.pt").replace(tmp_path / "run" / "state.pt")
    assert finetune.resume(tmp_path / "run") == 0
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == expected
    image = next((tmp_path / "market" / "bounding_box_train").iterdir())
    image.rename(image.with_name(image.name.replace("s1_0000", "s1_0001")))
    with pytest.raises(InputError, match="others than when the run was saved"):
        finetune.resume(tmp_path / "run")
