"""A journal that somebody else writes, read as it grows."""

import os
from pathlib import Path
from typing import Any

from upreid.errors import DataError, InputError
from upreid.runtime.journal import entry_of


class Follower:
    """Reads each line of a journal once, however often it is asked.

    A run that is resumed writes its journal anew up to where it goes on, and then the lines once more that were written after its
    last save. They say the same, so it is enough to know how many lines were read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} is not there: the run has not started, or {path.parent} is no folder of a run")
        self.path, self.lines, self.offset, self.inode = path, 0, 0, 0

    def new_entries(self) -> list[dict[str, Any]]:
        """Return what was written since the last call; a line that is not whole yet is left for the next one.

        Raises DataError where a line is not ours.
        """
        with self.path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_ino != self.inode or now.st_size < self.offset:
                skipped = [file.readline() for _ in range(self.lines)]
                if skipped and not skipped[-1].endswith(b"\n"):
                    return []  # of a resumed run that has not come so far again
                self.inode, self.offset = now.st_ino, file.tell()
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        entries: list[dict[str, Any]] = []
        for line in whole.splitlines():
            self.lines += 1
            entry = entry_of(line)
            if entry is None:
                raise DataError(f"line {self.lines} of {self.path} is damaged; resume its run, which writes it anew")
            entries.append(entry)
        self.offset += len(whole)
        return entries
