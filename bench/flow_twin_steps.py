"""One step of `bench.flow_twin`, in a process of its own: the try on a twin, or a backup that is restored and compared."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from session_assets.flow.rehearsal import rehearse
from session_assets.flow.twin import try_road
from session_assets.storage import Storage
from session_assets.stores.flow_migration import Flow


def main() -> None:
    flow, done = Flow.from_env(), {}
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        storage = Storage(f"{name}/storage", Path(name, "scratch"))
        began = time.perf_counter()
        if sys.argv[1] == "twin":
            report = try_road(flow, storage, "bench")
            done = {"rows": sum(report.rows.values()), "obstacles": [one.text for one in report.obstacles]}
        else:
            rehearse(flow.database, storage, "bench", flow.say)
        seconds = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, **done}) + "\n")


if __name__ == "__main__":
    main()
