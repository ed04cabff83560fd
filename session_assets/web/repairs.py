"""From classified documents to change rows: the repair of single documents, the fold of duplicates, the removal of orphans.

Frames in have the columns that `facts.classify` gives; frames out have `CHANGES`. Documents are patched as bytes, so that
fields that no rule touches stay exactly as they are.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from session_assets.changes.change_set import conform, empty_changes
from session_assets.stores.bson_documents import NULL, elements, encode, identifier, merged, named_elements, patched
from session_assets.web.model import LARGEST
from session_assets.web.session_update import user_text
from session_assets.web.stored import PLAIN, WebShape

OTHER_VALUES = "other_values"
_PAGE, _FIELDS = 16, 1024  # bytes that a page takes beside its text, and all other repaired fields, at the most
_TIMES = ("first_event_at", "last_event_at", "fact_first", "fact_last")
_USER = ("new_user", "user_id", "user_id_kind")
_NEEDED = {
    "zero_event_count": ("fact_event_count",),
    "event_count_mismatch": ("fact_event_count",),
    "timestamps_mismatch": _TIMES,
    "first_after_last": _TIMES,
    "empty_pages": ("fact_pages",),
    "pages_mismatch": ("fact_pages",),
    "user_mismatch": _USER,
    "client_mismatch": ("new_client",),
}
"""The columns that the repair of each reason looks at: to make Python values of all of them would take most of the time."""


def repair_rows(classified: pl.DataFrame, shape: WebShape = PLAIN) -> pl.DataFrame:
    """One `update` for each document that is `planned`; only the fields that are wrong are touched."""
    planned = classified.filter(pl.col("class") == "planned")
    if planned.is_empty():
        return empty_changes()
    after = [b""] * planned.height
    alike = planned.with_columns(place=pl.int_range(pl.len()), why=pl.col("reasons").list.join(","))
    for (why,), group in alike.partition_by("why", as_dict=True).items():
        reasons = str(why).split(",")
        names = list(dict.fromkeys(name for reason in reasons for name in _NEEDED[reason]))
        documents = group["document"]
        special = shape.stored_otherwise(documents, with_times="first_event_at" in names)
        for row, (place, *values) in enumerate(group.select("place", *names).iter_rows()):
            fields = _repaired({"reasons": reasons, **dict(zip(names, values, strict=True))})
            after[place] = encode(shape.as_stored(fields, documents[row]) if row in special else fields)
    return conform(
        planned.select(
            "partition",
            "key",
            pl.lit("update").alias("op"),
            pl.col("document").alias("before"),
            pl.Series("after", after, dtype=pl.Binary),
            "reasons",
        )
    )


def _repaired(row: dict[str, Any]) -> dict[str, Any]:
    """The touched fields of one document as they shall stand."""
    reasons = row["reasons"]
    fields: dict[str, Any] = {}
    if "zero_event_count" in reasons or "event_count_mismatch" in reasons:
        fields["event_count"] = row["fact_event_count"]
    if "timestamps_mismatch" in reasons or "first_after_last" in reasons:
        if row["first_event_at"] != row["fact_first"]:
            fields["first_event_at"] = row["fact_first"]
        if row["last_event_at"] != row["fact_last"]:
            fields["last_event_at"] = row["fact_last"]
    if "empty_pages" in reasons or "pages_mismatch" in reasons:
        fields["pages"] = row["fact_pages"]
    if "user_mismatch" in reasons:
        fields["user_id"] = identifier(
            row["new_user"], prefer_object_id=row["user_id_kind"] != "string" or row["user_id"] == ""
        )
    if "client_mismatch" in reasons:
        fields["client_id"] = row["new_client"]
    return fields


def held_if_too_large(classified: pl.DataFrame, shape: WebShape = PLAIN) -> pl.DataFrame:
    """The rows with `too_large` as the reason of each document whose repair MongoDB would not store; it is listed, not planned.

    Without that one such document would only be found by the write that the server refuses.
    """
    grown = pl.col("fact_pages").list.eval(pl.element().str.len_bytes() + _PAGE).list.sum().fill_null(0)
    suspicious = classified.filter(
        (pl.col("class") == "planned") & (pl.col("document").bin.size() + grown + _FIELDS > LARGEST)
    )
    if suspicious.is_empty():
        return classified
    rows = repair_rows(suspicious, shape).select("key", "before", "after").iter_rows()
    large = [key for key, before, after in rows if len(patched(before, after, [])) > LARGEST]
    is_large = pl.col("key").is_in(large)
    return classified.with_columns(
        pl.when(is_large).then(pl.lit("listed")).otherwise("class").alias("class"),
        pl.when(is_large).then(pl.lit(["too_large"])).otherwise("reasons").alias("reasons"),
    )


def fold_rows(classified: pl.DataFrame, too_large: list[str] | None = None, *, shape: WebShape = PLAIN) -> pl.DataFrame:
    """Duplicates of one session_id: the most complete document is recomputed, the others are deleted after it.

    Fields that only the others have are taken over, the earliest `_id` first. Where one of the others has a value of its own,
    neither recomputed nor taken over, its delete has the reason `other_values`, with the names: a person sees it beforehand.
    A session whose folded document MongoDB would not store is left out, and its id goes to `too_large`.
    """
    duplicates = classified.filter((pl.col("class") == "listed") & pl.col("reasons").list.contains("duplicate_session"))
    rows: list[dict[str, Any]] = []
    for group in duplicates.partition_by("session_id", maintain_order=True):
        documents = group.with_columns(score=_completeness()).sort("score", "key", descending=[True, False])
        folded = _fold(documents.to_dicts(), shape)
        if folded is not None:
            rows.extend(folded)
        elif too_large is not None:
            too_large.append(group["session_id"][0])
    return conform(pl.DataFrame(rows, schema_overrides=_ROW_TYPES)) if rows else empty_changes()


_LISTS = ("requires", "reasons", "beside")
_ROW_TYPES = {"before": pl.Binary, "after": pl.Binary, **dict.fromkeys(_LISTS, pl.List(pl.String))}


def _completeness() -> pl.Expr:
    """How many fields say something; then how many pages, then how many events they say."""
    said = [pl.col(name).is_not_null() & (pl.col(name) != "") for name in ("user_id", "client_id")] + [
        pl.col(name).is_not_null() for name in ("first_event_at", "last_event_at", "created_at")
    ]
    pages, count = pl.col("pages").fill_null([]).list.len(), pl.col("event_count").fill_null(0)
    filled = pl.sum_horizontal(*(test.cast(pl.Int64) for test in [*said, pages > 0, count > 0]))
    return pl.struct(filled=filled, pages=pages, events=count)


def _fold(documents: list[dict[str, Any]], shape: WebShape) -> list[dict[str, Any]] | None:
    """The rows of one session, or None where the folded document would be too large."""
    survivor, *others = documents
    folded = merged(survivor["document"], [other["document"] for other in sorted(others, key=lambda one: one["key"])])
    target = {**survivor, "reasons": _ALL}
    after = patched(folded, encode(shape.as_stored(_with_single_user(target), folded)), [])
    if len(after) > LARGEST:
        return None
    rows: list[dict[str, Any]] = []
    partition, required = survivor["partition"], []
    if after != survivor["document"]:
        rows.append(_row(partition, survivor, "replace", after, []))
        required = [survivor["key"]]
    group = [document["key"] for document in documents]
    stays = elements(after)
    for other in others:
        row = {**_row(partition, other, "delete", None, required), "beside": group}
        if names := _other_values(other, stays, shape):
            row["reasons"] = [*row["reasons"], f"{OTHER_VALUES}: {', '.join(names)}"]
        rows.append(row)
    return rows


def _other_values(document: dict[str, Any], stays: dict[str, bytes], shape: WebShape) -> list[str]:
    """The fields of a duplicate whose value the folded document does not have, but for those that events tell."""
    told = {"event_count", "pages", "first_event_at", "last_event_at"}
    told |= {f"{name}_id" for name in ("user", "client") if document[f"new_{name}"] is not None}
    told = {"_id", *(shape.sessions.stored(name) for name in told)}
    mine = named_elements(document["document"])
    names = (name for name, value in mine if name not in told and value[0] != NULL and stays[name] != value)
    return list(dict.fromkeys(names))


_ALL = ("event_count_mismatch", "timestamps_mismatch", "pages_mismatch")


def _with_single_user(row: dict[str, Any]) -> dict[str, Any]:
    more = [name for name in ("user", "client") if row[f"new_{name}"] is not None]
    same_user = user_text(row) == row["new_user"]
    reasons = [*row["reasons"], *(f"{name}_mismatch" for name in more if not (name == "user" and same_user))]
    return _repaired({**row, "reasons": reasons})


def _row(partition: str, document: dict[str, Any], op: str, after: bytes | None, requires: list[str]) -> dict[str, Any]:
    return {
        "partition": partition,
        "key": document["key"],
        "op": op,
        "before": document["document"],
        "after": after,
        "reasons": ["duplicate_session"],
        "requires": requires,
        "beside": [],
    }


def orphan_rows(classified: pl.DataFrame, *, first: datetime | None, now: datetime, grace_days: float) -> pl.DataFrame:
    """A `delete` for each session without events, count or pages that is older than the grace period.

    `first` is the time of the first event of the whole collection (None: there is none). A session from before it stays: its
    events may have been removed since, as by an index that lets them expire.
    """
    orphans = _orphans(classified).filter(_is_old(now, grace_days) & _is_within(first))
    return conform(
        orphans.select("partition", "key", pl.lit("delete").alias("op"), pl.col("document").alias("before"), "reasons")
    )


def kept_orphans(classified: pl.DataFrame, *, first: datetime | None, now: datetime, grace_days: float) -> pl.DataFrame:
    """The orphans that `orphan_rows` leaves out: `id` (the session_id), and `reason`, a name of `model.NOT_PLANNED`.

    The reason of one that is too young names the newest of its times: that one says that it may still get events.
    """
    newest, is_old = _newest(), _is_old(now, grace_days)
    reason = pl.lit("no_time")
    for name, moment in reversed(_moments().items()):
        reason = pl.when(moment == newest).then(pl.lit(name)).otherwise(reason)
    reason = pl.when(is_old).then(pl.lit("before_events")).otherwise(reason)
    return _orphans(classified).filter(~(is_old & _is_within(first))).select(id="session_id", reason=reason)


def _is_old(now: datetime, grace_days: float) -> pl.Expr:
    return (_newest() < now - timedelta(days=grace_days)).fill_null(False)


def _is_within(first: datetime | None) -> pl.Expr:
    """Whether events of that time are still there."""
    return pl.lit(False) if first is None else (_newest() >= first).fill_null(False)


def _orphans(classified: pl.DataFrame) -> pl.DataFrame:
    return classified.filter((pl.col("class") == "listed") & pl.col("reasons").list.contains("orphan_session"))


def _newest() -> pl.Expr:
    return pl.max_horizontal(*_moments().values())


def _moments() -> dict[str, pl.Expr]:
    """What says how old an orphan is, by the reason for which it is too young."""
    id_seconds = pl.col("key").str.extract(r'"\$oid":"([0-9a-f]{8})').str.to_integer(base=16, strict=False)
    id_time = (id_seconds.cast(pl.Int64) * 1000).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    fields = ("created_at", "first_event_at", "last_event_at")
    return {f"young_{name}": pl.col(name) for name in fields} | {"young_id": id_time}
