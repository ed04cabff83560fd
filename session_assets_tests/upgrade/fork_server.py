"""Runs commands of one tree in forks of a process that has loaded it: loading takes most of a command's time.

A program of its own, run by its path with PYTHONPATH set to a tree, so that it imports nothing of the tree that it lies in.
It reads one request a line from standard input (see `shell`), and answers each with a line when its process has ended.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from typing import Any


def main() -> None:
    sys.stdin.reconfigure(encoding="utf-8")  # pyright: ignore[reportAttributeAccessIssue]
    importlib.import_module(sys.argv[1])
    package = importlib.import_module("session_assets")
    _answer(package=package.__file__)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _work(json.loads(line))
        _, status = os.waitpid(child, 0)
        _answer(code=os.waitstatus_to_exitcode(status))


def _answer(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _work(request: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        os.environ.clear()
        os.environ.update(request["variables"])
        for descriptor, name in ((1, "out"), (2, "err")):
            opened = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(one, mode) for one, mode in ((0, "r"), (1, "w"), (2, "w")))
        sys.argv = [request["program"], *request["arguments"]]
        if request["program"] == "session-assets":
            from session_assets.cli import main as command

            command()
        else:
            runpy.run_path(request["program"], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
