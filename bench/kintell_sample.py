"""A CSV of sessions with 2 % bad rows, and the users that the good ones name: the same for the same size."""

from __future__ import annotations

import random
from pathlib import Path

import psycopg

PARTICIPANTS, VOLUNTEERS = 5000, 1000
HEADER = (
    "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level\n"
)
_FEEDBACK = (
    "Great session!",
    '"Very helpful, thanks"',
    '"Excellent! We spoke of ""work"" and plans"',
    "",
    "No feedback",
)
_BAD = ("type", "participant", "date", "rating")


def write_sample(path: Path, rows: int) -> None:
    """Two rows in a hundred have a wrong type, an unknown participant, a wrong date or a wrong rating."""
    chance = random.Random(rows)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for number in range(rows):
            bad = chance.choice(_BAD) if chance.random() < 0.02 else ""
            day, minute = 1 + chance.randrange(28), chance.randrange(1440)
            moment = f"2024-{1 + chance.randrange(12):02d}-{day:02d}T{minute // 60:02d}:{minute % 60:02d}:00Z"
            participant = "nobody" if bad == "participant" else f"participant{chance.randrange(PARTICIPANTS)}"
            file.write(
                f"kintell-session-{number:09d},{'Yoga' if bad == 'type' else chance.choice(('Language Connect', 'Mentorship'))},"
                f"{participant}@example.com,volunteer{chance.randrange(VOLUNTEERS)}@example.com,"
                f"{'01/15/2024' if bad == 'date' else moment},{1 + chance.randrange(120)},"
                f"{'7' if bad == 'rating' else chance.choice(('1', '2', '3', '4', '5', '4.5', ''))},"
                f"{chance.choice(_FEEDBACK)},{chance.choice(('A1', 'A2', 'B1', 'B2', 'C1', 'C2', ''))}\n"
            )


def add_users(connection: psycopg.Connection) -> None:
    """All users of the sample."""
    connection.execute(
        "INSERT INTO users (id, email, role) SELECT md5('p' || n)::uuid, 'participant' || n || '@example.com', 'participant'"
        " FROM generate_series(0, %s) n UNION ALL SELECT md5('v' || n)::uuid, 'volunteer' || n || '@example.com', 'volunteer'"
        " FROM generate_series(0, %s) n",
        [PARTICIPANTS - 1, VOLUNTEERS - 1],
    )
