"""Imports everything once, then forks a process for each run: a hundred runs that are killed would else be a hundred imports.

Reads one JSON object a line: `words` of the command line, `said`, the file for what it says, and perhaps `fault`, a
function of hooks.py with its `argument`. Writes the process's number at once, and its exit code when it has ended.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import hooks

import upreid.cli
import upreid.commands.finetune
import upreid.commands.pretrain


def run(order: dict[str, Any]) -> int:
    """In the new process: what the command line would do."""
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(order["environment"])
    if order["fault"]:
        getattr(hooks, order["fault"])(order["argument"])
    return upreid.cli.main(order["words"])


def main() -> None:
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            code = 1
            try:
                code = run(json.loads(line))
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
