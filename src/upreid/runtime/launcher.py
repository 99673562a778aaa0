"""What torchrun says to the processes that it starts."""

import os

UNNAMED = ("", "none")
"""What job_id is without torchrun, and where torchrun was told no `--rdzv-id`."""


def num_restarts() -> int:
    """How often torchrun has started the processes of this node again, after one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def job_id() -> str:
    """Name of torchrun's job (`--rdzv-id`; with `--standalone` a new one every time); empty without torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def is_same_job(name: str) -> bool:
    """Whether what the job `name` began is ours to take up: a node may be started again without being told so."""
    return name == job_id() and (name not in UNNAMED or num_restarts() > 0)


def rank() -> int:
    """Number of this process in its group."""
    return int(os.environ.get("RANK", "0"))


def num_ranks() -> int:
    """Size of the group."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_one_node() -> bool:
    """Whether the whole group runs on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) == num_ranks()
