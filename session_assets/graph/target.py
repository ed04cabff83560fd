"""What the terminal can verify, plan, apply and revert: one target a loop, named SLICE or SLICE/STEP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from session_assets.changes.ledger import Ledger
from session_assets.graph.environment import Environment
from session_assets.graph.loop import Loop


@dataclass(frozen=True)
class Target:
    """A loop with its jobs. `standing` and `order` are None where its assets have no partitions."""

    loop: Loop
    variable: str
    plan: str
    apply: str  # plans and applies
    apply_pending: str  # applies what is planned
    verify: str | None = None
    one_session: str | None = None  # the job behind `--session`
    knows_users: bool = False  # that job also takes `--username`
    standing: Callable[[Environment], list[str]] | None = None
    """The partitions that hold documents now."""
    order: Callable[[], Sequence[str]] | None = None
    """All partition keys, in order."""
    checks: tuple[str, ...] = ()
    """Names of the step reports that hold check results, beside `checks`."""
    revert: str | None = None
    """What the job of its undo is named after, where that is not the slice: `NAME_revert`, and its op `revert_NAME_plan`."""
    story: Callable[[Ledger, dict[str, Any]], Iterable[str]] | None = None
    """Lines that a person reads of a plan or an apply beside its counts, from the object of `--json`."""

    @property
    def name(self) -> str:
        return self.loop.name


@dataclass(frozen=True)
class FileTarget:
    """A slice that is fed by files: its plan is a dry run of files, its apply imports them, and its undo is by import job."""

    name: str
    variable: str
    folder: str  # below the drop folder
    partitions: str  # the name of the dynamic partitions, one a file
    import_file: str  # jobs from here
    dry_run: str
    verify: str
    revert: str
    publish: str
    take: Callable[[Environment, str, Path], None]
    """Copies a file that a partition stands for, so that no run config holds its path, which may be personal."""
    launch: Callable[..., dict[str, Any]]
    """Run config of `import_file`, from options by name."""
    left_to_do: Callable[[Environment, str], bool]
    """Whether a partition's file is not imported so far."""
    checks: tuple[str, ...] = ()
    """Names of the step reports that hold check results."""


@dataclass(frozen=True)
class StepTarget:
    """A step of a migration, or its chain up to the point where nothing is lost. Its undo is by the id of a recorded step.

    A target that only looks, such as a search of code, has `verify` and nothing else.
    """

    name: str
    variable: str
    apply: str | None = None  # jobs from here
    plan: str | None = None
    verify: str | None = None
    revert: str | None = None
    checks: tuple[str, ...] = ()
    """Names of the step reports that hold check results."""
    plan_op: str | None = None
    """The op of the plan that takes options."""
    apply_op: str | None = None
    apply_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What this op is always given: a step that must not happen by the way is asked for by name."""
    options: tuple[str, ...] = ()
    """Names of the options of a command that both ops take."""


AnyTarget = Target | FileTarget | StepTarget
