"""Exact partition keys of a run that the terminal starts, as one short tag.

A range run of Dagster has no gaps; this tag says which keys of the range are meant, for example the days that hold documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TAG = "session_assets/partitions"
WHOLE_TAG = "session_assets/whole"
"""Set where the keys were all that held documents when the run was started: the whole collection is read, without a filter."""
_TO, _AND = "...", ","


def encode(keys: Iterable[str], ordered: Sequence[str]) -> str:
    """Keys as runs of neighbours in `ordered`: `2025-01-01...2025-01-03,2025-02-01`."""
    chosen = set(keys)
    runs: list[list[str]] = []
    previous_chosen = False
    for key in ordered:
        if key in chosen:
            if previous_chosen:
                runs[-1][1:] = [key]
            else:
                runs.append([key])
        previous_chosen = key in chosen
    return _AND.join(_TO.join(run) for run in runs)


def decode(text: str, ordered: Sequence[str]) -> list[str]:
    """The keys that `encode` was given, in order."""
    position = {key: number for number, key in enumerate(ordered)}
    result: list[str] = []
    for run in filter(None, text.split(_AND)):
        first, _, last = run.partition(_TO)
        result.extend(ordered[position[first] : position[last or first] + 1])
    return result
