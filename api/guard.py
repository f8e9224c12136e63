"""What every answer carries: what a browser may do with it, and who may keep it.

A cache that several people share must never give one what was made for another, and the next route is written by somebody
who does not think of it. So what came of asking who is there is for nobody to keep, unless the route itself says how, and
says `private`; what was answered to a credential without a word about keeping is not kept either.
"""

import base64
import hashlib
import itertools
import secrets
from typing import Any

from fastapi import Request
from starlette.datastructures import MutableHeaders

from api.credentials import credential
from api.settings import settings

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # Where somebody stands is asked for when they report; nothing here films, listens or is plugged in.
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=(), geolocation=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
YEAR = 31_536_000
FOR_EVER = f"max-age={YEAR}, immutable"
NOBODY = "private, no-store"


class Guarded:
    """The outermost of all, so that even what is refused before it is read goes out dressed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["nonce"] = nonce()
        # Whatever can be read can be asked after (RFC 9110, 9.3.2): the same answer, without itself.
        bare = scope["method"] == "HEAD"
        if bare:
            scope["method"] = "GET"
        over = False

        async def told(message: Any) -> None:
            nonlocal over
            if over:
                return
            if message["type"] == "http.response.start":
                dressed(MutableHeaders(scope=message), scope, message["status"])
            elif bare:
                over, message = True, {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, receive, told)


# What nobody can guess, made of one secret and a count: to ask the kernel each time was 0.15 to 0.3 ms of every answer.
_SECRET, _COUNT = secrets.token_bytes(32), itertools.count()


def nonce() -> str:
    """A word that no two answers share, and nobody knows beforehand."""
    return base64.urlsafe_b64encode(hashlib.blake2b(next(_COUNT).to_bytes(8, "big"), key=_SECRET, digest_size=16).digest()).rstrip(b"=").decode()


def asked_who(request: Request) -> None:
    """Remember that the answer will depend on who is there."""
    request.scope["asked_who"] = True


def dressed(headers: MutableHeaders, scope: Any, status: int) -> None:
    """Add what every answer carries to the headers of one."""
    headers.setdefault("Content-Security-Policy", POLICY.format(nonce=scope.get("nonce", "")))
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if settings().own_url.startswith("https:"):
        headers.setdefault("Strict-Transport-Security", f"max-age={YEAR}")
    asked = scope.get("asked_who", False)
    varies = [name.strip() for name in headers.get("vary", "").split(",") if name.strip()]
    missing = [name for name in ("Cookie", "Authorization") if asked and name not in varies]
    if missing:
        headers["Vary"] = ", ".join(varies + missing)
    known = bool(credential(Request(scope)))
    headers["Cache-Control"] = kept(headers.get("cache-control", ""), status, asked, known, "set-cookie" in headers)


def kept(said: str, status: int, asked: bool, known: bool, cookie: bool) -> str:
    """How an answer may be kept, from what its route `said`: `asked` for one that depends on who is there, `known` for one
    to a request with a credential, `cookie` for one that gives a cookie away."""
    for_one = any(word.strip() in ("private", "no-store") for word in said.split(","))
    if for_one:
        return said
    # Without a word some caches keep even a 404 by their own lights.
    if status >= 400 or cookie or (known and (asked or not said)):
        return NOBODY
    return said or "no-cache"
