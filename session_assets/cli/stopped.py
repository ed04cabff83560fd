"""An apply that was killed after its last write: nobody was told what it wrote, nor how to undo it. The next one says it."""

from __future__ import annotations

import time

from session_assets.changes.epochs import counted_together, epochs
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcomes
from session_assets.errors import DamagedFile
from session_assets.graph.environment import Environment
from session_assets.masking import safe_text

_DAYS = 30  # reports of runs are purged later than that, and one that is missing then proves nothing


def stopped_after_last_write(environment: Environment, ledger: Ledger, run_id: str, slice_: str) -> list[str]:
    """A line of the newest plan with changes that another run made, if its apply ended without a report, or of a damaged file."""
    try:
        return _stopped(environment, ledger, run_id, slice_)
    except DamagedFile as error:
        return [safe_text(error)]


def _stopped(environment: Environment, ledger: Ledger, run_id: str, slice_: str) -> list[str]:
    since = time.time_ns() - _DAYS * 86_400 * 10**9
    for recording in ledger.recordings():
        if recording.run_id == run_id or ledger.purged_at(recording.plan_id) is not None:
            continue
        if not ledger.plan(recording.plan_id).rows:
            continue
        newest = next(reversed(ledger.attempts(recording.plan_id)), None)
        if newest is None or newest.is_revert or newest.at_ns < max(recording.at_ns, since):
            return []
        if (
            not all(map(newest.is_counted, newest.partitions))
            or environment.reported(newest.run_id, "apply") is not None
        ):
            return []
        total, groups = Outcomes(), epochs(ledger, recording.plan_id)
        for partition in newest.partitions:
            outcomes = Outcomes()
            outcomes.counts.update(newest.summary(partition)["outcomes"])
            total.add(counted_together(groups[partition][-1], newest, partition, outcomes))
        written = total.counts["applied"]
        return [
            f"An earlier apply of plan {recording.plan_id} was stopped after its last write: {written:,} documents are applied."
            f" To undo: session-assets revert {slice_} --plan-id {recording.plan_id}"
        ] * bool(written)
    return []
