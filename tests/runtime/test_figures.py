import subprocess
import sys
from pathlib import Path

import pytest

from upreid.errors import InputError
from upreid.runtime.figures import as_svg, new_figure, require_pages, tidy


def drawn() -> str:
    figure = new_figure(3.0, 2.0)
    axes = figure.subplots()
    axes.plot([1, 2, 3], [2, 1, 2], label="a curve")
    axes.legend()
    tidy(axes, "title")
    return as_svg(figure)


def test_the_same_figure_gives_the_same_text_and_changes_no_setting() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    text = drawn()
    assert text.startswith("<svg")
    assert text == drawn()
    assert dict(matplotlib.rcParams) == before


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"^figures need matplotlib: pip install 'upreid\[pages\]'$"):
        new_figure(1.0, 1.0)
    with pytest.raises(InputError, match=r"^pages need matplotlib and jinja2: "):
        require_pages("pages", "matplotlib", "jinja2")


WITHOUT = """
import sys
sys.modules["matplotlib"] = sys.modules["jinja2"] = None
from upreid.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_demo_that_could_not_make_its_page_does_not_begin(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "upreid: error: the curves and the page of the demo need jinja2: pip install 'upreid[pages]'"
    )
    assert not (tmp_path / "demo").exists()


def test_tables_of_a_study_need_no_plots(tmp_path: Path) -> None:
    import shutil

    study = tmp_path / "study"
    shutil.copytree(Path(__file__).parents[1] / "study" / "ablation-laptop", study)
    command = [sys.executable, "-c", WITHOUT, "study", "--table", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (study / "table.md").read_text()
    assert "no plots: figures need matplotlib: pip install 'upreid[pages]'" in done.stderr
    assert not list(study.glob("*.svg"))
