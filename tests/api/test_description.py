"""What the OpenAPI document says is what happens, to a program that knows nothing else: Schemathesis makes questions of it, the
strange ones too, and compares the answers with what it was told."""

import re
import subprocess
import sys
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from starlette.testclient import TestClient

from tests.conftest import Server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def asked(server: Server, folder: Path, *more: str) -> str:
    """All operations but the one that never ends and the one that ends the session, each with some questions."""
    tool = Path(sys.executable).with_name("schemathesis")
    told = subprocess.run(
        [tool, "run", f"{server}/api", "--url", str(server), "--checks", CHECKS, "--exclude-path-regex", "^/(changes|sessions/current)$", "--workers", "1",
         "--continue-on-failure", "--generation-deterministic", *more],
        cwd=folder, capture_output=True, text=True, check=False, timeout=3000,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout.partition("= WARNINGS =")[0][-8000:] + told.stderr[-1000:]
    return told.stdout


def test_to_the_public(server: Server, tmp_path: Path) -> None:
    told = asked(server, tmp_path, "--phases", "fuzzing", "--max-examples", "2", "--include-method", "GET")
    tested = re.search(r"Tested: (\d+)", told)
    assert tested and int(tested[1]) > 90


@pytest.mark.long
@pytest.mark.parametrize("login", ["grid_worker", "street", "audit_admin"])
def test_to_everybody_in_every_way(server: Server, login: str, tmp_path: Path) -> None:
    body = urlencode({"login": login, "password": server.password, "next": "/"}).encode()
    opened = build_opener(HTTPCookieProcessor(jar := CookieJar()))
    opened.open(Request(f"{server}/sign-in", body, {"Origin": str(server)}), timeout=30).close()
    cookies = "; ".join(f"{one.name}={one.value}" for one in jar)
    asked(server, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "20", "-H", f"Cookie: {cookies}", "-H", f"Origin: {server}")


def test_nothing_is_told_that_is_not_so(client: TestClient) -> None:
    told = client.get("/api").text
    assert "HTTPValidationError" not in told
