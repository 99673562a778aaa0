import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from upreid.commands.diagnose import gradient_norms, pairs_of_people, take_up, views_of
from upreid.data.records import Record
from upreid.runtime.compute import Compute

TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16 --train.steps 4"
ALONE = "--train.threads 1 --train.workers 0 --train.device cpu"
COMPUTE = Compute(device=torch.device("cpu"), threads=1, workers=0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from upreid.commands.synth import synthesise
    from upreid.synthetic.settings import CorpusSettings

    out = tmp_path_factory.mktemp("people") / "corpus"
    synthesise(out, CorpusSettings(identities=6, height=64, width=32), workers=1)
    return out


def pretrained(corpus: Path, out: Path, recipe: str, *flags: str) -> Path:
    from upreid.cli import main

    words = [*TINY.split(), *ALONE.split(), *flags]
    assert main(["pretrain", recipe, "--data.root", str(corpus / "wild"), "--out", str(out), *words]) == 0
    return out


@pytest.mark.parametrize(
    ("recipe", "terms", "flags"),
    [("moco-laptop", 1, []), ("both-terms-laptop", 3, []), ("both-terms-laptop", 3, ["--intrinsic.source", "pixels"])],
)
def test_a_run_is_looked_into_and_left_as_it_is(
    recipe: str, terms: int, flags: list[str], corpus: Path, tmp_path: Path
) -> None:
    from upreid.cli import main

    run = pretrained(corpus, tmp_path / "run", recipe, *flags)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    moved = (corpus / "wild").rename(tmp_path / "wild")
    data = ["--unlabelled", str(moved), "--data.name", "market1501", "--data.root", str(corpus / "market1501")]
    where = ["--out", str(tmp_path / "found.json"), "--threads", "1", "--workers", "0", "--device", "cpu"]
    assert main(["diagnose", str(run), *data, "--images", "24", *where]) == 0
    moved.rename(corpus / "wild")
    found = json.loads((tmp_path / "found.json").read_text())
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    gradients = {name: value for name, value in found.items() if name.startswith("gradient_")}
    assert len(gradients) == terms
    assert all(value > 0 for value in gradients.values())
    assert ("head_patch_within" in found) == (recipe == "both-terms-laptop")
    assert 0 < found["patch_within"] < 100  # of eight patches, also where no term looks at them
    assert found["position_share"] is not None
    assert 0 <= found["same_camera"] <= 100
    assert found["protocol"]["step"] == 4


def test_without_a_labelled_set_the_labelled_part_is_left_out(corpus: Path, tmp_path: Path, capsys) -> None:
    from upreid.cli import main

    run = pretrained(corpus, tmp_path / "run", "moco-laptop")
    capsys.readouterr()
    assert main(["diagnose", str(run)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"alignment", "uniformity", "gradient_contrast", "patch_within"} < set(found)
    assert not {"alignment_people", "uniformity_features", "same_camera", "same_camera_chance"} & set(found)
    assert found["protocol"]["dataset"] is None


def test_gradient_norms_are_those_of_a_training_step_and_move_no_statistics(corpus: Path, tmp_path: Path) -> None:
    run = take_up(
        pretrained(
            corpus, tmp_path / "run", "both-terms-laptop", "--intrinsic.weight", "2", "--train.no-auto-precision"
        ),
        COMPUTE,
    )
    views = next(views_of(run, images=8, seed=3))
    before = {name: tensor.clone() for name, tensor in run.method.state_dict().items()}
    found = gradient_norms(run, views)
    torch.testing.assert_close(dict(run.method.state_dict()), before, rtol=0, atol=0)

    method, whole = run.method, slice(0, 8)
    method.train()
    targets = method.targets(views, run.step)
    for term, weight in {"contrast": 1.0, "consistency": 1.0, "intrinsic": 2.0}.items():
        method.student.zero_grad()
        losses = method.losses(method.student(*method.inputs(views, whole)), views, targets, whole)
        (weight * losses[term]).backward()
        gradients = [p.grad for p in method.student.backbone.parameters() if p.grad is not None]
        squares = sum(float((gradient.double() ** 2).sum()) for gradient in gradients)
        assert found[term] == pytest.approx(squares**0.5, rel=1e-4)


def test_a_state_of_another_run_is_refused(corpus: Path, tmp_path: Path) -> None:
    from upreid.errors import InputError

    run = pretrained(corpus, tmp_path / "run", "moco-laptop")
    config = json.loads((run / "config.json").read_text())
    config["settings"]["train"]["seed"] = 9
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="another configuration"):
        take_up(run, COMPUTE)


def test_pairs_show_one_person_from_two_cameras() -> None:
    one = Record(path=Path("a"), person=1, camera=1)
    records = [one, replace(one, camera=2), replace(one, person=2), replace(one, camera=2), replace(one, person=2)]
    assert pairs_of_people(records) == [(0, 1), (0, 3)]
