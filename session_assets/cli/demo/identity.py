"""Canonical user ids in the demo: sessions under e-mails of every kind, verify → plan → apply → verify → summaries."""

from __future__ import annotations

from datetime import UTC, datetime

from session_assets.cli.demo.defects import compare, found, show
from session_assets.cli.demo.steps import applied, finished, step, verified
from session_assets.cli.runner import Runner
from session_assets.embedded.identity_sample import sample
from session_assets.identity.model import AUTH, REASON, SESSIONS, SLICE, VARIABLE
from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_containers import create_containers, drop_database, write_all

DATABASE = "identity_demo"
LOOK = (
    ("/asset-groups/identity", "auth → facts → changes → sessions under their GUIDs → summaries"),
    ("/assets/identity/session_changes", "the dry run: who an e-mail is, with masked e-mails"),
)
LEGEND = "repair: `apply identity` · listed: auth does not tell who it is, a person decides · wait: the next run"
_SESSIONS = 300

__all__ = ["DATABASE", "LOOK", "SLICE", "VARIABLE", "run"]


def run(runner: Runner) -> tuple[list[str], list[str]]:
    """Plant, find, repair, count again, and show the table; returns what is wrong, and the plan that was applied."""
    with step("sample data", "plant") as note:
        planted = sample(_SESSIONS, now=datetime.now(UTC))
        create_containers()
        drop_database()
        create_containers()
        write_all(container(SESSIONS), planted.documents)
        write_all(container(AUTH), planted.auth)
        note(f"{len(planted.sessions):,} sessions, {len(planted.audits):,} audits, {len(planted.auth):,} auth records")
    target = runner.target(SLICE)
    before = verified(runner, target)
    plan, outcomes = applied(runner, target)
    after = verified(runner, target, "run again")
    finished("identity/session_summaries", lambda: runner.execute("identity_summaries", {}, {}))
    faults = show(compare(planted.reasons, kind_of, found(before), found(after)), LEGEND)
    figures = {
        "documents read before the repair": (len(planted.documents), before.body["read"]),
        "documents read after it": (len(planted.documents), after.body["read"]),
        "audits left out before the repair": (len(planted.audits), before.body["classes"]["not_applicable"]),
        "audits left out after it": (len(planted.audits), after.body["classes"]["not_applicable"]),
        "sessions moved": (len(planted.guids), outcomes["applied"]),
    }
    faults += [f"{what}: {got:,}, planted {wanted:,}" for what, (wanted, got) in figures.items() if wanted != got]
    return faults, [plan["plan_id"]]


def kind_of(reason: str) -> str:
    """What can be done about a reason."""
    return REASON[reason].fix.value if reason in REASON else "listed"
