"""Pickles that hold lists of names, read without executing anything.

Only opcodes that make plain values are known (lists, dicts, tuples, text, bytes, numbers, None): there is none to import, call or
build an object with, whatever the file says. Python's own unpickler in its pure form does the reading; its memory grows with
the file, which may not be larger than `LIMIT_BYTES`, and no opcode can ask for more than the file holds.
"""

import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

from upreid.errors import DataError

LIMIT_BYTES = 2**30
"""Largest file: ten million keys of LUPerson-NL, with their people, take about half of this."""

MOST_CONTAINERS = 10_000
"""Largest number of lists and dicts: a list of names is one, and many empty ones would fill memory from a small file."""

CONTAINERS = (pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.LIST, pickle.DICT)
PLAIN = (
    *CONTAINERS,
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.NONE),
    *(pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2),
    *(
        pickle.LONG,
        pickle.LONG1,
        pickle.FLOAT,
        pickle.BINFLOAT,
        pickle.EMPTY_TUPLE,
        pickle.TUPLE,
        pickle.TUPLE1,
        pickle.TUPLE2,
    ),
    *(pickle.TUPLE3, pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.BINBYTES8, pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
)


class _Bounded:
    """A file that is never asked for more bytes than it has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise pickle.UnpicklingError("it ends too early")
        self.left -= count
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(self.left)
        self.left -= len(line)
        return line


PURE: Any = vars(pickle)["_Unpickler"]
"""The unpickler that is written in Python: its table of opcodes can be cut down, its memo is no array that a number can size."""


class _PlainUnpickler(PURE):
    """An unpickler that knows the opcodes of plain values, and no other."""

    dispatch = {code[0]: PURE.dispatch[code[0]] for code in PLAIN}  # noqa: RUF012 - as in the class that it narrows

    def __init__(self, file: _Bounded) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.containers = 0

    def find_class(self, module: str, name: str) -> Any:
        """Refuse to look up a class; no opcode that is left asks for one."""
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only plain values are read")

    def load_counted(self, opcode: int) -> None:
        """Make a container, up to a number of them."""
        self.containers += 1
        if self.containers > MOST_CONTAINERS:
            raise pickle.UnpicklingError(f"it has more than {MOST_CONTAINERS} lists")
        PURE.dispatch[opcode](self)

    for _code in CONTAINERS:
        dispatch[_code[0]] = lambda self, opcode=_code[0]: self.load_counted(opcode)


def read_plain_pickle(path: Path) -> Any:
    """Return the plain value in a pickle; `DataError` for anything else, before anything of it has been executed."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= LIMIT_BYTES:
                return _PlainUnpickler(_Bounded(file, size)).load()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; make it readable or move it away") from error
    except KeyError as error:
        raise DataError(
            f"{path} is no list of plain names: it would make objects or is damaged; refused unread"
        ) from error
    except Exception as error:  # a damaged pickle may break the unpickler in any way
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path} is no pickle of plain values ({words}); give a list of names, or move it away"
        ) from error

    raise DataError(f"{path}: {size} bytes are over the limit of {LIMIT_BYTES // 2**20} MiB for a list of names")


def names_in(path: Path, value: Any, keys: tuple[str, ...] = ("keys",)) -> list[str]:
    """Find the list of names in what a pickle held: the value itself, or a dict's entry `keys`."""
    if isinstance(value, dict):
        value = next((value[key] for key in keys if key in value), None)
    if not isinstance(value, list | tuple):
        raise DataError(
            f"{path} holds neither a list of names nor a dict with 'keys'; give the list that the set came with"
        )
    names = [name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name for name in value]
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise DataError(f"{path}: {str(name)[:80]!r} among the names is no name; give a plain list of names")
    return names
