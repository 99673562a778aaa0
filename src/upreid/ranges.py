"""Ranges of numbers, written beside a field: `batch: Annotated[int, Range(least=1)] = 256`; and words that many fields share.

The command line checks them for every command (config/options.py); the usual ones have names.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

LARGEST = 10**9
"""Upper limit of whole numbers that have none of their own: nothing counts further, and much more overflows memory."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a setting may have: limits where they have any; NaN and infinities are in no range."""

    least: int | float | None = None
    above: int | float | None = None
    """Lower limit that is itself not in the range, in place of `least`."""
    most: int | float | None = None
    """Upper limit; for whole numbers LARGEST where none is given."""
    advice: str = ""
    """What an error message adds to the range."""

    def admits(self, number: int | float) -> bool:
        """Tell whether a number is in the range."""
        return (
            math.isfinite(number)
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and not self.is_too_large(number)
        )

    def beside(self, number: int | float | None) -> str:
        """Return the words that follow "give a number" for one that is not in the range."""
        return f" of at most {LARGEST:,}" if number is not None and self.is_too_large(number) else str(self)

    def is_too_large(self, number: int | float) -> bool:
        """Tell whether a whole number counts further than anything does."""
        return isinstance(number, int) and self.most is None and number > LARGEST

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f" from {self.least:,} to {self.most:,}{self.advice}"
        lower = "" if self.above is None else f" above {self.above:,}"
        lower = lower if self.least is None else f" of at least {self.least:,}"
        return lower + ("" if self.most is None else f" and up to {self.most:,}") + self.advice


Interpolation = Literal["bilinear", "bicubic", "bilinear-aliased"]
"""Ways to resize an image; all but the last widen their filter where an image shrinks (antialiasing), and trackers do not."""
FOR_PIXELS = ", for pixels from 0 to 1 (divide statistics of pixels from 0 to 255 by 255)"

Count = Annotated[int, Range(least=1)]
CountOrZero = Annotated[int, Range(least=0)]
Seed = Annotated[int, Range(least=0, most=2**63 - 1)]
Pixels = Annotated[int, Range(least=1, most=4096)]
Positive = Annotated[float, Range(above=0)]
Epochs = Annotated[float, Range(above=0, most=10**6)]
EpochsOrZero = Annotated[float, Range(least=0, most=10**6)]
Seconds = Annotated[float, Range(least=0, most=10**9)]
NotNegative = Annotated[float, Range(least=0)]
Share = Annotated[float, Range(above=0, most=1)]
ShareOrZero = Annotated[float, Range(least=0, most=1)]
Mean = Annotated[float, Range(least=0, most=1, advice=FOR_PIXELS)]
Deviation = Annotated[float, Range(above=0, most=1, advice=FOR_PIXELS)]
