"""`upreid report`: one self-contained page about one run or several."""

from upreid.report.page import run

__all__ = ["run"]
