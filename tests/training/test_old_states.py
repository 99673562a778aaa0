"""States that version 0.1.0 saved in format 1, made by its own code, go on.

Their runs were tiny trainings of four steps on `upreid synth corpus --version 1 --identities 8 --height 32 --width 16`; the
folders hold what there was after two. The flags stand in each config.json.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from upreid.cli import main
from upreid.config.files import to_flags
from upreid.models.encoder import load_encoder
from upreid.training.state import upgrade
from upreid.training.states import load_state

SAVED = Path(__file__).parent / "format1"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("old")
    size = ["--version", "1", "--identities", "8", "--height", "32", "--width", "16", "--workers", "1"]
    assert main(["synth", str(root / "corpus"), *size]) == 0
    return root


@pytest.mark.parametrize("program", ["pretrain", "finetune"])
def test_a_run_saved_in_format_1_goes_on_as_a_new_run_goes(
    program: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus)  # the run was started with a relative path to its images
    shutil.copytree(SAVED / program, corpus / program)
    assert main([program, "--resume", program]) == 0
    settings = json.loads((SAVED / program / "config.json").read_text())["settings"]
    recipe = settings.pop("recipe")
    flags = to_flags(settings | {"out": f"{program}-whole"})
    assert main([program, recipe, *flags, "--train.no-auto-precision"]) == 0  # younger than those runs
    resumed, whole = (load_encoder(Path(name) / "encoder.safetensors") for name in (program, f"{program}-whole"))
    assert_close(resumed.state_dict(), whole.state_dict(), rtol=1e-3, atol=1e-4)  # processors round differently
    assert resumed.header == whole.header
    journal = [json.loads(line)["step"] for line in Path(program, "metrics.jsonl").read_text().splitlines()]
    assert journal == [0, 1, 2, 3]
    assert load_state(Path(program) / "state.pt").keys() == load_state(Path(f"{program}-whole") / "state.pt").keys()


def test_a_fine_tuning_in_format_1_is_known_by_the_header_of_its_encoder() -> None:
    state = upgrade(load_state(SAVED / "finetune" / "state.pt"))
    assert state["header"] is None
    assert state["feed"]["fingerprint"] is None
    assert all(name.startswith("student.") for name in [*state["parameters"], *state["buffers"]])
    assert state["shared"] == {}


def test_queues_in_format_1_take_their_places() -> None:
    before = load_state(SAVED / "pretrain" / "state.pt")
    state = upgrade(before)
    assert torch.equal(state["shared"]["keys.keys"], before["keys"]["keys"])
    originals = state["shared"]["intra_identity.consistency.originals.keys"]
    assert torch.equal(originals, before["originals"]["keys"])
    assert state["feed"]["images"] == before["images"]
