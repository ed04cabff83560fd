"""Where the variables of an environment lead: server and database, without credentials and options.

So that what a run found is not said of another database. Asks no server: two spellings of one address are two places.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from session_assets.stores.cosmos_settings import DATABASE, PREFIX, VARIABLE, account_name

_SCHEMES = {"mongodb": "mongodb", "mongodb+srv": "mongodb+srv"} | dict.fromkeys(
    ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"), "postgresql"
)


def places(env: Mapping[str, str]) -> dict[str, str]:
    """By variable that names a MongoDB, PostgreSQL or Cosmos DB database."""
    found: dict[str, str] = {}
    for variable, value in env.items():
        scheme, separator, rest = value.partition("://")
        if separator and scheme in _SCHEMES:
            address, _, path = rest.partition("?")[0].partition("/")
            hosts = address.rpartition("@")[2].lower().split(",")
            found[variable] = f"{_SCHEMES[scheme]}://{','.join(sorted(hosts))}/{path}"
    if endpoint := env.get(VARIABLE):
        with suppress(ValueError):  # it leads nowhere
            found[VARIABLE] = account_name(endpoint, env.get(DATABASE, ""), env.get(PREFIX, ""))
    return found
