"""The released tree, checked out beside this one, and made usable: by this environment if it locks the same packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RELEASED = "31907f8b3be5c2da3f8b5a0dfb4b4837383d4dcb"
"""The commit whose homes and databases must be taken over."""
CURRENT = Path(__file__).resolve().parents[2]
_LOCK = "requirements.lock"
_SETUP_SECONDS = 900


class ReleaseMissing(Exception):
    """The released tree cannot be had here; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Tree:
    """A version of the project: where its files are, and the Python that has its packages."""

    name: str
    root: Path
    python: str


def current_tree() -> Tree:
    return Tree("this tree", CURRENT, sys.executable)


@contextmanager
def released_tree(folder: Path, commit: str = RELEASED) -> Iterator[Tree]:
    """The released tree in `folder`, which must not exist yet; removed at the end. Raises `ReleaseMissing`."""
    require_history(commit)
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield Tree(commit[:7], folder, _python(folder))
    finally:
        _git("worktree", "remove", "--force", str(folder))


def require_history(commit: str = RELEASED, root: Path = CURRENT) -> None:
    """Raises `ReleaseMissing` if this is no clone, or one without the commit."""
    try:
        inside = _ran(root, "rev-parse", "--is-shallow-repository")
    except FileNotFoundError:
        raise ReleaseMissing(f"git is missing: it checks out commit {commit[:7]}. Install git.") from None
    if inside.returncode:
        raise ReleaseMissing(
            f"commit {commit[:7]} cannot be checked out: git says of {root}: {inside.stderr.strip()}."
            " Run this in a clone of the repository with its history."
        )
    if _ran(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
        return
    if inside.stdout.strip() == "true":
        raise ReleaseMissing(
            f"commit {commit[:7]} is not in this clone, which is shallow. Fetch its history: git fetch --unshallow"
        )
    raise ReleaseMissing(
        f"commit {commit[:7]} is not in this clone: it has only some branches. Fetch them all:"
        " git fetch origin '+refs/heads/*:refs/remotes/origin/*'"
    )


def _python(folder: Path) -> str:
    """This environment if the released tree locks the same packages, else one of its own."""
    if (folder / _LOCK).read_bytes() == (CURRENT / _LOCK).read_bytes():
        return sys.executable
    made = subprocess.run(
        ["make", "-s", "-C", str(folder), "setup"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SETUP_SECONDS,
        check=False,
    )
    if made.returncode:
        end = "\n".join(made.stdout.splitlines()[-10:])
        raise ReleaseMissing(
            f"`make setup` of the released tree fails. It needs the network once. Its last lines:\n{end}"
        )
    return str(folder / ".venv" / "bin" / "python")


def _git(*arguments: str) -> None:
    done = _ran(CURRENT, *arguments)
    if done.returncode:
        raise ReleaseMissing(f"git {arguments[0]} {arguments[1]} fails: {done.stderr.strip()}")


def _ran(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
