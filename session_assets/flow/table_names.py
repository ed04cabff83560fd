"""Names of tables, written one way and quoted by us: `table` or `schema.table`, each part as the catalogue has it.

Case counts. A part that holds a dot or a double quote is put in double quotes, a quote inside is doubled: `app."a.b"`.
"""

from __future__ import annotations

import re

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
LONGEST = 63
"""Bytes of an identifier of PostgreSQL."""


def parts(name: str) -> tuple[str | None, str]:
    """The schema, None where the search path finds it, and the table. Raises `ValueError` that says how names are written."""
    found, rest = list[str](), f".{name}"
    while rest.startswith(".") and (match := _PART.match(rest, 1)) is not None:
        found.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        rest = rest[match.end() :]
    if rest or not 1 <= len(found) <= 2:
        raise ValueError(
            f"{name!r} is no name of a table: write table or schema.table as the catalogue has them; a part that holds a dot or"
            " a double quote stands in double quotes"
        )
    if any(len(one.encode()) > LONGEST for one in found):
        raise ValueError(f"{name!r} is longer than {LONGEST} bytes, which no name in PostgreSQL is")
    return (None, found[0]) if len(found) == 1 else (found[0], found[1])


def quoted(name: str) -> str:
    """A name as `to_regclass` takes it: every part in double quotes."""
    schema, table = parts(name)
    return ".".join('"' + one.replace('"', '""') + '"' for one in (schema, table) if one is not None)


def written(schema: str | None, table: str) -> str:
    """A name as people write it: quotes only where they are needed."""
    return ".".join(
        '"' + one.replace('"', '""') + '"' if "." in one or '"' in one else one
        for one in (schema, table)
        if one is not None
    )
