"""A shell of one tree on one home: `session-assets` and scripts as that tree's users run them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_assets_tests.upgrade.released import Tree

Variables = Mapping[str, str]
KILLED = -signal.SIGKILL
_NONE: Variables = {}
_SERVER = Path(__file__).with_name("fork_server.py")
_PRELOADS = (
    "session_assets_tests.loaded",
    "session_assets_tests.web.acceptance.loaded",
)  # the second in a released tree
_KEPT = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "SESSION_ASSETS_EMBEDDED_CACHE_GB")


class CommandFailed(Exception):
    """A command ended otherwise than it should: the message has its exit code and what it said."""


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code and both streams."""

    command: str
    code: int
    out: str
    err: str

    @property
    def body(self) -> dict[str, Any]:
        """The object of `--json`."""
        bodies = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        if len(bodies) != 1:
            raise CommandFailed(f"{self.command} printed {len(bodies)} objects: {self.told}")
        return bodies[0]

    @property
    def told(self) -> str:
        return f"exit {self.code}: {self.err.strip()[-600:] or self.out.strip()[-600:]}"


@dataclass
class Shell:
    """Runs one command after the other. `variables` are those of the shell's user."""

    tree: Tree
    server: subprocess.Popen[str]
    streams: Path
    variables: dict[str, str]
    count: int = 0

    def __call__(self, *arguments: str | Path, code: int | tuple[int, ...] = 0, variables: Variables = _NONE) -> Answer:
        """`session-assets …`. Raises `CommandFailed` if it ends with another exit code."""
        answer = self.run("session-assets", *arguments, variables=variables)
        if answer.code not in ((code,) if isinstance(code, int) else code):
            raise CommandFailed(f"{self.tree.name}: {answer.command}: {answer.told}")
        return answer

    def killed_at(self, failpoint: str, *arguments: str | Path, variables: Variables = _NONE) -> None:
        """A command that kills itself with -9 at a failpoint."""
        self(*arguments, code=KILLED, variables={**variables, "SESSION_ASSETS_FAILPOINTS": f"{failpoint}=kill"})

    def script(self, path: Path, *arguments: str, variables: Variables = _NONE) -> Any:
        """A script with this tree's modules; its last line, which is JSON."""
        answer = self.run(str(path), *arguments, variables=variables)
        if answer.code or not answer.out:
            raise CommandFailed(f"{self.tree.name}: {path.name}: {answer.told}")
        return json.loads(answer.out.splitlines()[-1])

    def run(self, program: str, *arguments: str | Path, variables: Variables = _NONE) -> Answer:
        """A program to its end."""
        self.count += 1
        out, err = (self.streams / f"{self.count:04d}.{name}" for name in ("out", "err"))
        texts = [str(one) for one in arguments]
        request = {
            "program": program,
            "arguments": texts,
            "variables": {**self.variables, **variables},
            "out": str(out),
            "err": str(err),
        }
        code = self._asked(request)["code"]
        command = shlex.join([Path(program).name, *texts])
        return Answer(command, code, out.read_text(), err.read_text())

    def greeted(self) -> Shell:
        """Raises `CommandFailed` if the server did not load this tree, but another one."""
        package = Path(self._read()["package"])
        if not package.is_relative_to(self.tree.root):
            raise CommandFailed(f"{self.tree.name} should run {self.tree.root}, and runs {package.parent}")
        return self

    def _asked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if not line:
            raise CommandFailed(f"{self.tree.name}: its process ended with exit code {self.server.wait()}")
        return json.loads(line)


@contextmanager
def opened(tree: Tree, folder: Path, home: Path) -> Iterator[Shell]:
    """A shell of a tree; `folder` takes the output of its commands."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    variables = {**kept, "SESSION_ASSETS_HOME": str(home), "PYTHONPATH": str(tree.root), "PYTHONWARNINGS": "ignore"}
    preload = next(one for one in _PRELOADS if (tree.root / f"{one.replace('.', '/')}.py").exists())
    server = subprocess.Popen(
        [tree.python, "-P", str(_SERVER), preload],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=variables,
    )
    try:
        yield Shell(tree, server, folder, dict(variables)).greeted()
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(60)


def exported(text: str) -> dict[str, str]:
    """The variables of `session-assets env`."""
    lines = (shlex.split(line) for line in text.splitlines() if line.startswith("export "))
    return dict(words[1].split("=", 1) for words in lines)


def errors(answer: Answer) -> dict[str, str]:
    """What a verify found: the checks that fail as ERROR, and how each describes it; `error` if the run itself failed."""
    body = answer.body
    failing = {
        one["name"]: one["description"] for one in body["checks"] if one["severity"] == "ERROR" and not one["passed"]
    }
    return failing | ({"error": body["error"]} if body.get("error") else {})
