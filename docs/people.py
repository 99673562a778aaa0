"""Draw the contact sheet of the README: six people of the reference benchmark, each seen by six cameras.

python benchmarks/people.py
"""

from dataclasses import fields
from pathlib import Path

from upreid.config.tours import SynthConfig
from upreid.data.synthetic.corpus import Recipe
from upreid.data.synthetic.sheet import contact_sheet


def main() -> None:
    config = SynthConfig(out=Path("docs"), identities=600)
    recipe = Recipe(**{field.name: getattr(config, field.name) for field in fields(Recipe)})
    contact_sheet(config.out / "people.png", recipe)


if __name__ == "__main__":
    main()
