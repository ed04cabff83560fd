"""Values that several documents of a MongoDB collection have, found by the server."""

from __future__ import annotations

from typing import Any

from session_assets.stores.bson_documents import CODEC
from session_assets.stores.mongo import MongoSource, attempt

_TEXT = {"$type": "string", "$not": {"$type": "array"}, "$ne": ""}  # `$type` alone also matches lists that hold one


def repeated_texts(source: MongoSource, field: str, query: dict[str, Any] | None = None) -> list[str]:
    """The values of a field, texts but not "", that several documents of the collection have, in any order.

    With a query only the values of documents that match are looked at, all of which must fit one command (16 MiB). The server
    groups them, and sends only those that are repeated.
    """
    collection = source.collection.with_options(codec_options=CODEC)
    match: dict[str, Any] = dict(_TEXT)
    if query is not None:
        values = attempt(source.variable, lambda: collection.distinct(field, query))
        match["$in"] = [value for value in values if isinstance(value, str)]
    stages = [
        {"$match": {field: match}},
        {"$group": {"_id": f"${field}", "documents": {"$sum": 1}}},
        {"$match": {"documents": {"$gt": 1}}},
    ]
    return attempt(source.variable, lambda: [one["_id"] for one in collection.aggregate(stages, allowDiskUse=True)])
