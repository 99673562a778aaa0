"""What an archive of torch.save says about itself, checked before anything in it is believed."""

from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile


def check_archive(path: Path, *, checksums: bool = False) -> None:
    """Raise BadZipFile for what torch.save never writes: parts that unpack to more bytes than the file has.

    torch stores its parts as they are, each once, with a checksum; `checksums` also reads everything and compares
    them, so that one changed byte is noticed.
    """
    try:
        complaint = what_is_wrong(path, checksums=checksums)
    except OSError:
        raise
    except Exception as error:  # strange bytes make zipfile fail in a dozen ways
        raise BadZipFile(str(error) or type(error).__name__) from error
    if complaint:
        raise BadZipFile(complaint)


def what_is_wrong(path: Path, *, checksums: bool) -> str:
    """Name the first fault; an empty text where there is none."""
    with ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != ZIP_STORED for part in parts):
            return "its parts are compressed, as torch never does"
        if sum(part.file_size for part in parts) > path.stat().st_size:
            return "its parts claim more bytes than the file has"
        damaged = archive.testzip() if checksums else None
    return f"the checksum of its part {damaged} is wrong" if damaged else ""
