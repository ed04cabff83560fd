"""Which variables are the user's own and which came from `session-assets env`, so that the user's always win.

`SESSION_ASSETS_EMBEDDED` lists each variable that we set with a digest of the value: `NATS_URL:1a2b3c4d,…`. A shell
that evaluated `env` therefore does not look like one whose user brought servers, and a variable that the user changes
afterwards is the user's again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

MARKER = "SESSION_ASSETS_EMBEDDED"

# What leads to a server. The other two Cosmos variables go with the endpoint: our key is of no use to another server.
_NEEDS = {
    "WEB_MONGO_URI": "mongodb",
    "CONTEST_MONGO_URI": "mongodb",
    "KINTELL_DATABASE_URL": "postgresql",
    "FLOW_DATABASE_URL": "postgresql",
    "DAGSTER_POSTGRES_URL": "postgresql",
    "NATS_URL": "nats",
    "AZURE_COSMOS_ENDPOINT": "cosmos",
}
_GOES_WITH = {"AZURE_COSMOS_KEY": "AZURE_COSMOS_ENDPOINT", "COSMOS_DATABASE_NAME": "AZURE_COSMOS_ENDPOINT"}


def is_users(env: Mapping[str, str], variable: str) -> bool:
    """Whether the user set the variable: it has a value, and not the one that we gave it."""
    value = env.get(variable, "")
    if not value:
        return False
    return f"{variable}:{_digest(value)}" not in env.get(MARKER, "").split(",")


def needed_servers(env: Mapping[str, str]) -> list[str]:
    """Names of the servers that some variable needs which the user did not set."""
    return list(dict.fromkeys(server for variable, server in _NEEDS.items() if not is_users(env, variable)))


def offered(env: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Of our `values` those that the user has not set, and the marker that lists them."""
    ours = {
        variable: value
        for variable, value in values.items()
        if not is_users(env, variable) and not is_users(env, _GOES_WITH.get(variable, variable))
    }
    return {**ours, MARKER: ",".join(f"{variable}:{_digest(value)}" for variable, value in ours.items())}


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:8]
