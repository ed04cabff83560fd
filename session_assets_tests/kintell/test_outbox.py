"""Events reach JetStream once each, in order, whatever happens to the publisher."""

from __future__ import annotations

import random
import time
import uuid

import pytest

from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.kintell.outbox import SUBJECTS
from session_assets.stores import kintell_outbox
from session_assets.stores.kintell_outbox import lag, publish_events
from session_assets_tests.counts import times
from session_assets_tests.kintell.killed import Work, run, start
from session_assets_tests.kintell.scenario import File, Kintell
from session_assets_tests.kintell.streams import WINDOW_SECONDS, fresh_stream, messages, no_stream

ROWS = 120


@pytest.fixture
def nats_url(own_nats: str) -> str:
    fresh_stream(own_nats)
    return own_nats


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kintell_outbox, "_PAGE", 20)


def imported(kintell: Kintell, count: int = ROWS) -> str:
    return kintell.run(File([kintell.row(number) for number in range(count)]), batch_size=50).id


def told(url: str) -> list[str]:
    return [name for name, _, _ in messages(url)]


def expected(kintell: Kintell, job_id: str) -> list[str]:
    """Ids of all events of a job, in the order in which they are to be published."""
    rows = kintell.all("SELECT session_id, kind FROM backfill_outbox WHERE job_id = %s ORDER BY number", job_id)
    return [f"{job_id}:{session}:{kind}" for session, kind in rows]


def test_each_event_once_and_in_order(kintell: Kintell, nats_url: str) -> None:
    job_id = imported(kintell)
    waiting = lag(kintell.database)
    assert (waiting.total, waiting.published) == (ROWS + ROWS * 3 // 4, 0)
    assert waiting.oldest is not None
    assert publish_events(kintell.database, {"NATS_URL": nats_url}) == waiting.total
    assert told(nats_url) == expected(kintell, job_id)
    assert lag(kintell.database).waiting == 0
    assert publish_events(kintell.database, {"NATS_URL": nats_url}) == 0


def test_the_envelope_is_that_of_the_contract(kintell: Kintell, nats_url: str) -> None:
    job_id = imported(kintell, 2)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    (_, _, first), (_, _, completed), (_, subject, rated) = messages(nats_url)
    row = kintell.row(1)
    session = kintell.one("SELECT id::text FROM kintell_sessions WHERE external_session_id = 'kintell-session-00001'")
    assert "languageLevel" not in first["data"]
    assert completed["type"] == "kintell.session.completed"
    assert completed["data"] == {
        "sessionId": session,
        "externalSessionId": "kintell-session-00001",
        "sessionType": "language",
        "participantId": row["participant_id"],
        "volunteerId": row["volunteer_id"],
        "scheduledAt": "2024-01-15T10:01:00.000Z",
        "completedAt": "2024-01-15T10:01:00.000Z",
        "durationMinutes": 2,
        "languageLevel": "B1",
    }
    assert (subject, rated["data"]["rating"], rated["data"]["fromRole"]) == (
        "kintell.rating.created",
        0.25,
        "participant",
    )
    assert rated["data"].keys() >= {"ratingId", "sessionId", "createdAt"}
    for event, cause in ((completed, job_id), (rated, completed["metadata"]["id"])):
        metadata = event["metadata"]
        assert str(uuid.UUID(metadata["id"])) == metadata["id"]
        assert (metadata["version"], metadata["correlationId"], metadata["causationId"]) == ("v1", job_id, cause)
        assert metadata["timestamp"].endswith("Z")


def test_events_say_what_was_true_at_the_import(kintell: Kintell, nats_url: str) -> None:
    kintell.run(File([kintell.row(1)]))
    kintell.run(File([kintell.row(1, duration_minutes=500)]))
    publish_events(kintell.database, {"NATS_URL": nats_url})
    durations = [
        one["data"]["durationMinutes"] for _, subject, one in messages(nats_url) if subject == SUBJECTS["completed"]
    ]
    assert durations == [2, 500]


@pytest.mark.parametrize("kind", ["failpoint", "time"])
def test_a_killed_publisher_tells_nothing_twice(kintell: Kintell, nats_url: str, kind: str) -> None:
    job_id = imported(kintell)
    killed, number, latest = 0, 0, 0.12
    while number < times(3, 20) or (not killed and number < 40):
        point = random.choice(
            ["kintell.publishing", f"kintell.published@{1 + number % 3}", f"nats.sent@{1 + 7 * number}"]
        )
        work = Work(
            "publish", kintell.database.url, nats=nats_url, failpoints=f"{point}=kill" if kind == "failpoint" else ""
        )
        in_time = run(work, kill_after=random.uniform(0.001, latest) if kind == "time" else None)
        killed += in_time
        latest *= 1 if in_time else 0.7  # a fast machine is done before
        number += 1
        time.sleep(2 * WINDOW_SECONDS)  # JetStream has forgotten what it saw
    assert killed
    assert kind == "time" or len(told(nats_url)) > 0  # on a busy machine time may be over before anything is sent
    publish_events(kintell.database, {"NATS_URL": nats_url})
    assert told(nats_url) == expected(kintell, job_id)
    assert lag(kintell.database).waiting == 0


def test_two_publishers_at_once(kintell: Kintell, nats_url: str) -> None:
    job_ids = [imported(kintell), kintell.run(File([kintell.row(number) for number in range(500, 600)])).id]
    both = [start(Work("publish", kintell.database.url, nats=nats_url)) for _ in range(2)]
    for process in both:
        process.join(60)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    seen = told(nats_url)
    assert sorted(seen) == sorted(expected(kintell, job_ids[0]) + expected(kintell, job_ids[1]))
    for job_id in job_ids:
        assert [name for name in seen if name.startswith(job_id)] == expected(kintell, job_id)


def test_a_stream_that_was_made_anew_gets_the_rest(kintell: Kintell, nats_url: str) -> None:
    job_id = imported(kintell)
    assert run(Work("publish", kintell.database.url, nats=nats_url, failpoints="kintell.published@3=kill"))
    sent = kintell.one("SELECT events_published FROM backfill_jobs")
    fresh_stream(nats_url)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    assert told(nats_url) == expected(kintell, job_id)[sent:]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Messages that each publication from here on reads back from the stream."""
    counts: list[int] = []

    class Counted(kintell_outbox.Publication):
        async def run(self) -> None:
            await super().run()
            counts.append(self.read)

    monkeypatch.setattr(kintell_outbox, "Publication", Counted)
    return counts


def test_an_undo_reads_nothing_of_what_others_published_since(kintell: Kintell, nats_url: str, read: list[int]) -> None:
    small = imported(kintell, 4)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    kintell.run(File([kintell.row(number) for number in range(500, 1500)]), batch_size=500)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    kintell.revert(small)
    assert publish_events(kintell.database, {"NATS_URL": nats_url}) == 4
    assert read == [0, 0, 0]
    assert [name for name in told(nats_url) if name.startswith(small)] == expected(kintell, small)


def test_what_a_dead_publisher_sent_is_looked_for_before_others_publish(
    kintell: Kintell, nats_url: str, read: list[int]
) -> None:
    kintell.run(File([kintell.row(number) for number in range(500, 1500)]), batch_size=500)
    small = imported(kintell, 4)
    with kintell.connect() as connection:  # the job that is older goes first
        connection.execute("UPDATE backfill_jobs SET created_at = created_at - interval '1 day' WHERE id = %s", [small])
    assert run(Work("publish", kintell.database.url, nats=nats_url, failpoints="nats.sent@3=kill"))
    with kintell.connect() as connection:
        connection.execute(
            "UPDATE backfill_jobs SET created_at = created_at + interval '2 days' WHERE id = %s", [small]
        )
    time.sleep(2 * WINDOW_SECONDS)  # JetStream has forgotten what it saw
    publish_events(kintell.database, {"NATS_URL": nats_url})
    assert read == [3, 0]
    assert told(nats_url)[:7] == expected(kintell, small)


def test_the_stream_is_made_where_there_is_none(kintell: Kintell, nats_url: str) -> None:
    no_stream(nats_url)
    job_id = imported(kintell, 3)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    assert told(nats_url) == expected(kintell, job_id)


def test_a_stream_of_another_name_is_used(kintell: Kintell, nats_url: str) -> None:
    fresh_stream(nats_url, name="EVENTS")
    job_id = imported(kintell, 3)
    publish_events(kintell.database, {"NATS_URL": nats_url})
    assert told(nats_url) == expected(kintell, job_id)


def test_without_nats_events_wait(kintell: Kintell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kintell_outbox, "_PAUSES", (0.1,))
    imported(kintell, 3)
    with pytest.raises(NotConfigured, match="NATS_URL"):
        publish_events(kintell.database, {})
    with pytest.raises(StoreUnavailable, match=r"NATS \(NATS_URL\) cannot be used"):
        publish_events(kintell.database, {"NATS_URL": "nats://mary:secret@127.0.0.1:1"})
    with pytest.raises(UsageError, match="NATS_URL is not a NATS URL"):
        publish_events(kintell.database, {"NATS_URL": "http://mary:secret@[::1"})
    assert lag(kintell.database).waiting == 5
