"""Work on the next item while the caller is busy with the last: Polars and the disk wait for each other no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """The results of `work` in the order of `items`, one of them made in advance; errors are raised in their place."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        pending: Future[_Result] | None = None
        for item in items:
            previous, pending = pending, pool.submit(work, item)
            if previous is not None:
                yield previous.result()
        if pending is not None:
            yield pending.result()
