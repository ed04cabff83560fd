"""`up`, `down`, `env`, `status`: embedded servers. `dev`: the Dagster UI and daemon on the current environment."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import click

from session_assets.embedded.servers import Servers
from session_assets.errors import NotConfigured
from session_assets.settings import Settings


def servers() -> Servers:
    """The embedded servers of SESSION_ASSETS_HOME."""
    return Servers(Settings.from_env().home, tell=lambda line: click.echo(line, err=True))


def start_servers(names: list[str] | None = None) -> None:
    """Start what is missing and put its variables into this process's environment."""
    here = servers()
    here.up(names)
    os.environ.update(here.environment())
    prepare_dagster_home()


def prepare_dagster_home() -> Path:
    """DAGSTER_HOME with our instance settings, where it has none of its own."""
    home = Path(os.environ.get("DAGSTER_HOME") or Settings.from_env().home / "dagster")
    home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(packaged("dagster.yaml"), home / "dagster.yaml")
    return home


def packaged(name: str) -> Path:
    """A file that ships with the package."""
    return Path(str(resources.files("session_assets") / name))


@click.command()
@click.option("--detach", is_flag=True, help="Return when the servers answer (the default keeps them until Ctrl-C).")
def up(detach: bool) -> None:
    """Start MongoDB, PostgreSQL, NATS and the Cosmos emulator on loopback, where no variable names your own."""
    began = time.monotonic()
    states = servers().up()
    for name, state in states.items():
        click.echo(f"{name:<11} 127.0.0.1:{state.port}  pid {state.pid}")
    click.echo(f'ready after {time.monotonic() - began:.1f} s. In your shell: eval "$(session-assets env)"')
    if not detach:
        click.echo("Ctrl-C stops them.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            servers().down()


@click.command()
def down() -> None:
    """Stop the embedded servers that `up` started, and no others."""
    stopped = servers().down()
    click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@click.command()
def env() -> None:
    """Print `export …` lines that point a shell at the embedded servers."""
    for name, value in servers().environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
def status() -> None:
    """What runs, and where."""
    for name, state in servers().status().items():
        where = f"127.0.0.1:{state.port}  pid {state.pid}" if state.running else "not running"
        click.echo(f"{name:<11} {where}")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Dagster has no log-in: keep it on loopback.")
@click.option("--port", default=3000, show_default=True)
@click.option("--read-only", is_flag=True, help="For viewers: nothing can be launched.")
def dev(host: str, port: int, read_only: bool) -> None:
    """The Dagster UI and daemon on the current environment, until Ctrl-C."""
    if not os.environ.get("DAGSTER_POSTGRES_URL"):
        raise NotConfigured("DAGSTER_POSTGRES_URL", "The Dagster database")
    prepare_dagster_home()
    run_ui(host, port, read_only=read_only)


def run_ui(host: str, port: int, *, read_only: bool = False, quiet: bool = False) -> None:
    """Run UI and daemon as two processes of our own: `dagster dev` leaves its children behind when stopped, and starts a web
    server that takes requests of any other page (`session_assets.ui.guard`).

    `quiet`: only warnings of theirs, so that what stands in the terminal stays there.
    """
    workspace = str(packaged("workspace.yaml"))
    scripts = Path(sys.executable).parent
    web = [sys.executable, "-m", "session_assets.ui", "-h", host, "-p", str(port), "-w", workspace]
    daemon = [str(scripts / "dagster-daemon"), "run", "-w", workspace]
    if quiet:
        web += ["--dagster-log-level", "warning", "--code-server-log-level", "warning"]
        daemon += ["--log-level", "warning"]
    commands = [[*web, "--read-only"]] if read_only else [web, daemon]
    processes = [subprocess.Popen(command, start_new_session=True) for command in commands]
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("stopping the UI")
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
