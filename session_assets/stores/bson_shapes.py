"""Times in whole documents: which documents store them otherwise than as dates, and new ones in the form that a document uses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from session_assets.stores.bson_batch import Batch, locate
from session_assets.stores.bson_documents import elements
from session_assets.stores.bson_times import DATE, Times, default_form, time_form, written

_ABSENT_OR_NULL = (0, 6, 10)


def other_times(documents: pl.Series, names: tuple[str, ...]) -> set[int]:
    """The rows of documents (Binary) in which one of some fields holds something, and no date."""
    if not len(documents):
        return set()
    batch = Batch(b"".join(documents))
    kinds = [place.kinds for place in locate(batch, names).values()]
    odd = np.any([~np.isin(kind, (*_ABSENT_OR_NULL, DATE)) for kind in kinds], axis=0)
    return set(np.flatnonzero(odd).tolist())


def with_times_as_stored(
    fields: dict[str, Any], document: bytes, names: tuple[str, ...], times: Times
) -> dict[str, Any]:
    """New values of fields, those that are times in the form of the stored field.

    A field that is absent, null or no time takes the form of the first of `names` that the document holds; if it holds none,
    a number where `times` have a unit, else a date.
    """
    stored = elements(document)
    forms = {name: form for name in names if (form := time_form(stored.get(name), times)) is not None}
    default = next(iter(forms.values()), None) or default_form(times)
    return {
        name: written(value, forms.get(name, default), times) if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
