from pathlib import Path

import pytest

from upreid.cli import main


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set of 24 rendered people, which no test changes."""
    out = tmp_path_factory.mktemp("corpus")
    size = ["--version", "1", "--identities", "24", "--seed", "1", "--height", "32", "--width", "16", "--workers", "1"]
    assert main(["synth", str(out), *size]) == 0
    return out / "market1501"
