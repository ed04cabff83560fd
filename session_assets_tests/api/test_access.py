"""Who may call, what is refused, and that nothing personal or secret is told."""

from __future__ import annotations

import gzip
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from session_assets_tests.api.server import TOKEN, TOKEN_VARIABLE, Api, started
from session_assets_tests.kintell.files import SAMPLE, clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.terminal import Terminal

JOB = "00000000-0000-0000-0000-000000000000"
START = "/import/backfill/start"


def routes(api: Api) -> list[tuple[str, str]]:
    paths = api.get("/openapi.json").json()["paths"]
    return [
        (method, re.sub(r"\{\w+\}", JOB, path))
        for path, methods in sorted(paths.items())
        for method in sorted(methods)
        if path != "/livez"
    ]


def is_problem(response: httpx.Response, status: int) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert set(body) == {"type", "title", "status", "detail", "request_id"}
    return body


def test_every_route_needs_the_token(api: Api) -> None:
    found = [*routes(api), ("get", "/"), ("get", "/nowhere"), ("delete", "/health"), ("get", "/docs/x")]
    assert len(found) >= 15
    wrong = (None, "", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN)
    with httpx.Client(base_url=api.url, trust_env=False) as anybody:
        for method, path in found:
            for given in wrong:
                headers = {} if given is None else {"Authorization": given}
                response = anybody.request(method, path, headers=headers)
                is_problem(response, 401)
                assert response.headers["www-authenticate"] == "Bearer", path


def test_docs_page_explains_itself_without_network_and_holds_no_data(api: Api) -> None:
    with httpx.Client(base_url=api.url, trust_env=False) as anybody:
        page = anybody.get("/docs").text
        found = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(found) == 3
        assert all(one.startswith("/static-offline-docs/") and anybody.get(one).status_code == 200 for one in found)
        schema = anybody.get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert schema["paths"].pop("/livez")["get"].get("security") is None
    assert all("HTTPBearer" in str(one["security"]) for path in schema["paths"].values() for one in path.values())


def test_mistakes_are_told_as_problems(api: Api, tmp_path: Path) -> None:
    assert "/docs" in str(is_problem(api.get("/nowhere"), 404)["detail"])
    is_problem(api.post("/health"), 405)
    is_problem(api.get(f"/import/backfill/{JOB}/status"), 404)
    is_problem(api.get("/import/backfill/no-id/errors"), 404)
    is_problem(api.post(f"/import/backfill/{JOB}/resume"), 404)
    is_problem(api.post(START), 400)
    is_problem(api.post(START, files={"other": b"x"}), 400)
    is_problem(api.post(START, json={"file": "x"}), 415)
    is_problem(api.post(START, data={"file": "x"}), 415)
    is_problem(api.post(START, content=b"--x\r\nbroken", headers={"content-type": "multipart/form-data"}), 400)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    is_problem(api.post(START, content=b"broken", headers=headers), 400)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    told = str(is_problem(api.post(START, content=head + SAMPLE.encode(), headers=headers), 400)["detail"])
    assert "breaks off" in told and "***" not in told
    much = b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n\r\n' * 2000
    is_problem(api.post(START, content=much + head + SAMPLE.encode() + b"\r\n--x--\r\n", headers=headers), 413)
    empty, headless = tmp_path / "empty.csv", write(tmp_path / "m@example.com.csv", [{"a": "1"}], columns=["a"])
    empty.touch()
    assert "empty.csv: empty" in str(is_problem(api.upload(START, empty), 422)["detail"])
    told = str(is_problem(api.upload(START, headless), 422)["detail"])
    assert "required columns are missing" in told and "m@example.com" not in told


def test_uploads_have_a_limit(cli: Terminal, kintell: Kintell, tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * (1024 * 1024 + 1))
    with started(cli, SESSION_ASSETS_API_MAX_UPLOAD_MB="1", SESSION_ASSETS_API_RATE="5") as api:
        told = is_problem(api.upload(START, large), 413)
        assert "1,048,576" in str(told["detail"])

        def chunks():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
            for _ in range(40):
                yield b"y" * 65_536

        endless = api.post(START, content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"})
        is_problem(endless, 413)
        assert left_behind(api) == []

        for _ in range(3):
            assert api.get("/health").status_code == 200
        slow = api.get("/health")
        is_problem(slow, 429)
        assert 1 <= int(slow.headers["retry-after"]) <= 60
        with httpx.Client(base_url=api.url, trust_env=False) as anybody:  # guesses are counted apart
            codes = [anybody.get("/health").status_code for _ in range(7)]
        assert codes == [401] * 5 + [429] * 2


def test_several_tokens_and_huge_headers_are_refused(api: Api) -> None:
    with httpx.Client(base_url=api.url, trust_env=False) as anybody:
        for other in (f"Bearer {TOKEN}", "Bearer other"):
            twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", other)]
            is_problem(anybody.get("/health", headers=twice), 400)
        with pytest.raises((httpx.HTTPError, AssertionError)):
            assert anybody.get("/livez", headers={"X-Long": "x" * 1_000_000}).status_code >= 400
            raise httpx.HTTPError("refused")
    assert api.get("/health").status_code == 200


def test_work_for_an_upload_is_bounded(cli: Terminal, kintell: Kintell, tmp_path: Path) -> None:
    """By the columns and the rows of its bytes, by time, and by the patience of its sender."""
    header = SAMPLE.splitlines()[0]
    wide, many = tmp_path / "wide.csv", tmp_path / "many.csv.gz"
    wide.write_text(",".join([header, *(f"c{place}" for place in range(50_000))]) + "\n")
    many.write_bytes(gzip.compress(f"{header}\n".encode() + b"x\n" * 30_000_000, 9))
    slow = tmp_path / "slow.csv"
    slow.write_text(f"{header}\n" + 'x",y,"z\n' * 8_000_000)
    with started(cli) as api:
        began = time.monotonic()
        assert "at most 10,000" in str(is_problem(api.upload(START, wide), 422)["detail"])
        assert "too many for a file of" in str(is_problem(api.upload(START, many), 422)["detail"])
        assert time.monotonic() - began < 30
        with pytest.raises(httpx.ReadTimeout):
            api.client.post(START, files={"file": ("a.csv", slow.read_bytes())}, timeout=httpx.Timeout(60, read=1))
        until(lambda: "the caller went away" in api.log)
        assert left_behind(api) == []
    with started(cli, SESSION_ASSETS_API_REQUEST_SECONDS="0.01") as api:
        assert "took longer than 0.01 seconds" in str(is_problem(api.upload(START, slow), 408)["detail"])
        assert left_behind(api) == []


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left_behind(api: Api) -> list[Path]:
    return [path for path in (api.terminal.home / "imports").iterdir() if path.name.startswith(".")]


def test_names_of_files_are_no_paths(api: Api, tmp_path: Path) -> None:
    names = [
        "../../../evil.csv",
        "..\\..\\evil.csv",
        "/etc/evil.csv",
        "%2e%2e%2fevil.csv",
        "a/" * 400,
        "\r\nevil",
        "é" * 300,
    ]
    for number, name in enumerate(names):
        response = api.upload(START, write(tmp_path / "a.csv", [clean(number)]), name)
        assert response.status_code == 200, response.text
        assert not {"/", "\\", "\n"} & set(response.json()["fileName"])
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    copies = [*(api.terminal.home / "imports").iterdir()]
    assert len(copies) == len(names)
    for copy in copies:
        assert re.fullmatch(r"[0-9a-f]{12}-upload", copy.name)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not Path("/etc/evil.csv").exists()


def test_logs_hold_ids_but_no_mail_and_no_secret(api: Api, tmp_path: Path) -> None:
    mails = (
        "mary.canary@example.com",
        "mary.canary%40example.com",
        "zoë.canary@exämple.com",
        "mary.canary%2540example.com",
    )
    for mail in mails:
        for path in ("session-summary", "topic-performance", "nowhere"):
            api.get(f"/api/analytics/users/{mail}/{path}", headers={"X-Request-ID": "asked-7"}, params={"days": mail})
        api.get(f"/import/backfill/{mail}/status")
        api.get(f"/{mail}", headers={"X-Request-ID": f"{mail}"} if mail.isascii() else {})
    sent = write(tmp_path / "a.csv", [clean(1, participant_email=mails[0])])
    job = api.upload(START, sent, f"from-{mails[0]}.csv").json()
    assert job["fileName"] == "from-m***@example.com.csv" or "canary" not in job["fileName"]
    assert api.upload(f"/import/backfill/{job['jobId']}/resume", sent).json()["failedRows"] == 1
    assert "mary.canary@example.com" in api.get(f"/import/backfill/{job['jobId']}/errors").text  # data of whoever asks
    for path in (api.terminal.home / "api").iterdir():
        assert "canary" not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "canary" not in api.log, api.log
    assert "request_id=asked-7 GET /api/analytics/users/{user}/session-summary 422" in api.log
    assert f"POST /import/backfill/{job['jobId']}/resume 200" in api.log


def test_token_of_a_first_start_is_in_a_file_of_its_own(cli: Terminal, kintell: Kintell) -> None:
    file = cli.home / "api_token"
    with started(cli, **{TOKEN_VARIABLE: None}) as api:  # pyright: ignore[reportArgumentType]
        token = file.read_text().strip()
        assert len(token) >= 32 and stat.S_IMODE(file.stat().st_mode) == 0o600
        assert api.get("/health").status_code == 401
        assert api.get("/health", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert str(file) in api.log and token not in api.log
    file.chmod(0o644)
    refused = cli("api")
    assert (refused.code, "others can read the token" in refused.err) == (2, True)


@pytest.mark.parametrize("token", ["", "short", "with spaces in between it", "ü" * 20])
def test_a_weak_token_is_refused(cli: Terminal, token: str) -> None:
    refused = cli("api", **{TOKEN_VARIABLE: token})
    assert refused.code == 2
    assert TOKEN_VARIABLE in refused.err and (not token or token not in refused.err)
