"""The file that FLOW_SCHEMA names, as pydantic reads it, and the JSON Schema that editors check it with."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from session_assets.flow import model
from session_assets.flow.table_names import LONGEST, parts, written

QUESTION = "?"
"""What `session-assets flow describe` writes where a person has to decide."""


def _without_percent(name: str) -> str:
    if "%" in name:
        raise ValueError("a name with a percent sign cannot be migrated: rename it first")
    return name


Column = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_without_percent)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Table(_Part):
    table: str = Field(
        min_length=1,
        description="`table` or `schema.table`, as the catalogue has them: case counts. A part that holds a dot or a double quote"
        " stands in double quotes.",
    )

    @field_validator("table")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return _without_percent(written(*parts(name)))


class SessionsPart(_Table):
    """The table of sessions. It stays as it is."""

    key: Column = Field(description="The column that the old columns point at.")
    title: Column = Field(description="The column that names a flow which is made for a session.")
    created: Column | None = Field(
        None, description="When a session came. Without it, every session is old enough to be given a flow."
    )


class TitledPart(_Part):
    """The name of a flow that is made."""

    column: Column
    template: str = Field("{}", description="`{}` stands for the title of the session.")

    @field_validator("template")
    @classmethod
    def _has_one_place(cls, template: str) -> str:
        if template.count("{}") != 1:
            raise ValueError("it must hold {} once, in the place of the session's title")
        return template


class FlowsPart(_Table):
    """The table of flows."""

    flow: Column = Field(description="The unique id of a flow, which rows get.")
    session: Column = Field(description="The column that ties a flow to its session. Contract drops it.")
    created: Column = Field(description="When a flow came: of several flows of a session the earliest is taken.")
    status: Column
    scope: list[Column] = Field(
        description="Columns of whom a flow belongs to. The table of sessions has them by the same names."
    )
    active: list[str] = Field(description="Statuses of flows that run, in lower case: contract waits for them.")
    uuids: list[Column] = Field([], description="More columns of a flow that is made which take its id.")
    literals: dict[Column, str] = Field(
        {}, description="Other columns of a flow that is made, each with its value as PostgreSQL reads it."
    )
    titled: TitledPart | None = None

    @field_validator("active")
    @classmethod
    def _in_lower_case(cls, statuses: list[str]) -> list[str]:
        return [one.lower() for one in statuses]

    @model_validator(mode="after")
    def _says_each_column_once(self) -> Self:
        own = [self.flow, self.session, self.created, *self.scope, *self.uuids]
        own += [*self.literals, *([self.titled.column] if self.titled else [])]
        if twice := sorted({one for one in own if own.count(one) > 1}):
            raise ValueError(f"{', '.join(twice)} would be filled twice in a flow that is made: name each column once")
        return self


class LinkedPart(_Table):
    """A table whose rows point at sessions."""

    old: Column = Field(description="The column that points at sessions. Contract archives and drops it.")
    fate: model.Fate = Field(
        description="archive: kept in the archive only; fill: followed into the flow column; replace: followed into a new flow"
        " column of the old column's type."
    )
    flow: Column = Field("flow_id", description="The column of flow ids; it is added where it is missing.")
    holds_flow_ids: bool = Field(False, description="Whether the old column may hold ids of flows, too.")
    fallback: Column | None = Field(
        None,
        description="The time of a row. A row without session then takes the latest flow of its scope until that time.",
    )
    on_delete: str | None = Field(
        None,
        pattern="^(SET NULL|NO ACTION)$",
        description="Contract makes a foreign key of the flow column, and this is what a deleted flow does. Without it: none.",
    )
    named: bool = Field(True, description="Whether each flow id must be the id of a flow that exists.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.old == self.flow:
            raise ValueError("old and flow are the same column: name two")
        if self.fallback is not None and self.fate == "archive":
            raise ValueError("fallback fills flow ids, and fate archive fills none: leave one of them out")
        return self


class Description(_Part):
    """What FLOW_SCHEMA names: a schema, and what becomes of its session ids."""

    sessions: SessionsPart
    flows: FlowsPart
    linked: list[LinkedPart] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_table_once(self) -> Self:
        names = [self.sessions.table, self.flows.table, *(one.table for one in self.linked)]
        if twice := sorted({one for one in names if names.count(one) > 1}):
            raise ValueError(f"{', '.join(twice)} is described twice: describe each table once")
        if not self.flows.scope and any(one.fallback for one in self.linked):
            raise ValueError("fallback needs flows.scope: name the columns of whom a flow belongs to")
        return self

    def migration(self) -> model.Migration:
        sessions, flows = self.sessions, self.flows
        return model.Migration(
            model.Sessions(sessions.table, sessions.key, sessions.title, sessions.created),
            model.Flows(
                flows.table, flows.flow, flows.session, flows.created, flows.status, tuple(flows.scope), tuple(flows.active),
                tuple(flows.uuids), dict(flows.literals),
                (flows.titled.column, flows.titled.template) if flows.titled else ("", "{}"),
            ),
            tuple(
                model.Linked(one.table, one.old, one.fate, one.flow, one.holds_flow_ids, one.fallback, one.on_delete, one.named)
                for one in self.linked
            ),
        )  # fmt: skip


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Description.model_json_schema()}
