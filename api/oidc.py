"""Signing in by the place's own identity provider (OpenID Connect): authorization code, PKCE, state and nonce.

Nothing outside is asked unless the settings name a provider. What belongs to one try lies in a cookie of the browser that
began it, for ten minutes; nothing of it is kept here. A subject opens the account it is bound to and never makes one.
"""

import base64
import json
import logging
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
import httpx2
from anyio.to_thread import run_sync
from authlib.integrations.httpx_client import OAuth2Client, OAuthError
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from api.collections import PROBLEM
from api.credentials import COOKIE, cookie_name, give, secure, take_back
from api.deps import CallerNow, Engines, PresenceNow, anyone, noted, origin, strict, taken
from api.door import admit
from api.limits import guessed
from api.settings import Settings, loopback
from api.ways import own_path
from geo import door
from geo.errors import Forbidden, GeoError, NotFound, Unauthorised, Unavailable
from geo.terminal import said

log = logging.getLogger("jingwei")

TRY_SECONDS = 600
KEPT_SECONDS = 3600  # what the provider says of itself
PATIENCE_SECONDS = 5.0
LEEWAY_SECONDS = 60  # between its clock and ours
OUTSIDE = 4  # threads that may be waiting for it: its slowness is not to become ours
# Signed by a key that only the provider has: `none`, and HS256 with its public key for a secret, are not among them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

FAILED = "没能通过{provider}登录,请从登录页重新开始,或用口令登录。"
AWAY = "{provider}暂时连不上,请稍后再试,或用口令登录。"

routes = APIRouter(tags=["door"], include_in_schema=False, responses=dict.fromkeys((401, 403, 404, 429, 503), PROBLEM))


@dataclass(frozen=True)
class Try:
    """One sign-in on its way to the provider and back. `account` is whose it is, when it is for binding a subject."""

    state: str
    nonce: str
    verifier: str
    began: float
    next: str = "/"
    account: str = ""

    def written(self) -> str:
        """As it travels in the cookie. Nobody but the browser's owner could alter it, to the harm of nobody else."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @staticmethod
    def read(text: str) -> "Try | None":
        """What `written` made, while it is fresh; None for anything else."""
        try:
            found = Try(**json.loads(base64.urlsafe_b64decode(text.encode())))
            fresh = 0 <= time.time() - found.began <= TRY_SECONDS
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (found.state, found.nonce, found.verifier, found.next, found.account)
        return found if fresh and all(isinstance(value, str) for value in texts) else None


@dataclass(frozen=True)
class Identity:
    """Who the provider says it is; `twice` when it asked for a second factor as well."""

    subject: str
    twice: bool


class Provider:
    """The identity provider that the settings name."""

    def __init__(self, issuer: str, client_id: str, secret: str, title: str, back: str, authorities: ssl.SSLContext | None = None) -> None:
        self.issuer, self.title, self.back = issuer, title, back
        self._client_id, self._secret, self._authorities = client_id, secret, authorities
        self._said: dict[str, tuple[float, Any]] = {}
        self._turn = threading.Lock()

    def address(self, begun: Try) -> str:
        """Where the browser goes. Raises `Unavailable` when the provider does not answer."""
        with self._asking() as client:
            where, _ = client.create_authorization_url(
                self._metadata(client)["authorization_endpoint"], state=begun.state, nonce=begun.nonce, code_verifier=begun.verifier
            )
        return str(where)

    def identity(self, begun: Try, code: str) -> Identity:
        """Who has come back with a code. Raises `Unauthorised` when it is not to be believed, `Unavailable` when the provider
        does not answer."""
        with self._asking() as client:
            metadata = self._metadata(client)
            token = client.fetch_token(
                metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=begun.verifier
            )
            claims = self._claims(client, str(token.get("id_token", "")), str(token.get("access_token", "")), begun.nonce)
        subject, means = claims["sub"], claims.get("amr") or []
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
            raise self.failed("sub")
        return Identity(f"{self.issuer}|{subject}", "mfa" in means)

    def failed(self, why: object) -> Unauthorised:
        """The one sentence for whatever is wrong, which the log tells apart."""
        log.warning("oidc: refused: %s", why)
        return Unauthorised(FAILED, provider=self.title)

    def _claims(self, client: OAuth2Client, id_token: str, access_token: str, nonce: str) -> CodeIDToken:
        try:
            read = partial(jwt.decode, id_token, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
            try:
                found = read(key=self._keys(client))
            except InvalidKeyIdError:
                # The provider may have changed its keys since we asked.
                found = read(key=self._keys(client, anew=True))
            claims = CodeIDToken(
                found.claims, found.header,
                {"iss": {"essential": True, "values": [self.issuer]}, "aud": {"essential": True, "values": [self._client_id]}},
                {"nonce": nonce, "client_id": self._client_id, "access_token": access_token},
            )
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise self.failed(repr(error)) from error
        return claims

    def _metadata(self, client: OAuth2Client) -> dict[str, str]:
        def asked() -> dict[str, str]:
            said = _object(client, get_well_known_url(self.issuer, external=True))
            if said.get("issuer") != self.issuer:
                raise ValueError("another issuer answers there")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not safe(str(said.get(name, ""))):
                    raise ValueError(f"{name} is no https address")
            return said

        metadata: dict[str, str] = self._once("metadata", asked)
        return metadata

    def _keys(self, client: OAuth2Client, anew: bool = False) -> KeySet:
        def asked() -> KeySet:
            published = _object(client, self._metadata(client)["jwks_uri"])["keys"]
            kept = [
                key for key in (published if isinstance(published, list) else ())
                if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
            ]
            return KeySet.import_key_set({"keys": kept})

        if anew:
            self._said.pop("keys", None)
        keys: KeySet = self._once("keys", asked)
        return keys

    def _once(self, what: str, asked: Callable[[], Any]) -> Any:
        with self._turn:
            known = self._said.get(what)
        if known is None or time.monotonic() - known[0] > KEPT_SECONDS:
            known = (time.monotonic(), asked())
            with self._turn:
                self._said[what] = known
        return known[1]

    def _asking(self) -> "_Asking":
        client = OAuth2Client(
            self._client_id, self._secret or None, scope="openid", redirect_uri=self.back, code_challenge_method="S256",
            # No proxy that the environment happens to name, and no way from the provider to another host.
            timeout=PATIENCE_SECONDS, trust_env=False, follow_redirects=False, verify=self._authorities or True,
        )
        return _Asking(self, client)


class _Asking:
    """A client for one errand, and what it meets with as a sentence."""

    def __init__(self, provider: Provider, client: OAuth2Client) -> None:
        self.provider, self.client = provider, client

    def __enter__(self) -> OAuth2Client:
        return self.client

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.client.close()
        if isinstance(error, OAuthError):
            raise self.provider.failed(error) from error
        if isinstance(error, (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError)):
            log.warning("oidc: %r", error)
            raise Unavailable(AWAY, provider=self.provider.title, retry_after=30) from error


def configured(chosen: Settings) -> Provider | None:
    """The provider that the settings name, or none. Raises `Unavailable` for settings that do not go together."""
    if not chosen.oidc_issuer:
        return None
    if not chosen.oidc_client_id or not safe(chosen.oidc_issuer):
        raise Unavailable(said("JINGWEI_OIDC_ISSUER 须是 https 地址,并一同设置 JINGWEI_OIDC_CLIENT_ID。"))
    if not chosen.base_url and not loopback(chosen.host):
        raise Unavailable(said("使用身份认证服务时须设置 JINGWEI_BASE_URL,认证后才回得来。"))
    try:
        secret = chosen.oidc_client_secret_file.read_text().strip() if chosen.oidc_client_secret_file else ""
        authorities = ssl.create_default_context(cafile=str(chosen.oidc_ca_file)) if chosen.oidc_ca_file else None
    except (OSError, ValueError) as problem:
        raise Unavailable(said("身份认证服务的文件读不出来:{problem}", problem=problem)) from problem
    back = f"{chosen.own_url}/oidc/callback"
    return Provider(chosen.oidc_issuer, chosen.oidc_client_id, secret, chosen.oidc_name, back, authorities)


def safe(address: str) -> bool:
    """Whether an address is reached by TLS, or is on the machine itself."""
    parts = urlsplit(address)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or "")))


async def provider_of(request: Request) -> Provider:
    """The provider of this server; `NotFound` where there is none."""
    found: Provider | None = request.app.state.provider
    if found is None:
        raise NotFound()
    return found


Place = Annotated[Provider, Depends(provider_of)]
Next = Annotated[str, Query(max_length=1000)]


@routes.get("/oidc/sign-in", dependencies=[Depends(anyone), strict("next")])
async def sign_in(request: Request, provider: Place, next: Next = "/") -> Response:
    """Send the browser to the provider, to come back to `next`."""
    return await _sent(request, provider, Try(*_random(), time.time(), own_path(next)))


@routes.get("/oidc/link", dependencies=[strict("next")])
async def link(request: Request, provider: Place, here: PresenceNow, who: CallerNow, next: Next = "/") -> Response:
    """Send whoever is signed in to the provider, to bind to their account who they are there."""
    if here.session is None or here.caller.account is None:
        raise Unauthorised()
    # It changes something in the end: begun by a page of another's, somebody else's identity might be bound to this account.
    if request.headers.get("sec-fetch-site") != "same-origin":
        raise Forbidden("这个请求不是从本站的页面发出的,已拒绝。", rule="csrf")
    return await _sent(request, provider, Try(*_random(), time.time(), own_path(next), str(here.caller.account)))


@routes.get("/oidc/callback", dependencies=[guessed("sign_in"), Depends(anyone)])
async def back(
    request: Request, provider: Place, code: Annotated[str, Query(max_length=4000)] = "", state: Annotated[str, Query(max_length=200)] = "",
    iss: Annotated[str | None, Query(max_length=1000)] = None, error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The way back: a session, or a subject bound. What else the provider puts into the address is its own affair."""
    begun = Try.read(request.cookies.get(_try_name(request), ""))
    if begun is None or error or not code or not secrets.compare_digest(begun.state.encode(), state.encode("utf-8", "replace")):
        raise provider.failed(error or "state")
    if iss not in (None, provider.issuer):
        raise provider.failed("iss")
    found = await _outside(request, provider, provider.identity, begun, code)
    answer = RedirectResponse(own_path(begun.next), 303)
    async with taken(request.app.state.turns):
        await run_sync(_bound if begun.account else _entered, request, answer, found, begun)
    take_back(request, answer, _try_name(request))
    return answer


def _entered(request: Request, answer: Response, found: Identity, _: Try) -> None:
    engines: Engines = request.app.state.engines
    try:
        token = door.opened(engines.door, door.account_of(engines.door, found.subject, found.twice), origin(request))
    except GeoError:
        noted(request, "sign_in", result="refused", actor=found.subject[:200])
        raise
    admit(request, answer, token)


def _bound(request: Request, answer: Response, found: Identity, begun: Try) -> None:
    engines: Engines = request.app.state.engines
    token = request.cookies.get(cookie_name(request), "")
    here = request.scope["presence"] = door.by_session(engines.door, token)
    # Whoever is signed in by now, it must be who set out.
    if str(here.caller.account) != begun.account:
        raise Forbidden()
    door.link(engines.door, token, found.subject)
    noted(request, "account", noun="accounts", feature=begun.account, purpose=found.subject)


async def _sent(request: Request, provider: Provider, begun: Try) -> Response:
    answer = RedirectResponse(await _outside(request, provider, provider.address, begun), 303)
    give(request, answer, _try_name(request), begun.written(), TRY_SECONDS)
    return answer


async def _outside(request: Request, provider: Provider, errand: Callable[..., Any], *given: object) -> Any:
    """Run an errand to the provider on one of the few threads there are for that."""
    limiter: anyio.CapacityLimiter = request.app.state.outside
    with anyio.move_on_after(4 * PATIENCE_SECONDS):
        return await run_sync(partial(errand, *given), limiter=limiter, abandon_on_cancel=True)
    raise Unavailable(AWAY, provider=provider.title, retry_after=30)


def _object(client: OAuth2Client, address: str) -> dict[str, Any]:
    answer = client.request("GET", address, withhold_token=True)
    answer.raise_for_status()
    said = answer.json()
    if answer.status_code != 200 or not isinstance(said, dict):
        raise ValueError(f"{address}: {answer.status_code}")
    return said


def _random() -> tuple[str, str, str]:
    return secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)


def _try_name(request: Request) -> str:
    return f"__Host-{COOKIE}-oidc" if secure(request) else f"{COOKIE}-oidc"
