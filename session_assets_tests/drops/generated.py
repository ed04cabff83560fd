"""Files of records with dialects, dirt and stray quotes, each the same for the same number."""

from __future__ import annotations

import random
from dataclasses import dataclass

WIDTHS = (1, 2, 3, 3, 5, 9, 9, 12, 40, 300, 1000, 5000)
STRAY_SHARES = (0.0, 0.00001, 0.0001, 0.001, 0.01, 0.01, 0.05)
_TEXTS = ("a", "", "Zoë", "x y", "42", "日本", "5 inch", "=1", " lead", "trail ", "\ufeffm", "0.5", "'", "long " * 9)
_QUOTED = ("a,b", "two\nlines", "cr\rlf\r\n", 'said ""so""', "", "plain", ";", "\t", "1,2,3\n4,5,6\n7,8,9")
_DIRT = (b"\xff", b"\0", b"\xe9t\xe9", b'"', b",", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b'""', b"\x1f")


@dataclass(frozen=True)
class Made:
    """A file: its header and content are UTF-8 (but for dirt), its columns are named `c0`, `c1`, …"""

    delimiter: str
    width: int
    header: bytes
    content: bytes
    strays: int

    @property
    def data(self) -> bytes:
        return self.header + self.content


def generated(number: int, size: int | None = None) -> Made:
    """A file by its number; of about `size` bytes (within a few per cent if it is large), else mostly of some kilobytes."""
    chance = random.Random(number)
    width = chance.choice(WIDTHS)
    delimiter = chance.choice([",", ",", ";", "\t"]) if width > 1 else ","
    end = chance.choice(["\n", "\n", "\r\n", "\r"]).encode()
    quoting = chance.choice([0.0, 0.02, 0.3, 1.0])
    share, dirt = chance.choice(STRAY_SHARES), chance.choice([0.0, 0.0, 0.01, 0.2])
    wanted = size or chance.choice([300, 3_000, 20_000, 60_000, 90_000])
    rows = max(1, wanted // (width * 5))
    bank = [_row(chance, width, delimiter, quoting) for _ in range(min(rows, 2_000))]
    if size is not None:
        rows = 1 + size * len(bank) // sum(len(line) + len(end) for line in bank)
    strays, lines = 0, list[bytes]()
    for place in range(rows):
        line = bank[place] if place < len(bank) else chance.choice(bank)
        if chance.random() < share:
            strays += 1
            at = chance.choice([0, len(line), chance.randint(0, len(line)), _after(line, delimiter, chance)])
            line = line[:at] + b'"' + line[at:]
        if chance.random() < dirt:
            at = chance.randint(0, len(line))
            line = line[:at] + chance.choice(_DIRT) + line[at + chance.randint(0, 2) :]
        lines.append(line)
    last = b"" if chance.random() < 0.3 else end
    names = delimiter.join(f"c{place}" for place in range(width)).encode()
    return Made(delimiter, width, names + end, end.join(lines) + last, strays)


def _row(chance: random.Random, width: int, delimiter: str, quoting: float) -> bytes:
    values = []
    for _ in range(width):
        if chance.random() < quoting:
            values.append(f'"{chance.choice(_QUOTED)}"')
        else:
            values.append(chance.choice(_TEXTS).replace(delimiter, " "))
    return delimiter.join(values).encode()


def _after(line: bytes, delimiter: str, chance: random.Random) -> int:
    """A place where a field begins."""
    places = [at + 1 for at, code in enumerate(line[:2_000]) if code == ord(delimiter)] or [0]
    return chance.choice(places)
