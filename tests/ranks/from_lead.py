"""What rank 0 makes for all, or raises instead: `from_lead.py OUT` under torchrun writes a file per rank."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from upreid.errors import DataError, InputError
from upreid.runtime.distributed import from_lead, join


def raising(error: Exception) -> Any:
    raise error


CASES = {
    "value": lambda: {"a": torch.ones(2)},
    "refusal": lambda: raising(InputError("this folder is taken")),
    "damage": lambda: raising(DataError("this file is damaged")),
    "disk": lambda: raising(OSError(28, "No space left on device")),
    "defect": lambda: raising(KeyError("name")),
}


def main(out: Path) -> None:
    seen: dict[str, Any] = {}
    with join(torch.device("cpu")) as world:
        for name, make in CASES.items():
            try:
                value = from_lead(make, world)
                seen[name] = ["value", str(value["a"].tolist())]
            except Exception as error:
                seen[name] = [type(error).__name__, str(error)]
        backend = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
        seen["hours"] = backend.options._timeout.total_seconds() / 3600
    (out / f"{world.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
