"""The files of a source tree: which are scanned, which folders are passed over, and what else is left out."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from session_assets.errors import NotConfigured, UsageError
from session_assets.flow.code_model import ALLOWED, IDENTIFIERS, SKIPPED, VARIABLE
from session_assets.flow.code_names import Names
from session_assets.flow.code_scan import OTHER, Source, language_of
from session_assets.flow.description import migration
from session_assets.flow.model import SCHEMA_VARIABLE
from session_assets.masking import safe_text
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
            raise NotConfigured(VARIABLE, "Code references", "the source code")
        root = Path(env[VARIABLE]).absolute()
        if not root.is_dir():
            raise UsageError(f"{VARIABLE} is no folder. Correct it and try again.")
        names = _listed(env, "FLOW_CODE_IDENTIFIERS", ()) or _old_names(env)
        if not all(map(_is_identifier, names)):
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
        """Whether a path below the root is on the allow-list, as it is or by a pattern; `*` also matches `/`."""
        return any(path == pattern or fnmatchcase(path, pattern) for pattern in self.allowed)

    def is_skipped(self, path: str) -> bool:
        """Whether a path lies in a folder that is passed over."""
        return not self.skipped.isdisjoint(path.split("/")[:-1])


@dataclass
class Tree:
    """The files below a root. After `files` was gone through, `passed_over` counts folders by name, `seen` files by language.

    `left_out` names what may be code and was not read, by a name of `LEFT_OUT`; what is on the allow-list aside.
    """

    settings: CodeSettings
    passed_over: Counter[str] = field(default_factory=Counter[str])
    seen: Counter[str] = field(default_factory=Counter[str])
    left_out: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def files(self) -> Iterator[Source]:
        """All files, also links and those of other languages, in the order of their names."""
        root = self.settings.root

        def failed(error: OSError) -> None:
            self._miss("folder", error.filename)

        for folder, folders, files in os.walk(root, onerror=failed):
            self.passed_over.update(self.settings.skipped.intersection(folders))
            links = [name for name in folders if Path(folder, name).is_symlink()]
            folders[:] = sorted(set(folders) - self.settings.skipped - set(links))
            for name in sorted([*files, *links]):
                path = os.path.join(folder, name)  # noqa: PTH118 - names may be no UTF-8
                size = os.lstat(path).st_size if os.path.lexists(path) else 0
                self._look(Path(path), language_of(name))
                yield Source(self._relative(path), language_of(name), size, path)

    def _look(self, path: Path, language: str) -> None:
        """Count a file, and note where code is that it only names."""
        self.seen[language] += 1
        if path.is_symlink() and (language != OTHER or path.is_dir()):
            target, root = Path(os.path.realpath(path)), Path(os.path.realpath(self.settings.root))
            if target.exists() and not target.is_relative_to(root):
                self._miss("link", str(path))
        elif path.name == ".gitmodules" and path.is_file():
            self._look_at_submodules(path)

    def _look_at_submodules(self, listing: Path) -> None:
        module = listing
        try:
            for place in _SUBMODULE.findall(listing.read_text(errors="replace")):
                module = listing.parent / place
                if not module.is_dir() or not any(module.iterdir()):
                    self._miss("submodule", str(module))
        except OSError:
            self._miss("submodule", str(module))

    def _miss(self, what: str, path: str) -> None:
        relative = self._relative(path)
        if not self.settings.is_allowed(relative) and not self.settings.is_skipped(f"{relative}/"):
            self.left_out[what].append(relative)

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.settings.root).replace(os.sep, "/")


_SUBMODULE = re.compile(r"^[ \t]*path[ \t]*=[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def _old_names(env: Mapping[str, str]) -> tuple[str, ...]:
    """The guide's names, or with FLOW_SCHEMA its old columns: a search for names that nobody uses would find nothing wrong."""
    if not env.get(SCHEMA_VARIABLE):
        return IDENTIFIERS
    names = tuple(dict.fromkeys(one.old for one in migration(env).tables))
    if odd := [name for name in names if not _is_identifier(name)]:
        raise UsageError(
            f"{SCHEMA_VARIABLE}: the old column {safe_text(odd[0])!r} is no identifier. Say in FLOW_CODE_IDENTIFIERS which"
            " names the code uses."
        )
    return names


def _is_identifier(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _listed(env: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given = tuple(filter(None, map(str.strip, env.get(name, "").split(","))))
    return given or default
