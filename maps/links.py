"""Addresses of the files a page needs. No page reaches for anything outside the origin."""

import hashlib
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
PREFIX = "/static"


@cache
def fingerprint(path: str) -> str:
    """Twelve hexadecimal digits of the file's content; `FileNotFoundError` when set-up has not brought it."""
    return hashlib.sha256((ASSETS / path).read_bytes()).hexdigest()[:12]


def link(path: str) -> str:
    """`app/map.css` → `/static/app/map.css?v=…`: cached for ever, since other content has another address."""
    return f"{PREFIX}/{path}?v={fingerprint(path)}"
