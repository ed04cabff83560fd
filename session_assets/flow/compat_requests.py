"""Request models of the application: they take `flow_id`, and `session_id` in legacy mode only."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from session_assets.flow.compat_model import PAIRS, Flags


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _says_what_took_its_place(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for old, new in PAIRS.items():
                if old in data and old not in cls.model_fields:
                    raise ValueError(f"{old} is no longer accepted: send {new}")
        return data


class DataImportRequest(_Request):
    client_account_id: str
    engagement_id: str
    flow_id: str | None = None
    file_data: bytes


class UserSession(_Request):
    user_id: str
    flow_id: str


class LegacyDataImportRequest(DataImportRequest):
    session_id: str | None = None


class LegacyUserSession(_Request):
    user_id: str
    session_id: str | None = None
    flow_id: str | None = None


def import_request(flags: Flags) -> type[DataImportRequest]:
    """The model of an import request."""
    return LegacyDataImportRequest if flags.legacy else DataImportRequest


def user_session(flags: Flags) -> type[UserSession] | type[LegacyUserSession]:
    """The model of a user's session."""
    return LegacyUserSession if flags.legacy else UserSession
