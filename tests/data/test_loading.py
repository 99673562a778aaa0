"""Loaders with real workers: what they deliver, and what becomes of everything that keeps a batch away."""

import errno
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from upreid.data import loading, parcels
from upreid.data.loading import make_loader
from upreid.errors import DataError, InputError, RunError, Stopped

SECONDS = 60.0
"""No wait of these tests comes near it."""


class Numbers(Dataset[Tensor]):
    """Item `i` is [i, i]; something may happen at one of them."""

    def __init__(self, count: int, at: int = -1, act: Callable[[], None] = lambda: None) -> None:
        self.count, self.at, self.act = count, at, act

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        if index == self.at:
            self.act()
        return torch.tensor([index, index])


class UnpicklableError(Exception):
    """Has a constructor that pickle does not know how to call."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail(error: Exception) -> Callable[[], None]:
    def fail_here() -> None:
        raise error

    return fail_here


def hang() -> None:
    time.sleep(10 * SECONDS)


def send_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10 * SECONDS)


def ask_and_hang(number: int) -> None:
    """In a worker: ask the main process to stop, until it does."""
    while True:
        time.sleep(1.0)
        os.kill(os.getppid(), number)


def ask_and_go_on() -> None:
    time.sleep(0.5)
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(2.0)


@pytest.fixture(autouse=True)
def _leaves_no_process() -> Iterator[None]:
    yield
    end = time.monotonic() + SECONDS
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.05)
    left = multiprocessing.active_children()
    for process in left:  # else every test after this one would fail too
        process.kill()
        process.join()
    assert not left


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order_whoever_makes_them(workers: int) -> None:
    loader = make_loader(Numbers(7), batch_size=3, workers=workers)
    assert len(loader) == 3
    for _ in range(2):
        assert [batch[:, 0].tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]


def in_any_form(items: list[Tensor]) -> tuple[int, dict[str, Tensor], str]:
    return len(items), {"x": torch.cat(items)}, "kept"


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_sampler_and_of_any_form(workers: int) -> None:
    order = [[4, 1], [0], [5, 5]]
    loader = make_loader(
        Numbers(6),
        batch_sampler=order,
        collate=lambda items: (len(items), {"x": torch.cat(items)}, "kept"),
        workers=workers,
    )
    assert [(number, batch["x"].tolist()[::2], word) for number, batch, word in loader] == [
        (len(keys), keys, "kept") for keys in order
    ]


def test_a_batch_is_not_held_while_the_next_is_waited_for() -> None:
    batches = iter(make_loader(Numbers(4), batch_size=1, workers=1))
    import weakref

    first = next(batches)
    seen = weakref.ref(first)
    del first
    assert seen() is None
    assert len(list(batches)) == 3


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [InputError, DataError, RunError])
def test_a_refusal_of_the_dataset_arrives_as_it_is(workers: int, kind: type[Exception]) -> None:
    loader = make_loader(Numbers(4, at=2, act=fail(kind("picture 2 is no picture"))), batch_size=1, workers=workers)
    seen = []
    with pytest.raises(kind, match="picture 2") as caught:
        seen.extend(loader)
    assert type(caught.value) is kind
    assert str(caught.value) == "picture 2 is no picture"
    assert len(seen) == 2


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error", [KeyError("name"), ZeroDivisionError("by zero"), RuntimeError("a defect"), OSError(errno.EIO, "gone")]
)
def test_a_defect_arrives_as_it_is_with_the_traceback_of_its_worker(workers: int, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        list(make_loader(Numbers(4, at=2, act=fail(error)), batch_size=1, workers=workers))
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    trace = "".join(str(entry) for entry in [*getattr(caught.value, "__notes__", []), *caught.traceback])
    assert "fail_here" in trace
    assert not isinstance(caught.value, RunError)


def test_an_error_that_does_not_pickle_arrives_in_words() -> None:
    with pytest.raises(RuntimeError, match="UnpicklableError: 1 and 2") as caught:
        list(make_loader(Numbers(4, at=2, act=fail(UnpicklableError(1, 2))), batch_size=1, workers=1))
    assert "fail_here" in caught.value.__notes__[0]
    assert not isinstance(caught.value, RunError)


def test_a_batch_that_cannot_be_packed_is_a_defect_of_ours() -> None:
    def with_gradient(items: list[Tensor]) -> Tensor:
        return torch.stack(items).float().requires_grad_() * 2

    with pytest.raises(RuntimeError, match="requires_grad") as caught:
        list(make_loader(Numbers(4), batch_size=2, workers=1, collate=with_gradient))
    assert not isinstance(caught.value, RunError)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS, signal.SIGTERM])
def test_a_worker_that_is_killed_is_said_with_what_to_do(number: signal.Signals) -> None:
    loader = make_loader(Numbers(9, at=4, act=lambda: send_self(number)), batch_size=1, workers=2, flag="--workers")
    with pytest.raises(RunError, match=rf"was killed \({number.name}\).*lower --workers$"):
        list(loader)


def test_a_worker_that_is_killed_while_nobody_waits_breaks_into_nothing_and_is_said_later() -> None:
    batches = iter(make_loader(Numbers(40), batch_size=1, workers=1))
    next(batches)
    for worker in multiprocessing.active_children():
        worker.kill()
        os.waitid(os.P_PID, worker.pid or 0, os.WEXITED | os.WNOWAIT)
    for _ in range(100):  # what the main process does meanwhile goes on
        time.sleep(0.001)
    with pytest.raises(RunError, match="was killed"):
        list(batches)


@pytest.fixture
def numbers_of_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a loader of torch's own that has begun: from now on torch raises wherever this process is when a worker dies."""
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)  # torch installs its handler once in a process
    own = iter(DataLoader(Numbers(4), num_workers=1))
    assert callable(signal.getsignal(signal.SIGCHLD))
    return own


def test_a_program_that_uses_torchs_own_loaders_too_gets_no_other_error(numbers_of_torch: Any) -> None:
    before = signal.getsignal(signal.SIGCHLD)
    for act in (lambda: send_self(signal.SIGKILL), fail(InputError("no picture"))):
        with pytest.raises((RunError, InputError), match=r"was killed|no picture"):
            list(make_loader(Numbers(9, at=4, act=act), batch_size=1, workers=1))
    assert signal.getsignal(signal.SIGCHLD) is before
    assert len(list(numbers_of_torch)) == 4


def torn() -> None:
    raise EOFError


class Torn:
    """Cannot be taken over, as a batch whose worker dies while it hands it over."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return torn, ()


def test_a_worker_that_dies_while_it_is_asked_why_is_said_beside_torchs_own_loaders_too(numbers_of_torch: Any) -> None:
    def tear(items: list[Tensor]) -> Torn:
        del items
        threading.Timer(0.3, send_self, [signal.SIGKILL]).start()
        return Torn()

    with pytest.raises(RunError, match=r"was killed \(SIGKILL\)"):
        list(make_loader(Numbers(1), batch_size=1, workers=1, collate=tear))
    assert len(list(numbers_of_torch)) == 4


def test_a_worker_that_ends_by_itself_is_not_called_killed() -> None:
    with pytest.raises(RunError, match="came to its end"):
        list(make_loader(Numbers(4, at=2, act=lambda: os._exit(3)), batch_size=1, workers=1))


@pytest.mark.slow
@pytest.mark.parametrize("act", [hang, lambda: send_self(signal.SIGSTOP)])
def test_a_worker_that_hangs_ends_the_wait_and_not_the_process(
    act: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "SECONDS_OF_WORK", 1.0)
    with pytest.raises(RunError, match=r"made no batch for 2 s .*--train.workers 0"):
        list(make_loader(Numbers(4, at=2, act=act), batch_size=1, workers=1, patience=1.0))
    if act is hang:
        assert "in hang" in capfd.readouterr().err  # the worker's own words


def test_storage_that_is_waited_for_longer_than_a_batch_may_take_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SECONDS_OF_WORK", 0.5)
    loader = make_loader(Numbers(3, at=1, act=lambda: time.sleep(2.5)), batch_size=1, workers=1, patience=30.0)
    assert len(list(loader)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_is_heard_while_no_batch_comes_and_passed_on(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, _: heard.append(number))
    try:
        with pytest.raises(Stopped, match="asked to stop") as caught:
            list(make_loader(Numbers(4, at=2, act=lambda: ask_and_hang(number)), batch_size=1, workers=1))
        assert set(heard) == {number}
        assert caught.value.exit_code == 128 + number
    finally:
        signal.signal(number, before)


def test_a_request_to_stop_does_not_end_the_wait_of_one_rank_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        assert len(list(make_loader(Numbers(4, at=2, act=ask_and_go_on), batch_size=1, workers=1))) == 4
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_program_that_listens_to_no_signal_ends_by_ctrl_c_while_it_waits() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(make_loader(Numbers(4, at=2, act=lambda: ask_and_hang(signal.SIGINT)), batch_size=1, workers=1))


def test_handlers_of_signals_are_afterwards_what_they_were() -> None:
    numbers = signal.SIGTERM, signal.SIGINT, signal.SIGCHLD
    before = [signal.getsignal(number) for number in numbers]
    batches = iter(make_loader(Numbers(4), batch_size=1, workers=1))
    next(batches)
    assert [signal.getsignal(number) for number in numbers] == before
    list(batches)
    assert [signal.getsignal(number) for number in numbers] == before


def test_batches_that_exceed_shared_memory_are_refused_at_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * 8 * 100  # bytes of a batch
    monkeypatch.setattr(loading, "free_shared_memory", lambda: 4 * size)
    with pytest.raises(RunError, match=r"5 batches of 0\.0 MB .*--train\.workers \(0 shares nothing\)"):
        next(iter(make_loader(Numbers(1000), batch_size=100, workers=2)))
    assert len(list(make_loader(Numbers(400), batch_size=100, workers=2))) == 4  # no more than fit at once
    assert len(list(make_loader(Numbers(1000), batch_size=100, workers=1))) == 10
    assert len(list(make_loader(Numbers(1000), batch_size=100, workers=0))) == 10


def test_shared_memory_that_does_not_take_a_batch_is_said_with_what_there_is() -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def forbid() -> None:  # as where it is full: only in this worker
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))

    with pytest.raises(RunError, match=r"could not be handed over \(unable to .*File too large.*--train\.workers 0"):
        list(make_loader(Numbers(1000, at=200, act=forbid), batch_size=100, workers=1))


def test_a_worker_that_may_open_no_file_says_so() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def forbid() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))

    with pytest.raises(RunError, match=r"(taken|handed) over .*files may be open at once"):
        list(make_loader(Numbers(1000, at=200, act=forbid), batch_size=100, workers=1))


def test_sockets_that_went_away_meanwhile_are_said() -> None:
    batches = iter(make_loader(Numbers(8), batch_size=1, workers=1))
    next(batches)
    from multiprocessing.util import get_temp_dir

    for socket in Path(get_temp_dir()).iterdir():  # as tidiers of /tmp do after some days
        socket.unlink()
    with pytest.raises(RunError, match=r"could not be taken over \(.*No such file"):
        list(batches)


def test_few_open_files_are_refused_before_anything_starts() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = sum(1 for _ in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (now + 20, limit[1]))
    try:
        with pytest.raises(
            RunError, match=rf"takes \d+ open files, and {now + 20} are allowed; .*ulimit -n 1024.*--workers"
        ):
            make_loader(Numbers(4), batch_size=1, workers=1, flag="--workers")
        assert len(list(make_loader(Numbers(4), batch_size=1, workers=0))) == 4
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@pytest.mark.parametrize("free", [0, 100_000])
def test_memory_that_does_not_even_hold_the_locks_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(parcels, "free_shared_memory", lambda: free)
    with pytest.raises(RunError, match=rf"/dev/shm \(it has {free // 1000} kB free\).*--train\.workers 0"):
        make_loader(Numbers(4), batch_size=1, workers=1)


def test_locks_that_cannot_be_made_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "Lock", fail(OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(RunError, match="Read-only file system"):
        make_loader(Numbers(4), batch_size=1, workers=1)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Lets the next sockets be made in another folder, as TMPDIR does for a new process."""
    known = set(util._finalizer_registry)  # type: ignore[attr-defined]

    def move(folder: Path) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", None)  # type: ignore[attr-defined]

    yield move
    for key in util._finalizer_registry.keys() - known:  # type: ignore[attr-defined]
        util._finalizer_registry[key]()  # type: ignore[attr-defined] # removes the folder of the sockets while it is there


def test_a_long_path_of_temporary_files_is_refused_before_anything_starts(
    tmp_path: Path, temporary: Callable[[Path], None]
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    temporary(folder)
    with pytest.raises(RunError, match=r"path too long.*TMPDIR=/tmp, or use --train\.workers 0"):
        make_loader(Numbers(4), batch_size=1, workers=1)
    assert len(list(make_loader(Numbers(4), batch_size=1, workers=0))) == 4


def test_a_folder_of_temporary_files_that_is_gone_is_refused_before_anything_starts(
    tmp_path: Path, temporary: Callable[[Path], None]
) -> None:
    temporary(tmp_path / "gone")
    with pytest.raises(RunError, match=r"No such file.*TMPDIR"):
        make_loader(Numbers(4), batch_size=1, workers=1)


def test_processes_that_cannot_be_started_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", fail(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")))
    with pytest.raises(
        RunError, match=r"2 processes .* cannot be started .*temporarily unavailable.*lower --train\.workers"
    ):
        list(make_loader(Numbers(4), batch_size=1, workers=2))


class Sized:
    def __init__(self, size: int) -> None:
        self.size = size

    def pin_memory(self) -> "Sized":
        return Sized(-self.size)


def test_what_a_parcel_holds_is_pinned_before_it_is_taken() -> None:
    packed = parcels.Parcel((Sized(3), {"a": Sized(4)}, "words"))
    first, second, third = packed.pin_memory().take()
    assert (first.size, second["a"].size, third) == (-3, -4, "words")
    broken = parcels.Parcel(parcels.sendable(InputError("no picture")))
    with pytest.raises(InputError, match="no picture"):
        broken.pin_memory().open()
