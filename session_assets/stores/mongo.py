"""Reading from MongoDB: connections with clear errors, streamed raw batches, and what the loop asks of a collection."""

from __future__ import annotations

import os
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import polars as pl
from bson import ObjectId, _convert_raw_document_lists_to_streams, _decode_selective
from bson.raw_bson import _RAW_ARRAY_BSON_OPTIONS, _RawArrayBSONDocument
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.cursor import RawBatchCursor
from pymongo.database import Database
from pymongo.errors import ConfigurationError, ConnectionFailure, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from session_assets.changes.evidence import Holding
from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.masking import one_line, safe_text
from session_assets.stores import silence
from session_assets.stores.bson_batch import Batch
from session_assets.stores.bson_documents import RAW_VALUES
from session_assets.stores.bson_frames import Field, documents_of, frame_of, keys_of, read_frame
from session_assets.stores.mongo_calls import counted
from session_assets.stores.mongo_silence import MongoCalls, application_name, unsaid

_T = TypeVar("_T")
_IN_CHUNK, _IN_BYTES = 10_000, 4 * 1024 * 1024  # of one query: a server takes 16 MiB, and ids may be tokens of some KiB
_TEXT, _OBJECT_ID = "string", "objectId"
_NO_IDS = [
    "binData", "bool", "date", "dbPointer", "decimal", "double", "int", "javascript", "javascriptWithScope", "long",
    "maxKey", "minKey", "object", "regex", "timestamp",
]  # fmt: skip
"""Types that are neither texts, ObjectIds, nor nothing, and that an index on the field tells apart from them."""
_NO_IDS_UNTOLD = ["array", "symbol"]  # an index mixes them with the texts
_BATCH = 12_000  # documents a wire batch, so that small ones do not fill the 16 MiB that a server would send
_TIMEOUTS: dict[str, Any] = {"serverSelectionTimeoutMS": 8000, "connectTimeoutMS": 5000}  # where the URI says nothing
_DUMPS = re.compile(r", (?:Timeout: |full error: |Topology Description: )")
_CONFIGURED = re.compile(r" \(configured timeouts: [^)]*\)")
_AUTHORIZATION = {13, 18}  # Unauthorized, AuthenticationFailed
_clients: dict[tuple[int, str], MongoClient] = {}


def database(variable: str, default: str, env: Mapping[str, str] | None = None) -> Database:
    """The database that a variable's URI names (else `default`), reachable and usable.

    Clients are kept per process, since they do not survive a fork. Whatever the URI says, all is read from the primary: the
    events from a member that is behind would be older than the documents (docs/decisions/0002). Raises `NotConfigured`,
    `UsageError` for an URI that cannot be read, and `StoreUnavailable`.
    """
    uri = (os.environ if env is None else env).get(variable, "")
    if not uri:
        raise NotConfigured(variable, "MongoDB")
    client = _clients.get((os.getpid(), uri))
    if client is None:
        try:
            options, name = unsaid(uri, _TIMEOUTS), application_name()
            calls = MongoCalls(variable, uri, name, options)
            client = MongoClient(uri, appname=name, tz_aware=True, event_listeners=[calls], **options, **counted())
        except (InvalidURI, ConfigurationError, ValueError) as error:
            raise UsageError(f"{variable} is not a MongoDB URI: {safe_text(error)}") from None
        if not client.write_concern.acknowledged:
            raise UsageError(
                f"{variable} says w=0: nobody could tell what was written. Leave it out, or say w=majority."
            )
        attempt(variable, lambda: client.admin.command("ping"))
        _clients[os.getpid(), uri] = client
        silence.watch(calls)
    return client.get_default_database(default, read_preference=ReadPreference.PRIMARY)


def ping(variable: str, default: str) -> None:
    """Ask the server whether it is there. Raises as `database`."""
    found = database(variable, default)
    attempt(variable, lambda: found.client.admin.command("ping"))


def source_name(variable: str, default: str, env: Mapping[str, str] | None = None) -> str:
    """The database that a variable's URI names, as hosts and name: no credentials, no options."""
    uri = (os.environ if env is None else env).get(variable, "")
    if not uri:
        raise NotConfigured(variable, "MongoDB")
    try:
        parsed = parse_uri(uri, validate=False)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise UsageError(f"{variable} is not a MongoDB URI: {safe_text(error)}") from None
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in parsed["nodelist"]))
    return f"mongodb://{hosts}/{parsed['database'] or default}"


def attempt(variable: str, action: Callable[[], _T]) -> _T:
    """Run a read or an idempotent command; the driver retries once, then the store counts as unavailable."""
    try:
        return action()
    except (ConnectionFailure, OperationFailure, ConfigurationError) as error:
        raise unavailable(variable, error) from error


def unavailable(variable: str, error: PyMongoError) -> Exception:
    """A driver's error as one that names the store and the variable, never the URI."""
    if isinstance(error, OperationFailure) and error.code not in _AUTHORIZATION:
        return error
    return StoreUnavailable("MongoDB", variable, silence.said(variable) or reason_of(error))


def reason_of(error: PyMongoError) -> str:
    """What a driver's error says, without the dump of the topology or of the server's whole answer that follows it."""
    said = _CONFIGURED.sub("", str(error))
    return one_line(_DUMPS.split(said, maxsplit=1)[0]).rstrip(". ")


class MongoSource:
    """One collection, read in raw batches on a thread of its own, so that the server and we work at the same time."""

    def __init__(self, collection: Collection, variable: str) -> None:
        self.collection = collection
        self.variable = variable

    def batches(
        self, query: dict[str, Any], projection: dict[str, Any] | None = None, size: int = _BATCH
    ) -> Iterator[bytes]:
        """Raw batches of at most `size` documents that match, in natural order; at most three are held in memory."""
        raw = self.collection.with_options(codec_options=RAW_VALUES)
        yield from self._prefetched(_Batches(raw, query, projection, batch_size=size))

    def frames(self, fields: tuple[Field, ...], query: dict[str, Any]) -> Iterator[pl.DataFrame]:
        """Typed frames of some fields, projected on the server, and of `malformed`."""
        for batch in self.batches(query, {"_id": 0} | _projection(fields)):
            yield read_frame(batch, fields)

    def keyed(
        self, fields: tuple[Field, ...], query: dict[str, Any], computed: dict[str, Any]
    ) -> Iterator[pl.DataFrame]:
        """As `frames`, and `key` (String); `computed` gives the expressions of fields that the server computes."""
        for data in self.batches(query, _projection(fields) | computed):
            batch = Batch(data)
            yield frame_of(batch, fields).with_columns(keys_of(batch))

    def documents(self, fields: tuple[Field, ...], query: dict[str, Any]) -> Iterator[pl.DataFrame]:
        """Whole documents: `key` (String), `document` (Binary), typed columns of some fields, and `malformed`."""
        for data in self.batches(query):
            batch = Batch(data)
            yield frame_of(batch, fields).with_columns(keys_of(batch), documents_of(batch))

    def by_values(self, field: str, values: pl.Series) -> Iterator[dict[str, Any]]:
        """Queries that together match all documents whose `field` is among `values` (texts), or all documents.

        24 hex digits are looked up as an ObjectId, too. With an index on the field they are a chunk of values each; without
        one, a single read of everything is cheaper than a scan per chunk: the caller keeps what it wants.
        """
        indexed = self._indexed_types(field)
        if _TEXT not in indexed:
            yield {}
            return
        ordered = values.sort().alias("value").to_frame()
        for chunk in _chunks(ordered):
            yield {field: {"$in": chunk, "$type": _TEXT}}
        hexes = ordered.filter(pl.col("value").str.contains(r"^[0-9a-f]{24}$"))
        if hexes.is_empty():
            return
        if _OBJECT_ID not in indexed:  # the server reads all, but sends only those
            yield {field: {"$type": _OBJECT_ID}}
            return
        for chunk in _chunks(hexes):
            yield {field: {"$in": [ObjectId(one) for one in chunk], "$type": _OBJECT_ID}}

    def has_index(self, field: str) -> bool:
        """Whether an index leads with the field, so that looking text values up is cheap; one on texts alone will do."""
        return _TEXT in self._indexed_types(field)

    def _indexed_types(self, field: str) -> set[str]:
        """Of `string` and `objectId`, the types of values that an index leads to."""
        found: set[str] = set()
        for index in attempt(self.variable, lambda: list(self.collection.list_indexes())):
            if next(iter(index["key"])) == field:
                part = index.get("partialFilterExpression")
                found.update(one for one in (_TEXT, _OBJECT_ID) if part in (None, {field: {"$type": one}}))
        return found

    def estimated_count(self) -> int:
        return attempt(self.variable, self.collection.estimated_document_count)

    def holding(self, ids: str = "", unreadable: int = 0) -> Holding:
        """How many documents there are, as the server estimates them; none where there is no collection of the name.

        `unreadable` of them say in no way that anybody understands what they belong to; `ids` is the field where they should.
        """
        database, name = self.collection.database, self.collection.name
        only: dict[str, Any] = {"filter": {"name": name}, "authorizedCollections": True, "nameOnly": True}
        if not attempt(self.variable, lambda: database.list_collection_names(**only)):
            return Holding(name, None)
        return Holding(name, self.estimated_count() or self.count({}), unreadable, ids)

    def odd_ids(self, field: str, *, quickly: bool) -> int:
        """How many documents hold neither a text, an ObjectId nor nothing in a field.

        `quickly`: an index on the field answers if it says that it holds no array; symbols are left out then. Otherwise all
        documents are read.
        """
        told: dict[str, Any] = {field: {"$type": _NO_IDS}}
        if quickly and self._is_plain(told):
            return self.count(told)
        return self.count({field: {"$type": [*_NO_IDS, *_NO_IDS_UNTOLD]}})

    def _is_plain(self, query: dict[str, Any]) -> bool:
        """Whether only an index answers a query, and one that never held an array."""
        explain = {"explain": {"find": self.collection.name, "filter": query}, "verbosity": "queryPlanner"}
        plan = attempt(self.variable, lambda: self.collection.database.command(explain))["queryPlanner"]
        stages = [*_stages(plan)]
        scans = [one for one in stages if one["stage"] == "IXSCAN"]
        return (
            bool(scans)
            and not any(one["isMultiKey"] for one in scans)
            and "COLLSCAN" not in {one["stage"] for one in stages}
        )

    def holds_any(self, query: Mapping[str, Any] | None = None) -> bool:
        """Whether there is a document (that matches); an estimate may be wrong after a crash of the server."""
        return attempt(self.variable, lambda: self.collection.find_one(query or {}, {"_id": 1})) is not None

    def count(self, query: dict[str, Any]) -> int:
        """The exact number of documents that match."""
        return attempt(self.variable, lambda: self.collection.count_documents(query))

    def _prefetched(self, cursor: Iterable[bytes]) -> Iterator[bytes]:
        items: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=1)
        stopped = threading.Event()

        def put(item: bytes | BaseException | None) -> bool:
            while not stopped.is_set():
                try:
                    items.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            try:
                for batch in cursor:
                    if not put(batch):
                        return
                put(None)
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=read, name="mongo-read", daemon=True)
        thread.start()
        try:
            while (item := items.get()) is not None:
                if isinstance(item, PyMongoError):
                    raise unavailable(self.variable, item) from item
                if isinstance(item, BaseException):
                    raise item
                if item:
                    yield item
        finally:
            stopped.set()
            thread.join(timeout=10)


def _projection(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {name: 1 for field in fields for name in field.sources}


def _chunks(ordered: pl.DataFrame) -> Iterator[list[str]]:
    """Values (`value`) in lists that one query holds."""
    parts = ordered.with_columns(part=pl.col("value").str.len_bytes().cum_sum() // _IN_BYTES)
    for part in parts.partition_by("part", maintain_order=True):
        for chunk in part.iter_slices(_IN_CHUNK):
            yield chunk["value"].to_list()


class _Batches(RawBatchCursor):
    """PyMongo's raw batches without its detour: it makes an object of each document before it gives their bytes (4.20).

    The steps are its own, with the class of its that leaves arrays as bytes. On 3.2 M events: 2.1 s instead of 6.5 s.
    """

    def _unpack_response(
        self,
        response: Any,
        cursor_id: int | None,
        codec_options: Any,
        user_fields: Any = None,
        legacy_response: bool = False,
    ) -> list[Any]:
        options: Any = _RAW_ARRAY_BSON_OPTIONS
        document = _decode_selective(_RawArrayBSONDocument(response.payload_document, options), user_fields, options)
        _convert_raw_document_lists_to_streams(document)
        return [document]


def _stages(plan: Any) -> Iterator[Mapping[str, Any]]:
    """The stages of the plans that the server would follow, on all shards."""
    if isinstance(plan, Mapping):
        if "stage" in plan:
            yield plan
        for name, part in plan.items():
            if name != "rejectedPlans":
                yield from _stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _stages(part)
