from pathlib import Path

from PIL import Image

from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.sheet import GAP, contact_sheet, studio_sheet

CORPUS = CorpusSettings(identities=4, seed=1, height=32, width=16)


def test_a_contact_sheet_has_one_row_of_twelve_pictures_per_person(tmp_path: Path):
    contact_sheet(tmp_path / "sheet.png", CORPUS, people=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (12 * 18 - GAP, 2 * 34 - GAP)


def test_a_studio_sheet_has_one_row_of_six_views_per_person(tmp_path: Path):
    studio_sheet(tmp_path / "sheet.png", CORPUS, people=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 18 - GAP, 3 * 34 - GAP)
