"""A study whose settings are adaptations without labels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from upreid.config.grid import grid_of
from upreid.config.recipe import load
from upreid.errors import InputError

GRID = """
purpose = "choosing"
corpus = "people"
seeds = [1]
compare = [["moco", "random"]]
[corpora.people]
version = 2
identities = 24
seed = 3
flags = { height = 32, width = 16, wild = 60 }
[corpora.others]
version = 2
identities = 12
seed = 4
flags = { height = 32, width = 16, wild = 20 }
[flags]
train = { steps = 4, batch = 8 }
model = { channels = 4, bn_groups = 2 }
contrast = { queue = 32 }
augment = { height = 32, width = 16 }
[arms]
random = {}
moco = { recipe = "moco-laptop" }
[settings.usl]
program = "adapt"
recipe = "laptop-usl"
[settings.usl.flags]
choose = ["eps", "0.3", "0.4"]
trial_epochs = 1.0
random = { channels = 4, height = 32, width = 16 }
cluster = { min_samples = 2, k1 = 8, k2 = 2 }
train = { epochs = 2.0, iterations = 2, identities = 2, images = 2, bn_groups = 2 }
[settings.uda]
program = "adapt"
recipe = "laptop-uda"
source = "others"
[settings.uda.flags]
random = { channels = 4, height = 32, width = 16 }
cluster = { min_samples = 2, k1 = 8, k2 = 2 }
train = { epochs = 2.0, iterations = 2, identities = 2, images = 2, bn_groups = 2 }
[settings.again]
program = "evaluate"
of = "usl"
"""


@pytest.mark.slow
def test_a_study_adapts_every_encoder_with_settings_that_no_label_chose(tmp_path: Path) -> None:
    (tmp_path / "usl.toml").write_text(GRID)
    words = ["study", "usl.toml", "--out", "out", "--device", "cpu", "--slots", "1"]
    done = subprocess.run([sys.executable, "-m", "upreid", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Adaptation without labels with `laptop-usl`, then retrieval" in done.stdout
    assert "Adaptation without labels with `laptop-uda`" in done.stdout
    assert "with the labels of `others` (for choosing)" in done.stdout
    for arm in ("random", "moco"):
        usl, uda, again = (
            json.loads((tmp_path / "out" / "results" / stage / f"{arm}-s1.json").read_text())
            for stage in ("usl", "uda", "again")
        )
        assert uda["protocol"]["source"]["people"] == 6
        assert usl["protocol"]["choice"]["chosen"] in ("0.3", "0.4")
        assert usl["metrics"]["mAP"] == again["metrics"]["mAP"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('source = "others"', 'source = "other"', "names corpus 'other'; did you mean 'others'"),
        ('source = "others"', 'source = "people"', "must be a labelled corpus that is not adapted to"),
        ('of = "usl"', 'of = "usl"\nsource = "others"', "only program = 'adapt' learns from a source"),
    ],
)
def test_a_source_that_cannot_be_one_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    (tmp_path / "uda.toml").write_text(GRID.replace(before, after))
    with pytest.raises(InputError, match=message):
        grid_of(load(tmp_path / "uda.toml"), "study 'uda'")


def test_a_grid_without_a_recipe_to_adapt_by_is_refused(tmp_path: Path) -> None:
    (tmp_path / "usl.toml").write_text(GRID.replace('recipe = "laptop-usl"\n', ""))
    with pytest.raises(ValueError, match="program = 'finetune' or 'adapt' needs a recipe"):
        grid_of(load(tmp_path / "usl.toml"), "study 'usl'")
