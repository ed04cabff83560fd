"""What the ledgers of the configured targets hold, by this tree: plans by loop, and what is pending. Prints JSON.

listing.py web [contest …]
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(*slices: str) -> dict[str, Any]:
    from session_assets.graph.environment import Environment
    from session_assets.slices import slices as all_slices

    environment = Environment.load()
    found: dict[str, Any] = {}
    for name in slices:
        for loop in all_slices()[name].loops:
            ledger = loop.ledger(environment)
            plans = sorted({recording.plan_id for recording in ledger.recordings()})
            if plans:
                found[loop.name] = {"plans": plans, "pending": sorted(ledger.pending())}
    return found


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
