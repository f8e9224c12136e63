"""Telling the systems of others what becomes of cases: an outbox filled from the change log, and what is sent of it.

A change is one row of the outbox for each system that asked for it, whatever is killed when; it is sent until it is taken, at least
once, under an id by which the receiver knows what came twice. It says what everybody may know, as it is when it is sent.
"""

import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import sqlalchemy as sa

from geo.catalog.workflow import STATES
from geo.errors import Invalid
from geo.exchanges import EVENTS
from geo.keys import FieldKey
from geo.statements import run

# After so many tries it is given up: the delays between add up to a bit more than a day.
TRIES = 10
FIRST_SECONDS, FACTOR, MOST_SECONDS = 10, 3, 21_600
WINDOW_SECONDS = 300  # a receiver takes nothing that was signed longer ago

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Hosts:
    """Where may be sent to: names, and networks in which an address must lie that is written itself or that a name stands for."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Hosts":
        """As a setting has it: names and networks, with commas between."""
        names, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError:
                names.add(part)
        return cls(frozenset(names), tuple(networks))

    def allowed(self, url: str) -> str:
        """The host of an address that may be sent to. Raises `Invalid`."""
        try:
            parts = urlsplit(url)
            host, _ = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise Invalid("网址不对。", field="url") from error
        if parts.scheme not in ("http", "https") or parts.username is not None or parts.fragment or not host or len(url) > 500:
            raise Invalid("网址须以 http:// 或 https:// 开头,不带用户名。", field="url")
        if host not in self.names and not _literal(host, self.networks):
            raise Invalid("{host} 不在允许推送的主机里(JINGWEI_WEBHOOK_HOSTS)。", field="url", host=host)
        return host

    def resolved(self, url: str) -> str:
        """The address to connect to, looked at after the name was looked up. Raises `Invalid` for one that is none of the place's own."""
        host, parts = self.allowed(url), urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = [ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, ValueError) as error:
            raise Invalid("找不到主机 {host}。", field="url", host=host) from error
        for address in found:
            if self._own(address):
                return str(address)
        raise Invalid("{host} 的地址不在内网里,没有发送。", field="url", host=host)

    def _own(self, address: Address) -> bool:
        address = getattr(address, "ipv4_mapped", None) or address
        if self.networks:
            return any(address in network for network in self.networks if network.version == address.version)
        reserved = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved
        return address.is_private and not reserved


def _literal(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks if network.version == address.version)


@dataclass(frozen=True)
class Delivery:
    """One thing to send: `body` as bytes, to `url`, with the `secret` that the receiver knows too."""

    id: UUID
    webhook: UUID
    url: str
    event: str
    body: bytes
    secret: str
    tries: int

    def headers(self, now: float) -> dict[str, str]:
        """What is sent along: the id, what it is, and the signature over the time, the id and the body."""
        moment = str(int(now))
        return {
            "Content-Type": "application/json", "User-Agent": "Jingwei", "Jingwei-Delivery": str(self.id), "Jingwei-Event": self.event,
            "Jingwei-Signature": f"t={moment},v1={signature(self.secret, moment, str(self.id), self.body)}",
        }  # fmt: skip


def signature(secret: str, moment: str, delivery: str, body: bytes) -> str:
    """HMAC-SHA256 of `moment.delivery.body` in hexadecimal."""
    return hmac.digest(secret.encode(), f"{moment}.{delivery}.".encode() + body, hashlib.sha256).hex()


def delay(tries: int) -> int:
    """Seconds until the next try after so many."""
    return int(min(FIRST_SECONDS * FACTOR ** (tries - 1), MOST_SECONDS))


def make(connection: sa.Connection, title: str, url: str, scope: str, events: Sequence[str], hosts: Hosts, key: FieldKey) -> tuple[UUID, str]:
    """Have a system told of `events` in an area from now on: the id, and the secret, which is shown this once. Raises `Invalid`, `Forbidden`."""
    hosts.allowed(url)
    if not events or set(events) - set(EVENTS):
        raise Invalid("events 须是 {choices} 中的一个或几个。", field="events", choices=list(EVENTS))
    id = connection.scalar(sa.select(sa.func.uuid_v7()))
    assert isinstance(id, UUID)
    secret = f"jws_{secrets.token_urlsafe(32)}"
    cipher = key.seal(secret, f"webhooks|{id}|secret")
    run(connection, "webhook_make", id=id, title=title, url=url, cipher=cipher, scope=scope, events=sorted(set(events)))
    return id, secret


def end(connection: sa.Connection, id: UUID) -> None:
    """Tell a system nothing more. Raises `NotFound`."""
    run(connection, "webhook_end", id=id)


def told(connection: sa.Connection) -> list[dict[str, Any]]:
    """The systems that are told, with how many deliveries of each wait, were taken and are given up."""
    return [dict(row) for row in run(connection, "webhooks_told").mappings()]


def deliveries(connection: sa.Connection, dead: bool, most: int = 100) -> list[dict[str, Any]]:
    """What was given up, or what waits after a failure, the last first: `id`, `webhook`, `title`, `event`, `incident`, `at`, `tries`,
    `next_at`, `dead_at`, `answer`."""
    return [dict(row) for row in run(connection, "webhook_deliveries_told", dead=dead, most=most).mappings()]


def retry(connection: sa.Connection, id: UUID) -> None:
    """Send once more what was given up. Raises `NotFound`."""
    run(connection, "webhook_retry", id=id)


def gathered(engine: sa.Engine, most: int = 1_000) -> int:
    """Put what was published since into the outbox. Returns how many there are more."""
    with engine.begin() as connection:
        return int(run(connection, "webhooks_gather", most=most).scalar_one())


def claimed(engine: sa.Engine, key: FieldKey, most: int = 20) -> list[Delivery]:
    """What is due of one system. Nobody else takes it for two minutes; whoever is killed meanwhile has not sent it."""
    with engine.begin() as connection:
        rows = run(connection, "webhook_claim", most=most).mappings().all()
    return [
        Delivery(
            row["id"], row["webhook"], row["url"], row["event"], _body(dict(row["told"])), key.open(row["secret"], f"webhooks|{row['webhook']}|secret"),
            row["tries"],
        )
        for row in rows
    ]  # fmt: skip


def answered(engine: sa.Engine, delivery: Delivery, taken: bool, answer: str) -> None:
    """Note what came of a try. What failed waits, and so does all else of that system: it is asked again once, not a thousand times."""
    tries = delivery.tries + 1
    with engine.begin() as connection:
        run(
            connection, "webhook_answer", id=delivery.id, taken=taken, answer=answer[:40], tries=tries, dead=not taken and tries >= TRIES,
            seconds=delay(tries),
        )  # fmt: skip


def _body(told: dict[str, Any]) -> bytes:
    incident = told["incident"]
    if state := STATES.get(incident.get("state", "")):
        incident |= {"state_title": state.title, "stage": state.stage}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def verified(secret: str, header: str, delivery: str, body: bytes, now: datetime) -> bool:
    """Whether a signature is ours and fresh: what a receiver does."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    moment = parts.get("t", "")
    fresh = moment.isdecimal() and abs(now.timestamp() - int(moment)) <= WINDOW_SECONDS
    return fresh and hmac.compare_digest(parts.get("v1", ""), signature(secret, moment, delivery, body))
