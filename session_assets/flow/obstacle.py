"""What stands in the way of a migration, in the form in which a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

APPLY, REHEARSAL, CONTRACT = "apply", "rehearsal", "contract"
REFUSED = "This schema cannot be migrated as it is"
"""How the refusal begins that names all obstacles."""
Step = Literal["apply", "rehearsal", "contract"]


@dataclass(frozen=True)
class Obstacle:
    """An object of the database or a part of the description, why it stands in the way, what to do, and which step it stops."""

    object: str
    why: str
    remedy: str
    blocks: Step = APPLY
