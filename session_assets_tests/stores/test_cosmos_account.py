"""Settings of a Cosmos DB account: named where they are wrong, never shown; TLS is verified; a budget is kept."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from session_assets.errors import NotConfigured, SessionAssetsError, StoreUnavailable, UsageError
from session_assets.stores.cosmos import container, cosmos_target
from session_assets.stores.cosmos_account import Account
from session_assets.stores.cosmos_containers import create_containers
from session_assets.stores.cosmos_settings import AccountSettings
from session_assets_tests.stores.cosmos_faults import Answered, Faults, FaultyTransport, faulty
from session_assets_tests.stores.cosmos_scenario import put, session, sessions_of, stored

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
_HOST = "127.0.0.2"  # the SDK verifies nothing of `localhost` and 127.0.0.1


@pytest.mark.parametrize(
    ("wrong", "error", "names"),
    [
        ({"AZURE_COSMOS_ENDPOINT": ""}, NotConfigured, "AZURE_COSMOS_ENDPOINT"),
        ({"COSMOS_DATABASE_NAME": ""}, NotConfigured, "COSMOS_DATABASE_NAME"),
        ({"AZURE_COSMOS_KEY": ""}, NotConfigured, "AZURE_COSMOS_KEY"),
        ({"AZURE_COSMOS_ENDPOINT": f"https://{SECRET}@["}, UsageError, "AZURE_COSMOS_ENDPOINT"),
        ({"AZURE_COSMOS_ENDPOINT": f"mongodb://{SECRET}@host"}, UsageError, "AZURE_COSMOS_ENDPOINT"),
        ({"AZURE_COSMOS_ENDPOINT": "http://example.com"}, UsageError, "https://"),
        ({"AZURE_COSMOS_KEY": SECRET[1:]}, UsageError, "AZURE_COSMOS_KEY"),
        ({"COSMOS_DATABASE_NAME": "absent"}, UsageError, "container user_sessions is not in the database"),
        ({"AZURE_COSMOS_DB_PREFIX": "voice_"}, UsageError, "container voice_user_sessions"),
        ({"COSMOS_CONCURRENCY": "0"}, UsageError, "COSMOS_CONCURRENCY"),
        ({"COSMOS_REQUEST_UNITS": "many"}, UsageError, "COSMOS_REQUEST_UNITS"),
        ({"COSMOS_VERIFY_TLS": "perhaps"}, UsageError, "COSMOS_VERIFY_TLS"),
    ],
)
def test_wrong_settings_are_named_and_never_shown(
    cosmos: dict[str, str], wrong: dict[str, str], error: type[SessionAssetsError], names: str
) -> None:
    with pytest.raises(error, match=names) as raised:
        container("user_sessions", cosmos | {"AZURE_COSMOS_KEY": SECRET} | wrong)
    assert SECRET[1:-1] not in str(raised.value)


def test_a_hierarchical_key_with_the_user_is_refused_in_words(
    cosmos: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = sessions_of(cosmos)

    async def properties(_self: object) -> dict[str, object]:  # the emulator has no hierarchical keys
        return {"partitionKey": {"paths": ["/tenant", "/user_id"], "kind": "MultiHash"}}

    monkeypatch.setattr(type(sessions), "_properties", properties)
    with pytest.raises(UsageError, match="hierarchical"):
        container("user_sessions", cosmos)


class Refusing(FaultyTransport):
    """Answers everything with one status."""

    status = 401

    async def send(self, request: object, **options: object) -> Answered:
        return Answered(request, self.status)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_name_the_key(cosmos: dict[str, str], status: int) -> None:
    transport = Refusing(Faults())
    transport.status = status
    with pytest.raises(StoreUnavailable, match="AZURE_COSMOS_KEY") as raised:
        Account(AccountSettings.from_env(cosmos), transport)
    assert cosmos["AZURE_COSMOS_KEY"] not in str(raised.value)


def test_the_target_is_named_without_credentials(cosmos: dict[str, str]) -> None:
    host = cosmos["AZURE_COSMOS_ENDPOINT"].removeprefix("http://")
    create_containers(cosmos)
    target = cosmos_target("user_sessions", cosmos)
    assert (target.members, target.database) == ((host,), cosmos["COSMOS_DATABASE_NAME"])
    assert target.old_name == f"cosmos://{host}/{cosmos['COSMOS_DATABASE_NAME']}/"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_budget_of_request_units_is_kept(cosmos: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    put(sessions_of(cosmos), *(session(number) for number in range(40)))
    clock = Clock()
    for name in ("time", "asyncio"):
        monkeypatch.setattr(f"session_assets.stores.cosmos_transport.{name}", clock)
    settings = cosmos | {"COSMOS_REQUEST_UNITS": "100", "COSMOS_CONCURRENCY": "1"}
    with faulty(settings, Faults()) as account:  # the emulator charges 1 for each request
        sessions = container("user_sessions", settings)
        for one in [*stored(sessions).values()] * 5:
            sessions.read(one["id"], one["user_id"])
        used = account.usage
        assert used.request_units > 200
        # a second's worth goes out at once; what the last request costs is known only afterwards
        assert used.request_units - 101 <= 100 * clock.now <= used.request_units - 99
        assert used.waited == pytest.approx(clock.now)
        assert used.throttled == 0


class _Account(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"id": "x", "writableLocations": [], "readableLocations": [], "userConsistencyPolicy": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """An HTTPS server whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _HOST)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(_HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    pem.write_bytes(private + certificate.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ThreadingHTTPServer((_HOST, 0), _Account)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://{_HOST}:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_tls_is_verified_unless_told_otherwise(self_signed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_assets.stores.cosmos_transport._LONGEST_PAUSE", 0.01)
    settings = {"AZURE_COSMOS_ENDPOINT": self_signed, "AZURE_COSMOS_KEY": SECRET, "COSMOS_DATABASE_NAME": "x"}
    with pytest.raises(StoreUnavailable, match="AZURE_COSMOS_ENDPOINT"):
        Account(AccountSettings.from_env(settings))
    Account(AccountSettings.from_env(settings | {"COSMOS_VERIFY_TLS": "false"})).close()


def test_a_server_that_is_down_is_said_to_be_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_assets.stores.cosmos_transport._LONGEST_PAUSE", 0.01)
    settings = {"AZURE_COSMOS_ENDPOINT": "http://127.0.0.1:9", "AZURE_COSMOS_KEY": SECRET, "COSMOS_DATABASE_NAME": "x"}
    with pytest.raises(StoreUnavailable, match="no connection can be made"):
        container("user_sessions", settings)
