"""How often somebody may ask for what is dear: one table, counted before a password is hashed or a connection is taken.

Each web process counts in its own memory: no service to run beside it, and a flood is stopped where it arrives. With several
processes somebody may come to as many times the number; the lock of an account is the database's, and is one for all.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Literal
from uuid import UUID

from fastapi import Depends, Request
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from api.credentials import credential
from geo.errors import NotFound, TooMany, Unauthorised

Kind = Literal["sign_in", "slip", "public_write", "photo", "costly", "export", "upload"]
KNOWN = 10_000  # credentials whose account is remembered


@dataclass(frozen=True)
class Limit:
    """At most so many in so many minutes: `anonymous` of one address, `signed_in` of one account."""

    about: str
    minutes: int
    anonymous: int
    signed_in: int


# A whole office, and with a phone company a whole quarter, comes from one address: what an honest crowd does must fit.
LIMITS: dict[Kind, Limit] = {
    "sign_in": Limit("failed sign-ins, by password or by the identity provider", 15, 20, 20),
    "slip": Limit("codes on paper that do not hold: one-time slips, receipts of requests", 15, 20, 20),
    "public_write": Limit("reports and requests of the public", 60, 120, 600),
    # Four of each report, and each sent again where the network is bad.
    "photo": Limit("photos of reports", 60, 600, 1200),
    "costly": Limit("questions that take a processor for a second: boundary checks, sums over wide areas", 1, 30, 60),
    "export": Limit("files of many records", 60, 20, 60),
    "upload": Limit("files sent in", 60, 20, 240),
}


class Limits:
    """What this process has counted; a kind that is not in the `table` has no limit."""

    def __init__(self, table: Mapping[Kind, Limit] = LIMITS) -> None:
        self._table = table
        self._storage = MemoryStorage()
        self._counted = FixedWindowRateLimiter(self._storage)
        self._accounts: OrderedDict[bytes, UUID] = OrderedDict()

    def take(self, kind: Kind, request: Request) -> None:
        """Count one more. Raises `TooMany`, which says after how many seconds to come again."""
        if kind not in self._table:
            return
        item, *whom = self._limit(kind, request)
        if not self._counted.hit(item, *whom):
            seconds = self._counted.get_window_stats(item, *whom).reset_time - time.time()
            raise TooMany(retry_after=max(1, math.ceil(seconds)))

    @contextmanager
    def tried(self, kind: Kind, request: Request) -> Iterator[None]:
        """Count what may fail, and count it no more when it did not."""
        self.take(kind, request)
        try:
            yield
        except (Unauthorised, NotFound):
            raise
        except BaseException:
            self.give_back(kind, request)
            raise
        self.give_back(kind, request)

    def give_back(self, kind: Kind, request: Request) -> None:
        """Count one less: it was no failure. What failed before stays counted, or one's own account would clear the way
        to guess at another's."""
        if kind not in self._table:
            return
        item, *whom = self._limit(kind, request)
        self._storage.decr(item.key_for(*whom))

    def recognised(self, request: Request, account: UUID) -> None:
        """Whose the credential of a request is, for the next time: looking it up takes a connection."""
        self._accounts[_digest(request)] = account
        while len(self._accounts) > KNOWN:
            self._accounts.popitem(last=False)

    def _limit(self, kind: Kind, request: Request) -> tuple[RateLimitItem, str, str]:
        limit = self._table[kind]
        account = self._accounts.get(_digest(request))
        amount = limit.anonymous if account is None else limit.signed_in
        # A credential that is not known yet counts for its address: else each made-up one had a number of its own.
        return RateLimitItemPerSecond(amount, limit.minutes * 60), kind, str(account or network(request))


def limited(kind: Kind) -> Any:
    """What a route asks for, first of all, whose cost is bounded."""

    # On the event loop: counting takes microseconds, and a flood shall not take the threads either.
    async def counted(request: Request) -> None:
        limits: Limits = request.app.state.limits
        limits.take(kind, request)

    return Depends(counted)


def guessed(kind: Kind) -> Any:
    """What a route asks for that is given a code to try: only those that do not hold count."""

    async def counted(request: Request) -> AsyncIterator[None]:
        limits: Limits = request.app.state.limits
        with limits.tried(kind, request):
            yield

    return Depends(counted, scope="function")


def network(request: Request) -> str:
    """Where a request comes from. Of IPv6 everybody has 2^64 addresses: the network counts."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) and not address.ipv4_mapped else host


def _digest(request: Request) -> bytes:
    return hashlib.sha256(credential(request).encode("utf-8", "replace")).digest()
