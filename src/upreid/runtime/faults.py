"""What the machine did to a run, told from the words of torch, which raises RuntimeError for all of it."""

GO_ON = "what was saved before is kept: go on with --resume"

FAULTS = {
    "DataLoader worker": "a process that reads images was killed, perhaps because memory ran out: lower --train.workers",
    "unable to allocate shared memory": "no shared memory is left for the loader: lower --train.workers, or enlarge /dev/shm",
    "out of memory": "the GPU's memory does not hold this batch: lower --train.batch",
    "not enough memory": "this machine's memory does not hold this run: lower --train.batch",
    "can't allocate memory": "this machine's memory does not hold this run: lower --train.batch",
    "gloo/transport": "another process of the group is gone: torchrun names the first that failed",
    "NCCL communicator": "another process of the group is gone: torchrun names the first that failed",
    "ncclRemoteError": "another process of the group is gone: torchrun names the first that failed",
    "TCPStore": "the process that leads the group is gone, or cannot be reached",
}
"""Words of an error's first line, in the order in which they are looked for -> what happened and what to do."""


def in_words(error: Exception) -> str | None:
    """One line for a fault of the machine; None for everything else, which is a defect of ours."""
    first = str(error).splitlines()[0] if str(error) else ""
    for words, sentence in FAULTS.items():
        if words.lower() in first.lower():
            return f"{sentence}; {GO_ON} ({first[:160]})"
    return None
