"""Reads a git repository with git itself: commits, trees and blobs. Checks nothing out, writes nothing, runs no hook."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from session_assets.errors import BadInput
from session_assets.masking import safe_text

_CALM = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks")
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Commit:
    """A commit and its time in UTC."""

    revision: str
    at: datetime


@dataclass(frozen=True)
class Blob:
    """A regular file of a tree: `path` below the folder that was asked for, `size` in bytes."""

    id: str
    path: str
    size: int


class Repository:
    """The repository that a folder lies in. Raises `BadInput` where there is none, or git is missing or refuses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run("rev-parse", "--is-inside-work-tree")

    def commits(self) -> list[Commit]:
        """First parents from the current commit back to the first, the oldest first. Empty before the first commit."""
        if not self._run("for-each-ref", "--count=1").strip() and not self._has_head():
            return []
        lines = self._run("log", "--first-parent", "--format=%H %ct").decode().split("\n")
        pairs = [line.split() for line in lines if line]
        return [Commit(revision, datetime.fromtimestamp(int(at), UTC)) for revision, at in reversed(pairs)]

    def blobs(self, revision: str) -> list[Blob]:
        """Regular files of a commit below the folder: no links, no submodules."""
        found: list[Blob] = []
        for entry in self._run("ls-tree", "-r", "-l", "-z", revision, "--", ".").split(b"\0"):
            about, _, path = entry.partition(b"\t")
            mode, kind, identifier, size = (about.decode().split() + [""] * 4)[:4]
            if kind == "blob" and mode in _REGULAR:
                found.append(Blob(identifier, os.fsdecode(path), int(size)))
        return found

    def contents(self, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes]]:
        """The bytes of blobs, from one process of git."""
        with subprocess.Popen(
            [*self._command(), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for blob in blobs:
                process.stdin.write(f"{blob.id}\n".encode())
                process.stdin.flush()
                header = process.stdout.readline().split()
                if len(header) != 3:
                    raise BadInput(f"git has no blob {blob.id}: a shallow or damaged clone. Fetch it, then run again.")
                yield blob, process.stdout.read(int(header[2]))
                process.stdout.read(1)

    def _has_head(self) -> bool:
        command = [*self._command(), "rev-parse", "--verify", "-q", "HEAD"]
        return subprocess.run(command, env=_environment(), capture_output=True, check=False).returncode == 0

    def _run(self, *arguments: str) -> bytes:
        try:
            done = subprocess.run([*self._command(), *arguments], env=_environment(), capture_output=True, check=False)
        except FileNotFoundError:
            raise BadInput("git is not installed: there is no trend without it. Install it, then run again.") from None
        if done.returncode:
            reason = safe_text(done.stderr.decode(errors="replace").strip().partition("\n")[0])[:300]
            raise BadInput(f"git cannot read the history of FLOW_CODE_ROOT: {reason}")
        return done.stdout

    def _command(self) -> list[str]:
        return ["git", *_CALM, "-C", str(self._folder)]


def _environment() -> dict[str, str]:
    """Without the variables that would lead git elsewhere, and without the network."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return plain | {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
