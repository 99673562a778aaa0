"""Self-contained HTML pages: one frame and one style sheet (`templates/page.html`), pictures as data URIs."""

import base64
import io
from importlib import resources
from importlib.util import find_spec
from typing import Any

from PIL import Image

from upreid.errors import InputError

PAGE_MARK = '<meta name="generator" content="upreid">'
"""Stands in every page, so that a page may be written over and another file may not."""
LARGEST = (128, 192)
"""Width and height within which pictures stand in a page."""


def require_pages(what: str) -> None:
    """Raise InputError where Jinja, of the extra `pages`, is not installed; `what` needs it."""
    if find_spec("jinja2") is None:
        raise InputError(f"{what} need jinja2: pip install 'upreid[pages]'")


def render(name: str, /, **parts: Any) -> str:
    """Fill a template of this package; everything but what a template calls safe is escaped."""
    require_pages("pages")
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("upreid") / "templates"
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda template: (folder / template).read_text(encoding="utf-8")),
    )
    return environment.get_template(name).render(**parts)


def is_page(text: str) -> bool:
    """Return whether a file with this text is a page of ours."""
    return PAGE_MARK in text


def picture_uri(image: Image.Image, *, largest: tuple[int, int] = LARGEST, quality: int = 90) -> str:
    """Return a picture as a JPEG data URI, reduced to what a page needs."""
    small, file = image.convert("RGB"), io.BytesIO()
    small.thumbnail(largest)
    small.save(file, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
