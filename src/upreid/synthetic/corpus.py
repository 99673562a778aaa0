"""Which pictures a corpus holds, and how each is made from its numbers alone.

`wild/` holds unlabelled pictures (it plays LUPerson): in version 2 crops of videos, in version 1 four pictures of each person.
A benchmark shows N other people to 6 fixed cameras, or to the first two of them; `layouts.py` says how many images each
takes and where they go.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot
from upreid.synthetic.version1 import pictures as version1
from upreid.synthetic.version2 import pictures as version2
from upreid.synthetic.version2 import tracker

GAP = 2
"""Pixels between the pictures of a contact sheet."""


def wild_shots(corpus: CorpusSettings) -> list[Shot]:
    """List the unlabelled pictures."""
    return version1.wild_shots(corpus) if corpus.version == 1 else tracker.wild_shots(corpus)


def take(corpus: CorpusSettings, shot: Shot) -> bytes:
    """Make one picture: a JPEG file as the camera stores it, or the same pixels as PNG where the name says so."""
    version = version1 if corpus.version == 1 else version2
    if shot.camera is None or shot.is_wild:
        picture = version.take_wild(corpus, shot)
    else:
        picture = version.take_fixed(corpus, shot, shot.camera)
    return _as_png(picture) if shot.path.suffix == ".png" else picture


def _as_png(picture: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(file, format="PNG")
    return file.getvalue()


def contact_sheet(path: Path, corpus: CorpusSettings, shots: Sequence[Shot], *, columns: int = 12) -> None:
    """Write a PNG that shows many pictures of a corpus in rows."""
    down, across = corpus.height + GAP, corpus.width + GAP
    sheet = Image.new("RGB", (columns * across - GAP, -(-len(shots) // columns) * down - GAP), "white")
    for place, shot in enumerate(shots):
        row, column = divmod(place, columns)
        sheet.paste(Image.open(io.BytesIO(take(corpus, shot))), (column * across, row * down))
    sheet.save(path)
