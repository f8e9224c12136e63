"""Signing in by the place's identity provider: against a real one on this machine, and against one that lies."""

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from joserfc import jws, jwt
from joserfc.jwk import RSAKey
from typer.testing import CliRunner

from api import cli_account, oidc
from api.oidc import Provider, Try, configured
from api.settings import Settings
from api.ways import own_path
from geo import accounts, door
from geo.errors import Unavailable
from tests import town
from tests.conftest import Client, Within

pytestmark = pytest.mark.usefixtures("quick")

BACK = "http://127.0.0.1:8000/oidc/callback"
SUBJECT = "wang@id"


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """The address of an identity provider that plays by the rules."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def keys() -> tuple[RSAKey, RSAKey, RSAKey]:
    """The liar's key, one that it takes up later, and one that is nobody's but says it is the first."""
    first, second, other = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("first", "second", "first"))
    return first, second, other


class Liar:
    """An identity provider that says what a test wants."""

    def __init__(self, key: RSAKey) -> None:
        liar = self
        self.key, self.published = key, [key]
        self.said: dict[str, Any] = {}
        self.token: Any = {}
        self.status, self.headers = 200, {"Content-Type": "application/json"}
        self.asked: list[str] = []
        self.form: dict[str, str] = {}

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                liar.asked.append(self.path)
                told = {"keys": [key.as_dict(private=False) for key in liar.published]} if self.path == "/jwks" else liar.metadata()
                self.tell(200, {"Content-Type": "application/json"}, told)

            def do_POST(self) -> None:
                liar.asked.append(self.path)
                liar.form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                liar.form["authorization"] = self.headers.get("Authorization", "")
                self.tell(liar.status, liar.headers, liar.token)

            def tell(self, status: int, headers: dict[str, str], content: Any) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"

    def metadata(self) -> dict[str, Any]:
        at = self.issuer
        return {"issuer": at, "authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token", "jwks_uri": f"{at}/jwks"} | self.said

    def claims(self, **other: Any) -> dict[str, Any]:
        """The claims of a good token; None leaves one out."""
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": SUBJECT, "aud": "jingwei", "exp": now + 300, "iat": now} | other
        return {name: value for name, value in claims.items() if value is not None}

    def gives(self, claims: dict[str, Any], key: RSAKey | None = None, **header: str) -> None:
        """The next code is good for these."""
        signed = jwt.encode({"alg": "RS256", "kid": "first"} | header, claims, key or self.key, algorithms=["RS256"])
        self.token = {"access_token": "access", "token_type": "Bearer", "id_token": signed}


@pytest.fixture
def liar(keys: tuple[RSAKey, RSAKey, RSAKey]) -> Iterator[Liar]:
    made = Liar(keys[0])
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@contextmanager
def trusting(application: FastAPI, issuer: str, secret: str = "its-secret") -> Iterator[None]:
    """The server with this provider for its own."""
    application.state.provider = Provider(issuer, "jingwei", secret, "统一身份认证", BACK)
    yield
    application.state.provider = None


@pytest.fixture
def honest(application: FastAPI, client: Client, mock: str) -> Iterator[Client]:
    with trusting(application, mock):
        yield client


@pytest.fixture
def lied_to(application: FastAPI, client: Client, liar: Liar) -> Iterator[Client]:
    with trusting(application, liar.issuer):
        yield client


def bound(connection: sa.Connection, issuer: str, login: str = "wang", subject: str = SUBJECT) -> None:
    """Somebody who may come in by the provider."""
    accounts.bind(connection, town.person(connection, login), f"{issuer}|{subject}")


def begun(client: Client, path: str = "/oidc/sign-in", **headers: str) -> dict[str, str]:
    """What the browser is sent to the provider with."""
    answer = client.get(path, headers=headers, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def consented(client: Client, path: str = "/oidc/sign-in", subject: str = SUBJECT, **headers: str) -> str:
    """The way back from the honest provider, after its form was filled in."""
    answer = client.get(path, headers=headers, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    back = httpx2.post(answer.headers["location"], data={"sub": subject})
    assert back.headers["location"].startswith(BACK)
    return back.headers["location"].removeprefix("http://127.0.0.1:8000")


def came(client: Client, path: str) -> Any:
    return client.get(path, follow_redirects=False)


def refusals(connection: sa.Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute(sa.text("SELECT actor, action, result FROM trail ORDER BY id DESC LIMIT 3"))
    return [(row.actor, row.action, row.result) for row in rows]


# The honest provider


def test_a_bound_subject_comes_in(honest: Client, connection: sa.Connection, mock: str) -> None:
    bound(connection, mock)
    answer = came(honest, consented(honest, "/oidc/sign-in?next=/review%3Freason%3Doutside"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/review?reason=outside")
    assert honest.get("/me").json()["login"] == "wang"
    assert "no-store" in answer.headers["cache-control"]
    assert [cookie.name for cookie in honest.cookies.jar] == ["jingwei"]
    assert refusals(connection)[0] == ("wang", "sign_in", "done")


def test_what_is_asked_of_the_provider(honest: Client, mock: str) -> None:
    answer = honest.get("/oidc/sign-in?next=/review", headers={"Host": "evil.example"}, follow_redirects=False)
    where = urlsplit(answer.headers["location"])
    asked = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert f"{where.scheme}://{where.netloc}" == mock
    assert asked["redirect_uri"] == BACK
    assert (asked["response_type"], asked["scope"], asked["client_id"], asked["code_challenge_method"]) == ("code", "openid", "jingwei", "S256")
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert {flag.lower() for flag in flags} == {"httponly", "samesite=lax", "path=/", "max-age=600"}
    kept = Try.read(name.partition("=")[2].strip('"'))
    assert kept and (kept.state, kept.nonce, kept.next) == (asked["state"], asked["nonce"], "/review")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(kept.verifier.encode()).digest()).decode().rstrip("=")
    assert asked["code_challenge"] == challenge
    # Nothing is told to the provider that it need not know, and each try has its own.
    assert kept.verifier not in answer.headers["location"] and "review" not in answer.headers["location"]
    again = begun(honest)
    assert {again[name] for name in ("state", "nonce", "code_challenge")}.isdisjoint(asked.values())


def test_by_tls_the_cookie_of_a_try_is_for_this_host_only(honest: Client) -> None:
    answer = honest.get("https://testserver/oidc/sign-in", follow_redirects=False)
    assert answer.headers["set-cookie"].startswith("__Host-jingwei-oidc=")
    assert "; secure" in answer.headers["set-cookie"].lower()


def test_a_code_is_good_once(honest: Client, connection: sa.Connection, mock: str) -> None:
    bound(connection, mock)
    back = consented(honest)
    kept = honest.cookies["jingwei-oidc"]
    assert came(honest, back).status_code == 303
    honest.cookies.clear()
    # The browser's own cookie of the try was taken back; whoever has kept a copy is refused by the provider.
    assert came(honest, back).status_code == 401
    refused = honest.get(back, headers={"Cookie": f"jingwei-oidc={kept}"}, follow_redirects=False)
    assert refused.status_code == 401
    assert "jingwei=" not in refused.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "altered", [{"state": "another"}, {"state": ""}, {"state": "\u00e9"}, {"code": "another"}, {"code": ""}, {"iss": "https://evil.example"},
                {"error": "access_denied"}, {"state": "x" * 201}, {"code": "x" * 4001}],
    ids=lambda altered: str(altered)[:40],
)  # fmt: skip
def test_a_way_back_that_is_not_the_one(honest: Client, connection: sa.Connection, mock: str, altered: dict[str, str]) -> None:
    bound(connection, mock)
    path, _, query = consented(honest).partition("?")
    refused = came(honest, f"{path}?{urlencode(dict(parse_qsl(query)) | altered)}")
    assert refused.status_code in (400, 401)
    assert refused.headers["content-type"] == "application/problem+json"
    assert honest.get("/me").json()["login"] is None


def test_whoever_did_not_set_out_does_not_come_back(honest: Client, connection: sa.Connection, mock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(connection, mock)
    # A page that makes somebody's browser follow the attacker's way back would sign them in as the attacker.
    attackers = consented(honest)
    honest.cookies.clear()
    assert came(honest, attackers).status_code == 401
    begun(honest)
    assert came(honest, attackers).status_code == 401
    slow = consented(honest)
    now = time.time()
    monkeypatch.setattr(oidc, "time", SimpleNamespace(time=lambda: now + 601, monotonic=time.monotonic))
    assert came(honest, slow).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["", "x", "!!!!", base64.b64encode(b"null").decode(), base64.b64encode(b"[1]").decode(), base64.b64encode(b"[" * 3000).decode(),
               base64.b64encode(json.dumps({"state": "s", "nonce": 1, "verifier": [], "began": time.time()}).encode()).decode(),
               base64.b64encode(json.dumps({"state": "s", "nonce": "n", "verifier": "v", "began": "x"}).encode()).decode(),
               base64.b64encode(json.dumps({"state": "s", "nonce": "n", "verifier": "v", "began": 1e400, "account": ""}).encode()).decode(),
               base64.b64encode(json.dumps({"state": "s", "nonce": "n", "verifier": "v", "began": 4e9}).encode()).decode()],
    ids=["empty", "letter", "marks", "null", "list", "deep", "other types", "began in words", "began never", "began to come"],
)  # fmt: skip
def test_a_cookie_that_is_no_try(honest: Client, cookie: str) -> None:
    refused = honest.get("/oidc/callback?code=c&state=s", headers={"Cookie": f"jingwei-oidc={cookie}"}, follow_redirects=False)
    assert refused.status_code == 401
    assert refused.json()["detail"] == "没能通过统一身份认证登录,请从登录页重新开始,或用口令登录。"


def test_an_unknown_subject_makes_no_account(honest: Client, connection: sa.Connection, mock: str) -> None:
    before = connection.scalar(sa.text("SELECT count(*) FROM accounts"))
    refused = came(honest, consented(honest, subject="stranger"))
    assert refused.status_code == 401
    # What to tell the administrator.
    assert refused.json()["subject"] == f"{mock}|stranger"
    assert connection.scalar(sa.text("SELECT count(*) FROM accounts")) == before
    assert (f"{mock}|stranger", "sign_in", "refused") in refusals(connection)
    assert honest.get("/me").json()["login"] is None


@pytest.mark.parametrize("made", ["disabled_at = now()", "kind = 'system'", "subject = 'https://other.example|' || split_part(subject, '|', 2)"])
def test_a_subject_of_an_account_that_is_closed_is_as_an_unknown_one(honest: Client, connection: sa.Connection, mock: str, made: str) -> None:
    unknown = came(honest, consented(honest)).json()
    bound(connection, mock)
    connection.execute(sa.text(f"UPDATE accounts SET {made} WHERE login = 'wang'"))
    assert came(honest, consented(honest)).json() == unknown


def test_a_second_factor_is_not_gone_round(honest: Client, connection: sa.Connection, mock: str) -> None:
    bound(connection, mock)
    connection.execute(sa.text("UPDATE accounts SET totp_at = now() WHERE login = 'wang'"))
    refused = came(honest, consented(honest))
    assert refused.status_code == 401
    assert "第二重验证" in refused.json()["detail"]
    assert honest.get("/me").json()["login"] is None


NEXT = [
    "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "https:evil.example", "http:/evil.example",
    "javascript:alert(1)", "data:text/html,x", "/\t/evil.example", "/\n/evil.example", "\x00/evil", " //evil.example", "evil.example", "", "/%0d\r\nSet-Cookie: a=b", "/x" * 1001,
    "/\u2028x", "/区域", "/sign-out", "/oidc/sign-in", "@evil.example", ".evil.example", "/x\\..\\y", "//evil.example/%2f..", "?x", "#x",
]  # fmt: skip


@pytest.mark.parametrize("next", NEXT, ids=ascii)
def test_no_address_but_one_of_ours_is_gone_on_to(next: str) -> None:
    assert own_path(next) == "/"


@pytest.mark.parametrize("next", ["/", "/review", "/?z=15&lat=29.8&lng=122.6&layers=areas,zones", "/boundaries?level=grid", "/identify?lon=1&lat=2"])
def test_an_address_of_ours_is_gone_on_to(next: str) -> None:
    assert own_path(next) == next


def test_an_address_in_the_cookie_is_looked_at_again(lied_to: Client, connection: sa.Connection, liar: Liar) -> None:
    bound(connection, liar.issuer)
    for path in ("https://evil.example", "//evil.example"):
        forged = Try("s", "n", "v", time.time(), path)
        liar.gives(liar.claims(nonce="n"))
        lied_to.cookies.clear()
        answer = lied_to.get("/oidc/callback?code=c&state=s", headers={"Cookie": f"jingwei-oidc={forged.written()}"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert came(lied_to, "/oidc/sign-in?" + urlencode({"next": path})).status_code == 303


def test_somebody_with_a_browser_reads_what_went_wrong(honest: Client) -> None:
    # Led to the sign-in page they would not learn whom to ask, and try again.
    browser = {"Accept": "text/html"}
    stranger = honest.get(consented(honest, subject="stranger"), headers=browser, follow_redirects=False)
    assert (stranger.status_code, stranger.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "让管理员绑定" in stranger.text
    lost = honest.get("/oidc/callback?code=c&state=s", headers=browser, follow_redirects=False)
    assert "没能通过统一身份认证登录" in lost.text
    # Whoever is only not signed in is led there.
    honest.cookies.clear()
    assert honest.get("/oidc/link", headers=browser | SAME, follow_redirects=False).headers["location"].startswith("/sign-in?")


# The liar


def test_the_liar_is_believed_when_it_tells_the_truth(lied_to: Client, connection: sa.Connection, liar: Liar) -> None:
    # Or all that follows would prove nothing.
    bound(connection, liar.issuer)
    sent = begun(lied_to)
    half = base64.urlsafe_b64encode(hashlib.sha256(b"access").digest()[:16]).decode().rstrip("=")
    liar.gives(liar.claims(nonce=sent["nonce"], at_hash=half, aud=["jingwei"], azp="jingwei", exp=int(time.time()) - 30))
    verifier = Try.read(lied_to.cookies["jingwei-oidc"].strip('"'))
    assert came(lied_to, f"/oidc/callback?code=c&state={sent['state']}&session_state=x&iss={liar.issuer}").status_code == 303
    assert lied_to.get("/me").json()["login"] == "wang"
    assert liar.form["code_verifier"] == (verifier and verifier.verifier)
    assert (liar.form["code"], liar.form["redirect_uri"], liar.form["grant_type"]) == ("c", BACK, "authorization_code")
    assert liar.form["authorization"] == "Basic " + base64.b64encode(b"jingwei:its-secret").decode()


def test_a_provider_that_asked_twice_is_believed_so(lied_to: Client, connection: sa.Connection, liar: Liar) -> None:
    bound(connection, liar.issuer)
    connection.execute(sa.text("UPDATE accounts SET totp_at = now() WHERE login = 'wang'"))
    for means, status in ((["pwd"], 401), (["pwd", "mfa"], 303)):
        sent = begun(lied_to)
        liar.gives(liar.claims(nonce=sent["nonce"], amr=means))
        assert came(lied_to, f"/oidc/callback?code=c&state={sent['state']}").status_code == status


HOUR = 3600
LIES: dict[str, Callable[[Liar, str, tuple[RSAKey, RSAKey, RSAKey]], None]] = {
    "unsigned": lambda liar, nonce, keys: setattr(liar, "token", {"access_token": "access", "id_token": _unsigned(liar.claims(nonce=nonce))}),
    "signed with its public key as a secret": lambda liar, nonce, keys: setattr(
        liar, "token", {"access_token": "access", "id_token": _keyed(liar.claims(nonce=nonce), keys[0].as_pem(private=False))}
    ),
    "signed with our secret": lambda liar, nonce, keys: setattr(
        liar, "token", {"access_token": "access", "id_token": _keyed(liar.claims(nonce=nonce), b"its-secret")}
    ),
    "signed with another key of that name": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce), keys[2]),
    "signed with a key that it does not publish": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce), keys[1], kid="second"),
    "expired": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, exp=int(time.time()) - HOUR)),
    "expired a minute and more ago": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, exp=int(time.time()) - 70)),
    "not good yet": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, nbf=int(time.time()) + HOUR)),
    "made tomorrow": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, iat=int(time.time()) + 24 * HOUR)),
    "without an end": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, exp=None)),
    "with a strange end": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, exp="tomorrow")),
    "without a beginning": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, iat=None)),
    "for somebody else": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, aud="another")),
    "for nobody": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, aud=None)),
    "for us and somebody else": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, aud=["jingwei", "another"])),
    "asked for by somebody else": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, azp="another")),
    "of another issuer": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, iss="https://evil.example")),
    "of nearly the same issuer": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, iss=liar.issuer + "/")),
    "of no issuer": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, iss=None)),
    "with another nonce": lambda liar, nonce, keys: liar.gives(liar.claims(nonce="another")),
    "without a nonce": lambda liar, nonce, keys: liar.gives(liar.claims()),
    "for another access token": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, at_hash="AAAA")),
    "of nobody": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub=None)),
    "of an empty name": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub="")),
    "of a number": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub=7)),
    "of a name with a line's end": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub="wang\nroot")),
    "of a name with a null": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub="wang\0")),
    "of a long name": lambda liar, nonce, keys: liar.gives(liar.claims(nonce=nonce, sub="x" * 256)),
    "no token": lambda liar, nonce, keys: setattr(liar, "token", {"access_token": "access"}),
    "half a token": lambda liar, nonce, keys: setattr(liar, "token", {"access_token": "access", "id_token": "a.b"}),
    "a list for a token": lambda liar, nonce, keys: setattr(liar, "token", {"access_token": "access", "id_token": ["a"]}),
    "no claims": lambda liar, nonce, keys: setattr(
        liar, "token", {"id_token": jws.serialize_compact({"alg": "RS256", "kid": "first"}, b"[]", keys[0])}
    ),
    "that the code is not good": lambda liar, nonce, keys: vars(liar).update(token={"error": "invalid_grant", "error_description": "<b>x</b>"}, status=400),
}  # fmt: skip


def _unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    parts = ({"alg": algorithm, "kid": "first"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _keyed(claims: dict[str, Any], secret: bytes) -> str:
    # By hand: a library does not lend itself to this.
    head = _unsigned(claims, "HS256")
    signature = hmac.digest(secret, head.rstrip(".").encode(), "sha256")
    return head + base64.urlsafe_b64encode(signature).decode().rstrip("=")


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_in_one_sentence(
    lied_to: Client, connection: sa.Connection, liar: Liar, keys: tuple[RSAKey, RSAKey, RSAKey], lie: str
) -> None:
    bound(connection, liar.issuer)
    sent = begun(lied_to)
    LIES[lie](liar, sent["nonce"], keys)
    refused = came(lied_to, f"/oidc/callback?code=c&state={sent['state']}")
    assert refused.status_code == 401
    assert refused.json()["detail"] == "没能通过统一身份认证登录,请从登录页重新开始,或用口令登录。"
    assert lied_to.get("/me").json()["login"] is None
    assert "/token" in liar.asked


BROKEN: dict[str, dict[str, Any]] = {
    "fails": {"status": 500}, "is busy": {"status": 503, "token": b"<html>busy</html>"}, "speaks no JSON": {"token": b"<html>hello</html>"},
    "answers a list": {"token": [1]}, "sends elsewhere": {"status": 307, "headers": {"Location": "/elsewhere"}, "token": b""},
}  # fmt: skip


@pytest.mark.parametrize("way", BROKEN)
def test_a_provider_that_is_broken_is_away(lied_to: Client, liar: Liar, way: str) -> None:
    sent = begun(lied_to)
    vars(liar).update(BROKEN[way])
    away = came(lied_to, f"/oidc/callback?code=c&state={sent['state']}")
    assert (away.status_code, away.json()["detail"]) == (503, "统一身份认证暂时连不上,请稍后再试,或用口令登录。")
    assert int(away.headers["retry-after"]) > 0
    assert "/elsewhere" not in liar.asked


@pytest.mark.parametrize(
    "said", [{"issuer": "https://evil.example"}, {"issuer": None}, {"token_endpoint": "http://id.example/token"}, {"jwks_uri": "file:///etc/passwd"},
             {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": ""}, {"jwks_uri": "https://"}],
    ids=str,
)  # fmt: skip
def test_a_provider_that_says_strange_things_of_itself_is_away(lied_to: Client, liar: Liar, said: dict[str, Any]) -> None:
    liar.said = said
    assert came(lied_to, "/oidc/sign-in").status_code == 503


def test_a_provider_that_is_not_there_is_away(application: FastAPI, client: Client) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with trusting(application, f"http://127.0.0.1:{port}"):
        assert came(client, "/oidc/sign-in").status_code == 503


def test_a_provider_that_does_not_answer_is_away(application: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "PATIENCE_SECONDS", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with trusting(application, f"http://127.0.0.1:{silent.getsockname()[1]}"):
            assert came(client, "/oidc/sign-in").status_code == 503


def test_what_the_provider_says_of_itself_is_asked_once(lied_to: Client, connection: sa.Connection, liar: Liar, keys: tuple[RSAKey, RSAKey, RSAKey]) -> None:
    bound(connection, liar.issuer)
    for _ in range(3):
        sent = begun(lied_to)
        liar.gives(liar.claims(nonce=sent["nonce"]))
        assert came(lied_to, f"/oidc/callback?code=c&state={sent['state']}").status_code == 303
    assert liar.asked.count("/.well-known/openid-configuration") == 1
    assert liar.asked.count("/jwks") == 1
    # It takes up another key: asked again, because it is not known.
    liar.published = [keys[1]]
    sent = begun(lied_to)
    liar.gives(liar.claims(nonce=sent["nonce"]), keys[1], kid="second")
    assert came(lied_to, f"/oidc/callback?code=c&state={sent['state']}").status_code == 303
    assert liar.asked.count("/jwks") == 2


def test_a_public_client_sends_no_secret(application: FastAPI, client: Client, connection: sa.Connection, liar: Liar) -> None:
    bound(connection, liar.issuer)
    with trusting(application, liar.issuer, secret=""):
        sent = begun(client)
        liar.gives(liar.claims(nonce=sent["nonce"]))
        assert came(client, f"/oidc/callback?code=c&state={sent['state']}").status_code == 303
    assert liar.form["authorization"] == ""
    assert "client_secret" not in liar.form


# Binding


def signed_in(client: Client, login: str) -> None:
    assert client.post("/sessions", json={"login": login, "password": town.PASSWORD}, headers=town.OWN).status_code == 201


SAME = {"Sec-Fetch-Site": "same-origin"}


def test_whoever_has_just_signed_in_binds_who_they_are_there(honest: Client, connection: sa.Connection, mock: str) -> None:
    account = town.person(connection, "wang")
    signed_in(honest, "wang")
    answer = came(honest, consented(honest, "/oidc/link?next=/review", **SAME))
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    assert connection.scalar(sa.text("SELECT subject FROM accounts WHERE id = :id"), {"id": account}) == f"{mock}|{SUBJECT}"
    assert refusals(connection)[0] == ("wang", "account", "done")
    honest.cookies.clear()
    assert came(honest, consented(honest)).status_code == 303
    assert honest.get("/me").json()["login"] == "wang"


@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none"])
def test_binding_begins_on_a_page_of_ours(honest: Client, connection: sa.Connection, site: str | None) -> None:
    town.person(connection, "wang")
    signed_in(honest, "wang")
    assert honest.get("/oidc/link", headers={"Sec-Fetch-Site": site} if site else {}, follow_redirects=False).status_code == 403


def test_binding_needs_a_session(honest: Client, connection: sa.Connection) -> None:
    town.token(connection, town.post(connection, "machine", "grid_worker", town.A), "token")
    for headers in (SAME, SAME | {"Authorization": "Bearer token"}):
        assert honest.get("/oidc/link", headers=headers, follow_redirects=False).status_code == 401


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ("UPDATE sessions SET opened_at = opened_at - interval '16 minutes'", 403), ("UPDATE sessions SET ended_at = now()", 401),
        ("UPDATE accounts SET subject = 'https://id.example|before' WHERE login = 'wang'", 403),
    ],
)  # fmt: skip
def test_an_old_session_binds_nothing(honest: Client, connection: sa.Connection, changed: str, status: int) -> None:
    town.person(connection, "wang")
    signed_in(honest, "wang")
    back = consented(honest, "/oidc/link", **SAME)
    connection.execute(sa.text(changed))
    before = connection.execute(sa.text("SELECT login, subject FROM accounts")).all()
    assert came(honest, back).status_code == status
    assert connection.execute(sa.text("SELECT login, subject FROM accounts")).all() == before


def test_whoever_comes_back_is_who_set_out(honest: Client, connection: sa.Connection) -> None:
    for login in ("wang", "chen"):
        town.person(connection, login)
    signed_in(honest, "wang")
    back = consented(honest, "/oidc/link", **SAME)
    signed_in(honest, "chen")
    assert came(honest, back).status_code == 403
    assert connection.scalar(sa.text("SELECT count(*) FROM accounts WHERE subject IS NOT NULL")) == 0


def test_a_subject_has_one_account(honest: Client, connection: sa.Connection, mock: str) -> None:
    bound(connection, mock, "chen")
    town.person(connection, "wang")
    signed_in(honest, "wang")
    refused = came(honest, consented(honest, "/oidc/link", **SAME))
    assert (refused.status_code, refused.json()["detail"]) == (409, "这个身份已绑定到另一个账号。")


def test_the_administrator_binds_and_unbinds(connection: sa.Connection, entrance: Within, monkeypatch: pytest.MonkeyPatch, env: Callable[..., None]) -> None:
    @contextmanager
    def owner() -> Iterator[sa.Connection]:
        yield connection

    account = town.person(connection, "wang")
    monkeypatch.setattr(cli_account, "owner", owner)
    run = CliRunner().invoke
    assert run(cli_account.app, ["bind", "wang", "sub|1"]).exit_code == 1
    assert run(cli_account.app, ["bind", "wang", "sub|1", "--issuer", "https://id.example"]).exit_code == 0
    assert door.account_of(entrance, "https://id.example|sub|1", False) == account  # type: ignore[arg-type]
    env(OIDC_ISSUER="https://other.example")
    assert run(cli_account.app, ["bind", "wang", "1"]).exit_code == 0
    assert door.account_of(entrance, "https://other.example|1", False) == account  # type: ignore[arg-type]
    assert run(cli_account.app, ["unbind", "wang"]).exit_code == 0
    assert connection.scalar(sa.text("SELECT subject FROM accounts WHERE id = :id"), {"id": account}) is None


# Settings


@pytest.mark.parametrize("path", ["/oidc/sign-in", "/oidc/link", "/oidc/callback?code=c&state=s"])
def test_without_a_provider_there_is_nothing(client: Client, path: str) -> None:
    assert client.get(path, headers=SAME, follow_redirects=False).status_code == 404


def test_no_provider_unless_one_is_named(tmp_path: Path) -> None:
    assert configured(Settings()) is None
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    named = {"oidc_issuer": "https://id.example", "oidc_client_id": "jingwei"}
    made = configured(Settings(**named, oidc_client_secret_file=secret, base_url="https://jingwei.example/", oidc_name="区统一认证"))
    assert made and (made.title, made.back, made._secret) == ("区统一认证", "https://jingwei.example/oidc/callback", "s3cret")
    for wrong in (
        {"oidc_issuer": "https://id.example"}, named | {"oidc_issuer": "http://id.example"}, named | {"oidc_client_secret_file": tmp_path / "none"},
        named | {"oidc_ca_file": secret}, named | {"oidc_ca_file": tmp_path / "none"}, named | {"host": "0.0.0.0"},
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            configured(Settings(**wrong))
