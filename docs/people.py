"""Draw the contact sheet of the README, docs/people.png.

    python docs/people.py

Six people of the reference benchmark, a row each, as six cameras see them.
"""

from pathlib import Path

from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.sheet import contact_sheet


def main() -> None:
    contact_sheet(Path("docs/people.png"), CorpusSettings(identities=600))


if __name__ == "__main__":
    main()
