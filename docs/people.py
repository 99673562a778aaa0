"""Draw the contact sheet of the README, docs/people.png.

    python docs/people.py

Six people of the reference benchmark, a row each, as six cameras see them.
"""

from pathlib import Path

from upreid.synthetic.corpus import contact_sheet
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import CorpusSettings


def main() -> None:
    corpus = CorpusSettings(identities=600)
    contact_sheet(Path("docs/people.png"), corpus, market1501_shots(corpus)[:72])


if __name__ == "__main__":
    main()
