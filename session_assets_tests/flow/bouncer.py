"""PgBouncer itself in front of a database, where the machine has the program."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
{more}
"""


@contextmanager
def pgbouncer(url: str, folder: Path, mode: str, more: str = "") -> Iterator[str]:
    """The URL of a pooler in a mode: session, transaction or statement."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    users, config = folder / "users", folder / "config"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    config.write_text(_CONFIG.format(host=parts.hostname, port=parts.port, own=own, users=users, mode=mode, more=more))
    as_other = []
    if os.getuid() == 0:  # it does not run as root
        as_other = ["-u", "nobody"]
        for path in (folder, *folder.parents[:2]):
            path.chmod(path.stat().st_mode | 0o055)
        users.chmod(0o644)
    command = [str(PROGRAM), "-q", *as_other, str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            through = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{own}"))
            _await(through, process)
            yield through
        finally:
            process.terminate()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
