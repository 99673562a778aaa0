"""Draw the contact sheet of the README, docs/people.png.

    python docs/people.py

Six people of the reference benchmark, a row each, as six cameras see them.
"""

from pathlib import Path

from upreid.commands.synth import recipe_of
from upreid.config.tours import SynthConfig
from upreid.synthetic.sheet import contact_sheet


def main() -> None:
    config = SynthConfig(out=Path("docs"), identities=600)
    contact_sheet(config.out / "people.png", recipe_of(config))


if __name__ == "__main__":
    main()
