"""The physical lines of a block of bytes, and how lines or records are divided by their delimiters outside quotes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

QUOTE, CR, LF = 34, 13, 10
Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Lines:
    """The whole physical lines of a block. LF, CRLF and CR end one."""

    starts: Positions
    ends: Positions  # without the line end
    nexts: Positions  # where the next line starts

    @property
    def consumed(self) -> int:
        return int(self.nexts[-1]) if self.nexts.size else 0

    @staticmethod
    def of(codes: Codes, *, is_last: bool) -> Lines:
        """The lines that end in the block; of the last block also the one that has no end."""
        newlines = codes == LF
        returns = codes == CR
        if returns.any():
            alone = returns.copy()
            alone[:-1] &= ~newlines[1:]
            if not is_last:
                alone[-1] = False  # its LF may be in the next block
            nexts = np.flatnonzero(newlines | alone) + 1
        else:
            nexts = np.flatnonzero(newlines) + 1
        is_open = is_last and codes.size > (nexts[-1] if nexts.size else 0)
        if is_open:
            nexts = np.append(nexts, codes.size)
        starts = np.concatenate((np.zeros(1, np.int64), nexts[:-1])) if nexts.size else nexts
        ends = nexts - 1
        if is_open:
            ends[-1] += 1
        ends -= (ends > starts) & (codes[np.minimum(ends, codes.size - 1)] == LF) & (codes[ends - 1] == CR)
        return Lines(starts, ends, nexts)


@dataclass(frozen=True)
class Fields:
    """How consecutive stretches of a block (lines, or records) are divided if each begins outside quotes."""

    quotes: Positions
    owned: Positions  # quotes of each stretch
    is_odd: Flags  # of each quote: an odd number of quotes of its stretch comes before it
    is_clean: Flags  # of each stretch: every quote opens or closes a whole field, or is one of a doubled pair
    delimiters: Positions  # those outside quotes
    counts: Positions  # fields of each stretch; holds for clean ones

    @property
    def is_open(self) -> Flags:
        """Of each stretch: it holds an odd number of quotes."""
        return (self.owned & 1).astype(np.bool_)

    @staticmethod
    def of(
        codes: Codes, quotes: Positions, delimiters: Positions, starts: Positions, ends: Positions, mark: int
    ) -> Fields:
        """`mark` is the code of the delimiter. Each quote and delimiter must stand in a stretch."""
        owned = _owned(quotes, starts)
        apart = _owned(delimiters, starts)
        if quotes.size:
            owner = np.repeat(np.arange(starts.size), owned)
            first = np.cumsum(owned) - owned
            is_odd = ((np.arange(quotes.size) - first[owner]) & 1).astype(np.bool_)
            before, after = codes[np.maximum(quotes - 1, 0)], codes[np.minimum(quotes + 1, codes.size - 1)]
            opens = (quotes == starts[owner]) | (before == mark) | (before == QUOTE)
            closes = (quotes + 1 == ends[owner]) | (after == mark) | (after == QUOTE)
            is_clean = np.bincount(owner[~np.where(is_odd, closes, opens)], minlength=starts.size) == 0
            earlier = np.repeat(
                np.arange(quotes.size + 1),
                np.diff(np.searchsorted(delimiters, quotes), prepend=0, append=delimiters.size),
            )
            is_inside = ((earlier - np.repeat(first, apart)) & 1).astype(np.bool_)
            delimiters = delimiters[~is_inside]
            apart = _owned(delimiters, starts)
        else:
            is_odd, is_clean = np.zeros(0, np.bool_), np.ones(starts.size, np.bool_)
        return Fields(quotes, owned, is_odd, is_clean, delimiters, apart + 1)


def _owned(places: Positions, starts: Positions) -> Positions:
    """How many of some positions stand in each stretch; none stands before the first."""
    return np.diff(np.searchsorted(places, starts), append=places.size)


def positions(codes: Codes, code: int, end: int) -> Positions:
    """Where a byte stands before `end`."""
    return np.flatnonzero(codes[:end] == code)
