"""The try on a twin against a backup that is restored and compared: `python -m bench.flow_twin [--rounds N]`.

The database is the guide's, of 100,000 and of 1,000,000 rows. The twin takes a sample of bounded size, so its time grows by what
choosing it takes; the backup takes all rows. Prints the table of docs/benchmarks.md, "The road on a twin".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.measure import interleaved, run
from session_assets.embedded.flow_sample import new_database, plant
from session_assets.embedded.servers import Servers

SIZES = {"100,000 rows": (2_000, 24_000), "1,000,000 rows": (20_000, 240_000)}
"""Sessions, and rows of each of four linked tables."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        servers = Servers(Path(name), tell=lambda text: print(text, file=sys.stderr))
        servers.up(["postgresql"])
        try:
            _measure(servers.environment({})["FLOW_DATABASE_URL"], options.rounds)
        finally:
            servers.down()


def _measure(server: str, rounds: int) -> None:
    print(f"{os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}\n")
    print("| rows | twin | memory | backup, restored and compared | twin / backup |\n|---|---|---|---|---|")
    for size, (sessions, rows) in SIZES.items():
        url = f"{server.rpartition('/')[0]}/bench_twin_{rows}"
        new_database(url)
        plant(url, sessions=sessions, rows=rows)

        def step(work: str, url: str = url) -> tuple[float, float]:
            command = [sys.executable, "-W", "ignore", "-m", "bench.flow_twin_steps", work]
            _, megabytes, output = run(command, {"FLOW_DATABASE_URL": url})
            told = json.loads(output.splitlines()[-1])
            assert not told.get("obstacles"), told
            return told["seconds"], megabytes

        found = interleaved(rounds, {work: lambda work=work: step(work) for work in ("twin", "backup")})
        twin, backup = found["twin"], found["backup"]
        print(
            f"| {size} | {twin.time:.1f} s | {twin.memory:.0f} MB | {backup.time:.1f} s | {twin.time / backup.time:.2f} |"
        )


if __name__ == "__main__":
    main()
