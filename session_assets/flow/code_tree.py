"""The files of a source tree: which are scanned, and which folders are passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from session_assets.errors import NotConfigured, UsageError
from session_assets.flow.code_model import ALLOWED, IDENTIFIERS, SKIPPED, VARIABLE
from session_assets.flow.code_names import Names
from session_assets.flow.code_scan import Source, language_of
from session_assets.settings import number


@dataclass(frozen=True)
class CodeSettings:
    """What is searched where. Lists are separated by commas."""

    root: Path
    names: Names
    allowed: tuple[str, ...]
    skipped: frozenset[str]
    largest: int  # bytes
    revisions: int
    processes: int

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None) -> CodeSettings:
        """Raises `NotConfigured` where FLOW_CODE_ROOT is unset, `UsageError` where a setting cannot be used."""
        env = os.environ if env is None else env
        if not env.get(VARIABLE):
            raise NotConfigured(VARIABLE, "Code references")
        root = Path(env[VARIABLE]).absolute()
        if not root.is_dir():
            raise UsageError(f"{VARIABLE} is no folder. Correct it and try again.")
        names = _listed(env, "FLOW_CODE_IDENTIFIERS", IDENTIFIERS)
        if not all(name.isascii() and name.isidentifier() for name in names):
            raise UsageError("FLOW_CODE_IDENTIFIERS must be identifiers separated by commas. Correct it and try again.")
        return CodeSettings(
            root=root,
            names=Names(names),
            allowed=_listed(env, "FLOW_CODE_ALLOW", ALLOWED),
            skipped=frozenset(_listed(env, "FLOW_CODE_SKIP", SKIPPED)),
            largest=int(number(env, "FLOW_CODE_MAX_BYTES", 5_000_000)),
            revisions=int(number(env, "FLOW_CODE_REVISIONS", 20)),
            processes=int(number(env, "FLOW_CODE_PROCESSES", os.cpu_count() or 1)),
        )

    def is_allowed(self, path: str) -> bool:
        """Whether a path below the root is on the allow-list; `*` also matches `/`."""
        return any(fnmatchcase(path, pattern) for pattern in self.allowed)

    def is_skipped(self, path: str) -> bool:
        """Whether a path lies in a folder that is passed over."""
        return not self.skipped.isdisjoint(path.split("/")[:-1])


@dataclass
class Tree:
    """The files below a root. `passed_over` counts folders by name, after `files` was gone through."""

    settings: CodeSettings
    passed_over: Counter[str] = field(default_factory=Counter[str])
    unreadable: list[str] = field(default_factory=list[str])

    def files(self) -> Iterator[Source]:
        """All files, also links and those of other languages, in the order of their names."""
        root = self.settings.root

        def failed(error: OSError) -> None:
            self.unreadable.append(os.path.relpath(error.filename, root))

        for folder, folders, files in os.walk(root, onerror=failed):
            self.passed_over.update(self.settings.skipped.intersection(folders))
            links = [name for name in folders if Path(folder, name).is_symlink()]
            folders[:] = sorted(set(folders) - self.settings.skipped - set(links))
            for name in sorted([*files, *links]):
                path = os.path.join(folder, name)  # noqa: PTH118 - names may be no UTF-8
                size = os.lstat(path).st_size if os.path.lexists(path) else 0
                yield Source(os.path.relpath(path, root).replace(os.sep, "/"), language_of(name), size, path)


def _listed(env: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given = tuple(filter(None, map(str.strip, env.get(name, "").split(","))))
    return given or default
