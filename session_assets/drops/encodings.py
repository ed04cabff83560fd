"""Which encoding some bytes may have. A suggestion for messages: nothing is ever read by it before a person has said so."""

from __future__ import annotations

from charset_normalizer import from_bytes

_SAMPLE = 64 * 1024
_LIKELY = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "shift_jis",
    "gb18030",
    "big5",
    "euc_kr",
    "euc_jp",
    "koi8_r",
]


def suggest_encoding(sample: bytes) -> str | None:
    """The encoding that bytes which are no UTF-8 most likely have; None where nothing speaks for one."""
    sample = sample[:_SAMPLE]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    if not sample or b"\0" in sample:
        return None
    best = from_bytes(sample, cp_isolation=_LIKELY).best()
    alike = best.could_be_from_charset if best is not None else []  # they decode the sample to the same text
    return min(alike, key=_LIKELY.index, default=None)
