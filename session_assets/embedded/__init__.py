"""Servers for a laptop and for tests: MongoDB, PostgreSQL, NATS and the Cosmos DB emulator, on loopback only.

Nothing here is for production. Everything lives under `SESSION_ASSETS_HOME/embedded`; see `servers.Servers`.
"""
