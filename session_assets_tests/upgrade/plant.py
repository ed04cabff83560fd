"""Sample data by the makers of the tree on whose PYTHONPATH this script runs: it is run by its path, in the released tree.

    plant.py web|contest URI DOCUMENTS SEED        plant.py kintell|flow URL
    plant.py kintell-file PATH ROWS                plant.py identity DOCUMENTS

Prints what was planted, as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def main(kind: str, *arguments: str) -> Any:
    now = datetime.now(UTC)
    if kind in ("web", "contest"):
        if kind == "web":
            from session_assets.embedded.web_sample import replant
        else:
            from session_assets.embedded.contest_sample import replant
        uri, count, seed = arguments
        return replant(uri, now=now, sessions=int(count), seed=int(seed)).ids
    if kind == "kintell":
        from session_assets.embedded.kintell_sample import new_database

        return new_database(*arguments)
    if kind == "kintell-file":
        from session_assets.embedded.kintell_sample import plant_file

        planted = plant_file(Path(arguments[0]), int(arguments[1]))
        return {"rows": planted.rows, "rejected": planted.rejected, "repaired": planted.repaired}
    if kind == "flow":
        from session_assets.embedded.flow_sample import new_database, plant

        new_database(*arguments)
        return plant(*arguments, sessions=100, rows=200).rows
    assert kind == "identity", kind
    return _identity(int(arguments[0]), now)


def _identity(count: int, now: datetime) -> int:
    from session_assets.embedded.identity_sample import sample
    from session_assets.identity.model import AUTH, SESSIONS
    from session_assets.stores.cosmos import container
    from session_assets.stores.cosmos_containers import create_containers, write_all

    planted = sample(count, now=now)
    create_containers()
    write_all(container(SESSIONS), planted.documents)
    write_all(container(AUTH), planted.auth)
    return len(planted.documents)


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
