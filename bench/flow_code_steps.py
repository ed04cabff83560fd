"""The steps that `bench.flow_code` measures, each in a process of its own: `python -m bench.flow_code_steps NAME`."""

from __future__ import annotations

import io
import json
import resource
import sys
import time
import tokenize
from collections.abc import Callable

from session_assets.flow.code_facts import frames, totals
from session_assets.flow.code_scan import Source, scan_many, spread
from session_assets.flow.code_tree import CodeSettings, Tree


def bare() -> float:
    """The reference: `tokenize` over the bytes of the same files, in chunks on as many processes, nothing kept."""
    settings = CodeSettings.from_env()
    began = time.perf_counter()
    tokens = sum(spread(Tree(settings).files(), _tokenized, settings.processes))
    seconds = time.perf_counter() - began
    assert tokens
    return seconds


def scan() -> float:
    """The scanner, to its frames."""
    settings = CodeSettings.from_env()
    began = time.perf_counter()
    found = scan_many(Tree(settings).files(), settings.names, settings.largest, settings.processes)
    references, files = frames(found, settings)
    seconds = time.perf_counter() - began
    assert files.height
    assert totals(references)["active"]
    return seconds


def _tokenized(chunk: list[Source]) -> list[int]:
    return [_count(source) for source in chunk]


def _count(source: Source) -> int:
    assert source.path is not None
    with open(source.path, "rb") as file:  # noqa: PTH123
        content = file.read()
    count = 0
    try:
        for _ in tokenize.tokenize(io.BytesIO(content).readline):
            count += 1
    except (tokenize.TokenError, SyntaxError):
        return count
    return count


def _processor() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


STEPS: dict[str, Callable[[], float]] = {"bare": bare, "scan": scan}


if __name__ == "__main__":
    before = _processor()
    seconds = STEPS[sys.argv[1]]()
    print(json.dumps({"seconds": seconds, "processor": _processor() - before}))
