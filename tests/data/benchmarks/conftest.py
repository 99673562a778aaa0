"""Every layout as `upreid synth` writes it, rendered once: 8 people, the first 4 to train on, 32 x 16 pixels."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from upreid.synthetic.corpus_folder import render
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings

TINY = CorpusSettings(identities=8, seed=1, height=32, width=16)


def lay_out(name: str, corpus: CorpusSettings, root: Path) -> None:
    """Write a layout to `root`/`name`."""
    layout = LAYOUTS[name]
    render(root, corpus, {name: layout.shots(corpus)}, 1)
    if layout.finish:
        layout.finish(root / name, corpus)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a layout, for reading only."""
    root = tmp_path_factory.mktemp("layouts")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            lay_out(name, TINY, root)
        return root / name

    return folder


@pytest.fixture
def four_people(tmp_path: Path) -> Callable[[str], Path]:
    """A layout of four people: of CUHK03's five pairs of cameras, one has seen nobody."""

    def folder(name: str) -> Path:
        lay_out(name, replace(TINY, identities=4), tmp_path)
        return tmp_path / name

    return folder


@pytest.fixture
def copied(rendered: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a layout to spoil, below a folder whose name looks like an image's."""

    def folder(name: str) -> Path:
        return shutil.copytree(rendered(name), tmp_path / "run_1_c2" / name)

    return folder
