import subprocess
import sys
from pathlib import Path

import pytest

from upreid.errors import InputError
from upreid.runtime.pages import require_pages


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"^pages need jinja2: pip install 'upreid\[pages\]'$"):
        require_pages("pages")


WITHOUT = """
import sys
sys.modules["jinja2"] = None
from upreid.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_demo_that_could_not_make_its_page_does_not_begin(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "upreid: error: the curves and the page of the demo need jinja2: pip install 'upreid[pages]'"
    )
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_tables_and_plots_of_a_study_need_no_package(tmp_path: Path) -> None:
    import shutil

    study = tmp_path / "study"
    shutil.copytree(Path(__file__).parents[1] / "study" / "ablation-laptop", study)
    command = [sys.executable, "-c", WITHOUT, "study", "--table", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (study / "table.md").read_text()
    assert list(study.glob("*.svg"))
