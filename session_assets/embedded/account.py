"""The unprivileged user that PostgreSQL runs as where we are root: PostgreSQL refuses to run as root.

Neither users nor permissions outside our home are changed. Where that user cannot enter a folder on the way (a home
or a virtual environment under /root), the server gets one capability to pass it, instead of the folder being opened.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session_assets.embedded.failures import ServerFailed

# Name and bit of the capabilities that let a process pass closed folders, the weaker one first (capabilities(7)).
_PASSING = (("dac_read_search", 2), ("dac_override", 1))


@dataclass(frozen=True)
class Account:
    """A user, and how to run a command as that user: `prefix` before the command, `popen` arguments beside it."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments for `subprocess`; empty where the prefix switches the user."""
        return {} if self.prefix else {"user": self.uid, "group": self.gid, "extra_groups": []}


def passed_mode() -> int:
    """The mode of a folder that the account has to pass on its way: it may not look what is in it."""
    return 0o711 if os.geteuid() == 0 else 0o700


def unprivileged(title: str, folder: Path, needed: Iterable[Path]) -> Account | None:
    """The account to run with: None unless we are root; else the owner of `folder`, or `nobody` if that is root.

    `needed` are files and folders that the account has to reach. Raises `ServerFailed` where it cannot be made to.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    user = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    closed = next((path for path in map(_closed_to_others, needed) if path is not None), None)
    prefix = () if closed is None else _passing_prefix(title, user, closed)
    return Account(user.pw_name, user.pw_uid, user.pw_gid, prefix)


def _closed_to_others(path: Path) -> Path | None:
    """The outermost folder on the way to `path` (or `path` itself) that other users may not enter or read."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return path if path.is_file() and not path.stat().st_mode & stat.S_IROTH else None


def _passing_prefix(title: str, user: pwd.struct_passwd, closed: Path) -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    capability = next((name for name, bit in _PASSING if _effective_capabilities() >> bit & 1), None)
    if setpriv is None or capability is None:
        raise ServerFailed(
            title,
            f"it refuses to run as root, and the user {user.pw_name!r} may not enter {closed}."
            " Run as an ordinary user, or keep SESSION_ASSETS_HOME and the virtual environment"
            " in folders that everybody may enter, such as /srv or /var/tmp",
        )
    added = f"+{capability}"
    return (
        *(setpriv, "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"),
        *("--inh-caps", added, "--ambient-caps", added),
        *("--securebits", "+no_setuid_fixup", "--"),  # else access(2), which initdb asks, leaves the capability out
    )


def _effective_capabilities() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
