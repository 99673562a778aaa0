"""Kinds of files, told from their first bytes, so that an error can say what came instead of what was expected."""

from pathlib import Path
from zipfile import ZipFile

SAFETENSORS = "a safetensors file"
CHECKPOINT = "a checkpoint of torch.save"
PICKLE = "a pickle, as torch.save before 1.6 and other programs write"
TORCHSCRIPT = "a TorchScript program"
MAGIC = {
    b"version https://git-lfs": "a Git LFS pointer and not the file itself (git lfs pull fetches that)",
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "compressed with gzip (unpack it first)",
    b"%PDF": "a PDF",
}
TAR_MAGIC = slice(257, 262)
"""Place of the bytes by which a tar archive is known."""


def kind_of(path: Path) -> str:
    """Return what a file is, in words that can follow "is"; an empty text where that cannot be told."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        return kind_of_archive(path) if head.startswith(b"PK\x03\x04") else kind_of_head(head, path.suffix)
    except Exception:  # strange bytes make zipfile fail in a dozen ways
        return ""


def kind_of_head(head: bytes, suffix: str) -> str:
    """Return the kind of a file by its first bytes, and by its suffix where those are not enough."""
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page, as a failed download leaves it"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return PICKLE
    if head[TAR_MAGIC] == b"ustar":
        return "a tar archive"
    if suffix == ".onnx" and head[:1] == b"\x08":
        return "an ONNX model"
    return SAFETENSORS if head[8:9] == b"{" and head[6:8] == b"\0\0" else ""


def kind_of_archive(path: Path) -> str:
    """Return the kind of a zip archive: torch.save and TorchScript write such."""
    with ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        return TORCHSCRIPT
    if any(name.endswith("/data.pkl") for name in names):
        return CHECKPOINT
    return "a zip archive of other things"
