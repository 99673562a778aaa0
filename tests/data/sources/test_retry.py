"""Storage that fails for a while is waited for; a single bad file is not."""

import errno

import pytest

from upreid.data.dataset import OriginalImages
from upreid.data.sources import folder
from upreid.data.sources import retry as retry_module
from upreid.data.sources.recognise import open_source
from upreid.data.sources.retry import retry
from upreid.errors import RunError


@pytest.fixture
def failing(monkeypatch):
    """Make the next reads of a folder's files fail with an error of the system."""
    errors: list[int] = []
    real = folder.read_file

    def read(path):
        if errors:
            raise OSError(errors.pop(0), "the system's words", str(path))
        return real(path)

    monkeypatch.setattr(folder, "read_file", read)
    monkeypatch.setattr(retry_module, "SHORTEST_WAIT", 0.01)
    return errors


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN])
def test_an_outage_skips_nothing(pictures, failing, capsys, number):
    images = OriginalImages(open_source(pictures, patience=30.0), height=64, width=32)
    failing += [number] * 3
    sample = images[0, 3]
    assert (sample.index, sample.skipped) == (3, ())
    words = capsys.readouterr().err
    assert words.count("does not answer (the system's words") == 1
    assert "waiting up to 30 s" in words
    assert "answers again" in words


def test_a_file_that_may_not_be_read_is_skipped_at_once(pictures, failing, capsys):
    images = OriginalImages(open_source(pictures, patience=30.0), height=64, width=32, limit=1.0)
    failing += [errno.EACCES]
    sample = images[0, 3]
    assert (sample.index, [skip.index for skip in sample.skipped]) == (4, [3])
    assert "does not answer" not in capsys.readouterr().err


def test_an_outage_without_end_stops_the_run_and_skips_nothing(pictures, failing):
    images = OriginalImages(open_source(pictures, patience=0.05), height=64, width=32, limit=1.0)
    failing += [errno.EIO] * 1000
    with pytest.raises(
        RunError, match=r"has not answered for 0 s \(the system's words: .*0003.png\); nothing was skipped"
    ):
        images[0, 3]


def test_waits_grow_and_end_at_the_limit(monkeypatch):
    clock, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        clock[0] += seconds

    def act():
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(retry_module.time, "sleep", sleep)
    monkeypatch.setattr(retry_module.time, "monotonic", lambda: clock[0])
    with pytest.raises(RunError, match="for 60 s"):
        retry(act, what="the disk", seconds=60.0)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 8.5]
