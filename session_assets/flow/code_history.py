"""References over the revisions of a repository: each blob is tokenized once, whatever revisions hold it.

Counts of blobs are kept in the storage by blob id, below a folder that names what was searched for and which Python read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from session_assets.flow.code_model import TREND
from session_assets.flow.code_python import tokenized_by
from session_assets.flow.code_scan import OTHER, Source, language_of, scan_many
from session_assets.flow.code_tokens import COMMENT, IDENTIFIER, STRING
from session_assets.flow.code_tree import CodeSettings
from session_assets.storage import Storage
from session_assets.stores.git import Blob, Commit, Repository

_RULES = 2  # raise it where the rules of counting change, so that no older count is used
_COUNTS = pl.Schema(
    {
        "blob": pl.String,
        "language": pl.String,
        "identifiers": pl.Int64,
        "strings": pl.Int64,
        "comments": pl.Int64,
        "unread": pl.Boolean,
    }
)
_Key = tuple[str, str]  # blob id and language
_Counts = tuple[int, int, int, bool]


def trend(storage: Storage, settings: CodeSettings) -> tuple[pl.DataFrame, int]:
    """A frame of `TREND`, the oldest first, and how many blobs were tokenized anew. Raises `BadInput` without a history."""
    repository = Repository(settings.root)
    chosen = spaced(repository.commits(), settings.revisions)
    trees = {commit.revision: _code(repository.blobs(commit.revision), settings) for commit in chosen}
    known = _stored(storage, settings)
    fresh = {(blob.id, language_of(blob.path)): blob for blobs in trees.values() for blob in blobs}
    fresh = {key: blob for key, blob in fresh.items() if key not in known}
    known |= _counted(repository, fresh, settings)
    if fresh:
        rows = [(*key, *counts) for key, counts in sorted(known.items())]
        storage.write_parquet(_file(settings), pl.DataFrame(rows, schema=_COUNTS, orient="row"))
    rows = [_point(commit, trees[commit.revision], known, settings) for commit in chosen]
    return pl.DataFrame(rows, schema=TREND, orient="row"), len(fresh)


def spaced(commits: Sequence[Commit], most: int) -> list[Commit]:
    """At most so many commits, evenly spaced, the first and the last among them."""
    if len(commits) <= most or most < 2:
        return list(commits[-most:]) if most else []
    last = len(commits) - 1
    return [commits[round(place * last / (most - 1))] for place in range(most)]


def _code(blobs: Iterable[Blob], settings: CodeSettings) -> list[Blob]:
    return [blob for blob in blobs if language_of(blob.path) != OTHER and not settings.is_skipped(blob.path)]


def _counted(repository: Repository, fresh: dict[_Key, Blob], settings: CodeSettings) -> dict[_Key, _Counts]:
    languages = {key: blob for key, blob in fresh.items() if blob.size <= settings.largest}
    result: dict[_Key, _Counts] = dict.fromkeys(fresh, (0, 0, 0, True))

    def sources() -> Iterator[Source]:
        order = list(languages)
        contents = repository.contents(languages[key] for key in order)
        for (identifier, language), (blob, content) in zip(order, contents, strict=True):
            yield Source(identifier, language, blob.size, content=content)

    for source, scan in scan_many(sources(), settings.names, settings.largest, settings.processes):
        counts = (scan.count(IDENTIFIER), scan.count(STRING), scan.count(COMMENT))
        result[source.name, source.language] = (*counts, scan.may_hold)
    return result


def _point(commit: Commit, blobs: list[Blob], known: dict[_Key, _Counts], settings: CodeSettings) -> tuple[object, ...]:
    identifiers = strings = comments = allowed = unread = 0
    for blob in blobs:
        counts = known[blob.id, language_of(blob.path)]
        comments += counts[2]
        if settings.is_allowed(blob.path):
            allowed += counts[0] + counts[1]
        else:
            identifiers += counts[0]
            strings += counts[1]
            unread += counts[3]
    return (commit.revision, commit.at, len(blobs), identifiers, strings, comments, allowed, unread)


def _stored(storage: Storage, settings: CodeSettings) -> dict[_Key, _Counts]:
    if not storage.exists(_file(settings)):
        return {}
    rows = storage.read_parquet(_file(settings)).iter_rows()
    return {(blob, language): (one, two, three, unread) for blob, language, one, two, three, unread in rows}


def _file(settings: CodeSettings) -> str:
    what = f"{_RULES}\n{tokenized_by()}\n{settings.largest}\n{sorted(settings.names.names)}"
    return f"flow/code_blobs/{hashlib.sha256(what.encode()).hexdigest()[:16]}.parquet"
