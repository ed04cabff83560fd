"""The settings of a Cosmos DB account, and what they lead to. Loads no driver.

`AZURE_COSMOS_ENDPOINT`, `AZURE_COSMOS_KEY` (without it Entra ID, through azure-identity), `COSMOS_DATABASE_NAME`,
`AZURE_COSMOS_DB_PREFIX`, `COSMOS_CONCURRENCY`, `COSMOS_REQUEST_UNITS` (a second), `COSMOS_VERIFY_TLS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from session_assets.errors import NotConfigured, UsageError
from session_assets.settings import number, switch

VARIABLE = "AZURE_COSMOS_ENDPOINT"
KEY, DATABASE, PREFIX = "AZURE_COSMOS_KEY", "COSMOS_DATABASE_NAME", "AZURE_COSMOS_DB_PREFIX"
CONCURRENCY, REQUEST_UNITS, VERIFY_TLS = "COSMOS_CONCURRENCY", "COSMOS_REQUEST_UNITS", "COSMOS_VERIFY_TLS"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class AccountSettings:
    """What is needed to connect; `key` is None where Entra ID is used."""

    endpoint: str
    key: str | None
    database: str
    prefix: str
    concurrency: int
    request_units: float
    verify_tls: bool

    @staticmethod
    def from_env(env: Mapping[str, str] | None = None) -> AccountSettings:
        """Raises `NotConfigured` and `UsageError`, which name the variable and never show it."""
        env = os.environ if env is None else env
        for variable in (VARIABLE, DATABASE):
            if not env.get(variable):
                raise NotConfigured(variable, "Cosmos DB")
        endpoint = env[VARIABLE]
        try:
            parts = urlsplit(endpoint)
            host, scheme, _ = parts.hostname, parts.scheme, parts.port
        except ValueError:
            host = scheme = None
        if not host or scheme not in ("http", "https"):
            raise UsageError(
                f"{VARIABLE} is not a URL such as https://account.documents.azure.com:443/. Correct it and try again."
            )
        if scheme == "http" and host not in _LOOPBACK:
            raise UsageError(
                f"{VARIABLE} must begin with https://. Only an emulator on this machine is asked without TLS."
            )
        if scheme == "http" and not env.get(KEY):  # a token is sent over TLS only
            raise NotConfigured(KEY, "Cosmos DB")
        concurrency = number(env, CONCURRENCY, 32)
        if concurrency < 1:
            raise UsageError(f"{CONCURRENCY} must be at least 1. Correct it and try again.")
        return AccountSettings(
            endpoint,
            env.get(KEY) or None,
            env[DATABASE],
            env.get(PREFIX, ""),
            int(concurrency),
            number(env, REQUEST_UNITS, 0),
            switch(env, VERIFY_TLS, True),
        )

    @property
    def is_plain(self) -> bool:
        """An emulator: it also tells addresses of itself that cannot be reached."""
        return self.endpoint.startswith("http://")

    @property
    def name(self) -> str:
        """Host, database and prefix: no credentials."""
        return account_name(self.endpoint, self.database, self.prefix)


def account_name(endpoint: str, database: str, prefix: str) -> str:
    """Where containers are: host, database and prefix. Raises `ValueError` for an endpoint with an odd port."""
    parts = urlsplit(endpoint)
    return f"cosmos://{parts.hostname}:{parts.port or 443}/{database}/{prefix}"
