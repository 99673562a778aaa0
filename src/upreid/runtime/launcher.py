"""What torchrun says to the processes that it starts."""

import os


def is_restart() -> bool:
    """Whether torchrun has started this process again, after one of the group had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def job_id() -> str:
    """Name of torchrun's job (`--rdzv-id`; with `--standalone` a new one every time); empty without torchrun."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def rank() -> int:
    """Number of this process in its group."""
    return int(os.environ.get("RANK", "0"))


def num_ranks() -> int:
    """Size of the group."""
    return int(os.environ.get("WORLD_SIZE", "1"))
