"""The headers of a tar archive, one after the other, trusting none.

Nothing is extracted, so no name can lead anywhere. Sizes are held against the archive's own, long names against a limit, and
every step goes forward: memory and time grow with the archive, never with what a header says. An archive must end as the format
asks, with a block of zeros: one that was cut between two members is told from a whole one.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from upreid.errors import DataError

BLOCK = 512
LONGEST_NAME, LONGEST_EXTENSION = 2**16, 2**20
"""Largest number of bytes of a GNU long name, and of a pax header."""
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
WITHOUT_CONTENT = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


class Member(NamedTuple):
    """A plain file in an archive: where its bytes begin, and how many they are."""

    name: str
    position: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """List the plain files of an uncompressed tar (ustar, GNU or pax); folders, links and devices are passed over.

    Raises `DataError` where it is compressed, damaged, cut short, or a header asks for the absurd.
    """
    with path.open("rb", buffering=0) as file:
        yield from _members(path, file.fileno(), os.fstat(file.fileno()).st_size)


def _members(path: Path, handle: int, end: int) -> Iterator[Member]:
    position, long_name, extension = 0, None, {}
    while True:
        header = _header(path, handle, position)
        if header is None:
            return
        size = header.size if header.type not in PLAIN else _whole(extension.get("size"), header.size, path, position)
        start = position + BLOCK
        content = 0 if header.type in WITHOUT_CONTENT else size
        if content < 0 or start + content > end:
            raise DataError(
                f"{path} is cut short or damaged: the member at byte {position} has {content} bytes, and the archive ends "
                f"at {end}; copy it again"
            )
        if header.type == tarfile.GNUTYPE_LONGNAME:
            long_name = _text(_content(path, handle, start, content, LONGEST_NAME).partition(b"\0")[0])
        elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            extension = _extension(path, _content(path, handle, start, content, LONGEST_EXTENSION))
        elif header.type == tarfile.GNUTYPE_SPARSE:
            raise DataError(
                f"{path} holds a sparse file ('{header.name}'), whose bytes lie apart; pack it anew without -S"
            )
        elif header.type not in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
            if header.type in PLAIN:
                yield Member(extension.get("path") or long_name or header.name, start, size)
            long_name, extension = None, {}  # they speak of one member
        position = start + -(-content // BLOCK) * BLOCK


def _header(path: Path, handle: int, position: int) -> tarfile.TarInfo | None:
    """Parse the header at `position`; None at the archive's end."""
    block = os.pread(handle, BLOCK, position)
    if block == bytes(BLOCK):
        return None
    if len(block) < BLOCK:
        raise DataError(
            f"{path} is cut short: it stops at byte {position + len(block)} without an end mark; copy it again"
        )
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        hint = "; decompress it first: a compressed archive cannot be read at random" if position == 0 else ""
        raise DataError(f"{path}: no tar header at byte {position}, so it is damaged or no tar{hint}") from error


def _content(path: Path, handle: int, position: int, size: int, limit: int) -> bytes:
    if size > limit:
        raise DataError(
            f"{path}: a name of {size} bytes at byte {position} is absurd; the archive is damaged or hostile"
        )
    return os.pread(handle, size, position)


def _extension(path: Path, content: bytes) -> dict[str, str]:
    """Read a pax header: lines `LENGTH KEYWORD=VALUE`, where LENGTH counts the whole line."""
    found: dict[str, str] = {}
    while content.strip(b"\0"):
        digits, _, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        keyword, equals, value = content[len(digits) + 1 : length - 1].partition(b"=")
        if not (len(digits) + 1 < length <= len(content) and equals):
            raise DataError(f"{path}: a pax header is damaged; copy the archive again")
        found[_text(keyword)] = _text(value)
        content = content[length:]
    return found


def _whole(said: str | None, otherwise: int, path: Path, position: int) -> int:
    if said is None:
        return otherwise
    if not (said.isascii() and said.isdigit() and len(said) < 20):
        raise DataError(f"{path}: the member at byte {position} has a size of '{said[:20]}'; the archive is damaged")
    return int(said)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
