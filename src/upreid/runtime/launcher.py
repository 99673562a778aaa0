"""What torchrun says to the processes that it starts, in variables of their environment."""

import os

from upreid.errors import InputError

UNNAMED = ("", "none")
"""What job_id is without torchrun, and where torchrun was told no `--rdzv-id`."""
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables without which the processes of a group cannot find each other."""
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")


def number(variable: str, default: int) -> int:
    """Read a number; the default where there is none (see `check_launch`)."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default


def num_restarts() -> int:
    """How often torchrun has started the processes of this node again, after one had died."""
    return number("TORCHELASTIC_RESTART_COUNT", 0)


def job_id() -> str:
    """Name of torchrun's job (`--rdzv-id`; with `--standalone` a new one every time); empty without torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def is_same_job(name: str) -> bool:
    """Whether what the job `name` began is ours to take up: a node may be started again without being told so."""
    return name == job_id() and (name not in UNNAMED or num_restarts() > 0)


def num_ranks() -> int:
    """Size of the group."""
    return max(number("WORLD_SIZE", 1), 1)


def rank() -> int:
    """Number of this process in its group; some clusters set RANK where there is no group."""
    return number("RANK", 0) if num_ranks() > 1 else 0


def local_rank() -> int:
    """Number of this process among those of the group on this machine, which decides its GPU."""
    return number("LOCAL_RANK", 0) if num_ranks() > 1 else 0


def num_local_ranks() -> int:
    """Number of processes of the group on this machine."""
    return max(number("LOCAL_WORLD_SIZE", 1), 1) if num_ranks() > 1 else 1


def is_one_node() -> bool:
    """Whether the whole group runs on this machine."""
    return num_local_ranks() == num_ranks()


def check_launch() -> None:
    """Refuse an environment that announces a group and does not say how to join it."""
    set_ = {name: os.environ[name] for name in NUMBERS if os.environ.get(name)}
    advice = "start the processes of a group with torchrun, or unset WORLD_SIZE for a single process"
    if "WORLD_SIZE" in set_ and not (set_["WORLD_SIZE"].isdecimal() and int(set_["WORLD_SIZE"]) > 0):
        raise InputError(
            f"the environment has WORLD_SIZE={set_['WORLD_SIZE']}, which is no number of processes; {advice}"
        )
    if num_ranks() == 1:
        return
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        raise InputError(f"the environment has WORLD_SIZE={num_ranks()}, but no {' and no '.join(missing)}; {advice}")
    if broken := [f"{name}={value}" for name, value in set_.items() if not value.isdecimal()]:
        raise InputError(f"the environment has {', '.join(broken)}, which is no number; {advice}")
    if rank() >= num_ranks():
        raise InputError(f"the environment has RANK={rank()} in a group of WORLD_SIZE={num_ranks()}; {advice}")
