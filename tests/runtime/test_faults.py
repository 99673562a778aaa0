import pytest
import torch
from torch.distributed import DistNetworkError

from upreid.errors import InputError, RunError, Stopped, UpreidError
from upreid.runtime.faults import errors_of_one_rank, machine_faults


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
            "GPU's memory does not hold this batch",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you"
            ),
            "this machine's memory",
        ),
        (MemoryError(), "this machine's memory does not hold this.*MemoryError"),
        (
            RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"),
            "another process of the group is gone",
        ),
        (DistNetworkError("The client socket has timed out"), "another process of the group is gone"),
    ],
)
def test_what_the_machine_does_is_one_line_of_this_rank(error: Exception, words: str) -> None:
    with pytest.raises(RunError, match=words) as caught, machine_faults():
        raise error
    assert caught.value.is_of_one_rank
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), RuntimeError("out of memory, says a poem"), KeyError("x"), RuntimeError()]
)
def test_a_defect_is_no_fault_of_the_machine(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, machine_faults():
        raise error
    assert caught.value is error


def test_memory_that_really_cannot_be_had_is_a_fault_of_the_machine() -> None:
    with pytest.raises(RunError, match="this machine's memory"), machine_faults():
        torch.empty(2**60)


@pytest.mark.parametrize("error", [InputError("no such file"), RunError("dead"), Stopped("asked to stop", 15)])
def test_errors_of_one_rank_say_so_and_how_to_go_on_where_a_run_was_stopped(error: UpreidError) -> None:
    with pytest.raises(type(error)) as caught, errors_of_one_rank("go on with --resume"):
        raise error
    assert caught.value.is_of_one_rank != isinstance(error, Stopped)
    assert str(caught.value).endswith("; go on with --resume") == (type(error) is RunError)
