"""What a request proves itself by, as it comes in: a token in a header, or the cookie of a session. Nobody has looked at it yet."""

from fastapi import Request, Response

from api.settings import settings
from geo.door import LASTING

COOKIE = "jingwei"


def secure(request: Request) -> bool:
    """Whether cookies of this answer are for TLS only: always, but on the machine itself."""
    return settings().secure or request.url.scheme == "https"


def cookie_name(request: Request) -> str:
    """The name of the session's cookie. `__Host-` holds it to this host, and browsers take that over TLS only."""
    return f"__Host-{COOKIE}" if secure(request) else COOKIE


def credential(request: Request) -> str:
    """The header or the cookie by which somebody asks; empty for nobody."""
    return request.headers.get("authorization") or request.cookies.get(cookie_name(request), "")


def give(request: Request, answer: Response, name: str, value: str, seconds: int = int(LASTING.total_seconds())) -> None:
    """Put a cookie on an answer that no script may read and no other site's form brings along."""
    answer.set_cookie(name, value, max_age=seconds, path="/", secure=secure(request), httponly=True, samesite="lax")


def take_back(request: Request, answer: Response, name: str) -> None:
    """Take a cookie away."""
    answer.delete_cookie(name, path="/", secure=secure(request), httponly=True, samesite="lax")
