"""Raw BSON batches to typed Polars frames, without silently losing a value of another type.

pymongoarrow nulls what does not fit its schema. So each field that comes in two types is read twice, once a type, and a
null is believed only when the bytes say that the value is null or absent; otherwise the row is marked in `malformed`.
It also reads booleans as numbers and passes on text that is not UTF-8, which Polars cannot hold: both become null here.

Known limit: of a document that repeats a field name the first value counts, but where another document of the same batch
lacks that field pymongoarrow gives the surplus value to it unseen. Drivers do not write such documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import polars as pl
import pyarrow as pa
from pymongoarrow.context import PyMongoArrowContext
from pymongoarrow.schema import Schema
from pymongoarrow.types import ObjectIdType

from session_assets.stores.bson_documents import CODEC, elements, from_elements, split


class Kind(Enum):
    """What a field holds. All become nullable columns."""

    TEXT = auto()  # str → String
    TEXTS = auto()  # list of str → List(String), other elements null; any other type is empty or null, never malformed
    NUMBER = auto()  # int32, int64, double → Float64
    DATE = auto()  # date → Datetime(ms, UTC)
    MOMENT = auto()  # date, or numeric epoch seconds → Datetime(ms, UTC)
    ID = auto()  # ObjectId (24 hex) or str → String, and `{name}_kind`: objectid, string, null


@dataclass(frozen=True)
class Field:
    """A field to read; where `strict`, a value of any other type marks the row as malformed."""

    name: str
    kind: Kind
    strict: bool = False


ID_KINDS = pl.Enum(["objectid", "string", "null"])
_FIRST = {
    Kind.TEXT: pa.string(),
    Kind.TEXTS: pa.list_(pa.string()),
    Kind.NUMBER: pa.float64(),
    Kind.DATE: pa.timestamp("ms"),
    Kind.MOMENT: pa.timestamp("ms"),
    Kind.ID: pa.string(),
}
_SECOND = {Kind.MOMENT: pa.float64(), Kind.ID: ObjectIdType()}
_NUMERIC = {Kind.NUMBER, Kind.MOMENT}
_UNDEFINED, _BOOLEAN, _NULL = 6, 8, 10
_LAST_MS = 253402300799999  # 9999-12-31, the last date that all readers of the results can hold


class Decoder:
    """Decodes raw batches of one projection, or of whole documents, into frames with the same columns each time."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self._both = [field for field in fields if field.kind in _SECOND]
        # Of fields that come in two types: which one the last batch held more of, and whether it held both.
        self._usual = {field.name: 0 for field in self._both}
        self._mixed: set[str] = set()

    def frame(self, batch: bytes) -> pl.DataFrame:
        """One row a document, in order: the fields' columns and `malformed` (Boolean)."""
        try:
            return self._frame(batch)
        except pa.ArrowInvalid:  # columns of different lengths: a document repeats a name
            return self._frame(b"".join(from_elements(elements(document).values()) for document in split(batch)))

    def _frame(self, batch: bytes) -> pl.DataFrame:
        columns: list[pl.Series] = []
        read = self._read(batch)
        for field in self.fields:
            columns.extend(_columns(field, *read[field.name]))
        frame = pl.DataFrame(columns).with_columns(
            _without(field.name, _booleans(batch, field.name)) for field in self.fields if field.kind in _NUMERIC
        )
        return frame.with_columns(malformed=self._malformed(batch, frame))

    def _read(self, batch: bytes) -> dict[str, list[pl.Series]]:
        """Each field's values, by type. A field is read as its second type only where the first left values out.

        Old and new data lie apart, so most batches hold one type: which one came last is tried first.
        """
        first = {field.name: (_FIRST, _SECOND)[self._usual.get(field.name, 0)][field.kind] for field in self.fields}
        table = _decode(batch, Schema(first))
        read = {field.name: [_series(table, field.name)] for field in self.fields}
        rest: list[Field] = []
        for field in self._both:
            found = read[field.name][0]
            values = len(found) - found.null_count()
            if values < len(found) and (field.name in self._mixed or _typed(batch, field.name) != values):
                rest.append(field)
        other = {field.name: (_SECOND, _FIRST)[self._usual[field.name]][field.kind] for field in rest}
        more = _decode(batch, Schema(other)) if rest else None
        for field in self._both:
            one, usual = read[field.name][0], self._usual[field.name]
            two = (
                _series(more, field.name)
                if more is not None and field in rest
                else _nothing(field, 1 - usual, len(one))
            )
            self._remember(field.name, one, two)
            read[field.name] = [one, two] if usual == 0 else [two, one]
        return read

    def _remember(self, name: str, one: pl.Series, two: pl.Series) -> None:
        if two.null_count() < one.null_count():
            self._usual[name] = 1 - self._usual[name]
        both = max(one.null_count(), two.null_count()) < len(one)
        if both:
            self._mixed.add(name)
        else:
            self._mixed.discard(name)

    def _malformed(self, batch: bytes, frame: pl.DataFrame) -> pl.Series:
        suspects = []
        for field in self.fields:
            nulls = frame[field.name].null_count() if field.strict else 0
            if nulls and _typed(batch, field.name) != frame.height - nulls:
                suspects.append(field)
        if not suspects:
            return pl.Series("malformed", [False], dtype=pl.Boolean).new_from_index(0, frame.height)
        marks = [False] * frame.height
        documents = split(batch)
        for field in suspects:
            name = field.name
            for row in frame[name].is_null().arg_true():
                if _typed(documents[row], name) and not marks[row]:
                    marks[row] = _kind(documents[row], name) not in (None, _NULL, _UNDEFINED)
        return pl.Series("malformed", marks, dtype=pl.Boolean)


def _nothing(field: Field, which: int, rows: int) -> pl.Series:
    """A column of nulls in place of the type that a batch does not hold."""
    if which == 0:
        dtype = pl.String() if field.kind is Kind.ID else pl.Datetime("ms")
    else:
        dtype = pl.Binary() if field.kind is Kind.ID else pl.Float64()
    return pl.Series(field.name, [None], dtype=dtype).new_from_index(0, rows)


def _decode(batch: bytes, schema: Schema) -> pa.Table:
    context = PyMongoArrowContext(schema, codec_options=CODEC, allow_invalid=True)
    context.process_bson_stream(batch)
    return context.finish()


def _series(table: pa.Table, name: str) -> pl.Series:
    column = table.column(name)
    if isinstance(column.type, ObjectIdType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], pa.binary(12))
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _readable(name, column)
    return pl.Series(name, column)


def _readable(name: str, column: pa.ChunkedArray) -> pl.Series:
    """A column of text or of lists of text in which values that are not UTF-8 are null."""
    if pa.types.is_list(column.type):
        lists = column.cast(pa.list_(pa.binary())).to_pylist()
        return pl.Series(name, [row and [_text(value) for value in row] for row in lists], dtype=pl.List(pl.String))
    return pl.Series(name, [_text(value) for value in column.cast(pa.binary()).to_pylist()], dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _columns(field: Field, one: pl.Series, two: pl.Series | None = None) -> list[pl.Series]:
    frame = pl.DataFrame({"one": one} if two is None else {"one": one, "two": two})
    if field.kind is Kind.MOMENT:
        return frame.select(
            _in_range(pl.coalesce(_utc(pl.col("one")), _epoch_seconds(pl.col("two"))), field.name)
        ).get_columns()
    if field.kind is Kind.DATE:
        return frame.select(_in_range(_utc(pl.col("one")), field.name)).get_columns()
    if field.kind is Kind.ID:
        kind = (
            pl.when(pl.col("two").is_not_null())
            .then(pl.lit("objectid"))
            .when(pl.col("one").is_not_null())
            .then(pl.lit("string"))
            .otherwise(pl.lit("null"))
        )
        value = pl.coalesce("one", pl.col("two").cast(pl.Binary).bin.encode("hex"))
        return frame.select(value.alias(field.name), kind.cast(ID_KINDS).alias(f"{field.name}_kind")).get_columns()
    return [one]


def _utc(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def _epoch_seconds(column: pl.Expr) -> pl.Expr:
    """Epoch seconds to milliseconds as Python and BSON do it: rounded to µs, then cut to ms."""
    usable = pl.when(column.is_finite() & (column.abs() < _LAST_MS / 1000 + 1)).then(column)
    whole = usable.floor()
    micros = ((usable - whole) * 1e6).round(0, mode="half_to_even").cast(pl.Int64)
    return (whole.cast(pl.Int64) * 1000 + micros // 1000).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")


def _in_range(column: pl.Expr, name: str) -> pl.Expr:
    """Dates outside the years 1 to 9999 are no dates to the readers of the results."""
    millis = column.dt.epoch("ms")
    return pl.when(millis.is_between(-62135596800000, _LAST_MS)).then(column).alias(name)


def _typed(documents: bytes, name: str) -> int:
    """How often a field's name stands in the bytes where no null goes with it.

    Each value that is not null counts once. Values that hold the name as text may add to it, never take away; so where
    this equals the number of values that were decoded, no value was lost.
    """
    text = name.encode() + b"\x00"
    return documents.count(text) - documents.count(b"\x0a" + text)


def _kind(document: bytes, name: str) -> int | None:
    """The BSON type of a top-level field, or None where it is absent."""
    element = elements(document).get(name)
    return None if element is None else element[0]


def _booleans(batch: bytes, name: str) -> list[int]:
    """Rows in which a field is a boolean."""
    marker = bytes([_BOOLEAN]) + name.encode() + b"\x00"
    if marker not in batch:
        return []
    return [
        row for row, document in enumerate(split(batch)) if marker in document and _kind(document, name) == _BOOLEAN
    ]


def _without(name: str, rows: list[int]) -> pl.Expr:
    """A column with null in some rows."""
    return pl.when(~pl.int_range(pl.len()).is_in(rows)).then(pl.col(name)).alias(name) if rows else pl.col(name)
