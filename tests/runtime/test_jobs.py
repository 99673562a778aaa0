from pathlib import Path

import pytest

from upreid.errors import InputError, RunError
from upreid.runtime.jobs import Job, run_jobs


def job(
    name: str, begun: list[str], *, needs: tuple[str, ...] = (), words: str = "--version", done: bool = False
) -> Job:
    def command() -> list[str]:
        begun.append(name)
        return words.split()

    return Job(name=name, words=command, is_done=lambda: done, work=1.0, needs=needs)


@pytest.mark.parametrize("slots", [1, 3])
def test_a_job_waits_for_what_it_needs(tmp_path: Path, slots: int) -> None:
    begun: list[str] = []
    jobs = [job("last", begun, needs=("middle", "other")), job("middle", begun, needs=("first",))]
    jobs += [job("other", begun), job("first", begun)]
    run_jobs(jobs, tmp_path, slots=[{}] * slots)
    assert sorted(begun) == ["first", "last", "middle", "other"]
    assert begun.index("first") < begun.index("middle") < begun.index("last")
    assert begun.index("other") < begun.index("last")
    assert all("upreid" in (tmp_path / f"{name}.log").read_text() for name in begun)


def test_what_is_done_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun: list[str] = []
    run_jobs([job("old", begun, done=True), job("new", begun, needs=("old",))], tmp_path, slots=[{}] * 2)
    assert begun == ["new"]
    assert "reused: old" in capsys.readouterr().err


def test_a_job_that_fails_is_named_with_its_last_words_and_nothing_follows_it(tmp_path: Path) -> None:
    begun: list[str] = []
    jobs = [job("wrong", begun, words="no-such-command"), job("next", begun, needs=("wrong",))]
    with pytest.raises(RunError, match=r"wrong failed with exit code 2: .*no-such-command.*wrong\.log"):
        run_jobs(jobs, tmp_path, slots=[{}] * 2)
    assert begun == ["wrong"]


def test_others_go_on_past_a_failure_where_asked_to_and_it_is_named_at_the_end(tmp_path: Path) -> None:
    begun: list[str] = []
    jobs = [job("wrong", begun, words="no-such-command"), job("after", begun, needs=("wrong",))]
    jobs += [job("last", begun, needs=("after",)), job("other", begun)]
    with pytest.raises(RunError, match=r"1 failed \(wrong\) and 2 that need them were left out"):
        run_jobs(jobs, tmp_path, slots=[{}], keeps_going=True)
    assert begun == ["wrong", "other"]


def test_what_is_left_to_do_when_a_job_has_ended_is_done_once_and_may_fail(tmp_path: Path) -> None:
    seconds: list[float] = []

    def refuse(_: float) -> None:
        raise InputError("the numbers are missing")

    good = Job(name="good", words=lambda: ["--version"], is_done=lambda: False, work=1.0, finish=seconds.append)
    bad = Job(name="bad", words=lambda: ["--version"], is_done=lambda: False, work=1.0, finish=refuse)
    with pytest.raises(RunError, match=r"1 failed \(bad\)"):
        run_jobs([bad, good], tmp_path, slots=[{}], keeps_going=True)
    assert len(seconds) == 1


def test_a_job_whose_command_cannot_be_settled_fails_and_the_others_go_on(tmp_path: Path) -> None:
    def refuse() -> list[str]:
        raise InputError("the folder is in use")

    begun: list[str] = []
    bad = Job(name="bad", words=refuse, is_done=lambda: False, work=1.0)
    with pytest.raises(RunError, match=r"1 failed \(bad\) and 1 that need them"):
        run_jobs([bad, job("next", begun, needs=("bad",)), job("good", begun)], tmp_path, slots=[{}], keeps_going=True)
    assert begun == ["good"]


def test_each_slot_has_its_own_environment(tmp_path: Path) -> None:
    fitting = [{"PYTHONHOME": "nowhere"}]  # no Python starts with it: the variable reached the process
    with pytest.raises(RunError, match="failed with exit code 1"):
        run_jobs([job("one", [])], tmp_path, slots=fitting)
