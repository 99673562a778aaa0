"""One self-contained page about a tour."""

import base64
import json
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from upreid.config.files import read_json
from upreid.config.tours import DemoConfig
from upreid.demo.curves import loss_curves, monitor_curve
from upreid.demo.places import STARTS, Places
from upreid.demo.ranked import ranked_lists
from upreid.demo.results import METRICS, written
from upreid.runtime.files import write_text
from upreid.synthetic.corpus import contact_sheet
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import CorpusSettings


def write_page(places: Places, config: DemoConfig, results: dict[str, Any]) -> Path:
    """Render `index.html`; pictures and curves are inside it."""
    page = places.out / "index.html"
    sheet = places.out / "people.png"
    corpus = CorpusSettings(identities=config.identities, seed=config.seed)
    contact_sheet(sheet, corpus, market1501_shots(corpus)[:72])  # six people, twelve pictures each
    text = render(
        results=results,
        config=config,
        sheet="data:image/png;base64," + base64.b64encode(sheet.read_bytes()).decode(),
        losses=loss_curves(places),
        monitor=monitor_curve(places),
        lists=ranked_lists(places),
        provenance=read_json(places.pretrained("upreid") / "config.json"),
    )
    write_text(page, text)
    return page


def render(**parts: Any) -> str:
    """Fill the template; everything but our own SVG is escaped."""
    template = (resources.files("upreid") / "templates" / "demo.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["written"] = written
    protocol = json.dumps(parts["results"]["protocol"], indent=2)
    return environment.from_string(template).render(starts=STARTS, metrics=METRICS, protocol=protocol, **parts)
