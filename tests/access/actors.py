"""Who asks: one of every role, and of every way not to have it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from geo import accounts, door
from geo.catalog.roles import ROLES, Role
from geo.db import Caller
from geo.resource import Audience
from tests import town
from tests.access import rows
from tests.access.rows import ONE, STREET, TWO, A, B, C, E


@dataclass(frozen=True)
class Actor:
    """Somebody who asks, and as what they are to be taken: `role` is what they are after all, not what they once were."""

    name: str
    role: str = "public"
    areas: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    appointed: str | None = None  # to another role than they may act as now
    standing: str = "holds"  # or why not: expired, ended, disabled, revoked, wrong, elsewhere, unproved, stale
    stands_in_for: str | None = None
    by_cookie: bool = False

    @property
    def declared(self) -> Role:
        return ROLES[self.role]

    @property
    def right(self) -> str:
        return self.declared.right

    @property
    def audience(self) -> Audience:
        return self.declared.audience

    @property
    def refused(self) -> bool:
        """Whether whatever they show is no credential at all."""
        return self.standing in ("disabled", "revoked", "wrong", "elsewhere", "ended")

    @property
    def may(self) -> frozenset[str]:
        """What the server lets them do: an administrator without a second factor nothing."""
        return frozenset() if self.standing == "unproved" else self.able

    @property
    def able(self) -> frozenset[str]:
        """What the database lets them do, which looks at their appointment anew."""
        return frozenset() if self.standing == "stale" else frozenset(self.declared.may)

    @property
    def matters(self) -> frozenset[str]:
        """The matters of a department: its categories and what comes under them."""
        return frozenset(code for code in rows.matters() if code in self.categories or code[:2] in self.categories)

    def holds(self, path: str) -> bool:
        """Whether they answer for a path."""
        return self.standing in ("holds", "stale") and any(path.startswith(area) for area in self.areas)

    @property
    def token(self) -> str:
        return f"jw_test_{self.name}"

    def __str__(self) -> str:
        return self.name


ACTORS: tuple[Actor, ...] = (
    Actor("anonymous"),
    Actor("resident", "resident"),
    Actor("neighbour", "resident"),
    Actor("exchange", "exchange"),
    Actor("steward", "steward", (rows.A1,)),
    Actor("steward_of_b", "steward", (B,)),
    Actor("stewards", "steward", (rows.A1, C)),
    Actor("expert", "expert", (ONE,)),
    Actor("worker_a", "grid_worker", (A,)),
    Actor("worker_b", "grid_worker", (B,)),
    Actor("worker_ac", "grid_worker", (A, C)),
    Actor("grid_leader", "grid_leader", (C,)),
    Actor("acceptor", "acceptor", (STREET,)),
    Actor("dispatcher", "dispatcher", (ONE, E)),
    Actor("checker", "checker", (TWO,)),
    Actor("department", "department", (ONE,), ("06",)),
    Actor("department_ac", "department", (A, C), ("06", "20001")),
    Actor("leader_one", "community_leader", (ONE,), by_cookie=True),
    Actor("leader_two", "community_leader", (TWO,)),
    Actor("leader_ac", "community_leader", (A, C)),
    Actor("street", "street", (STREET,)),
    Actor("other_street", "street", (E[:9],)),
    Actor("district", "district", (rows.FIRST,)),
    Actor("system_admin", "system_admin"),
    Actor("security_admin", "security_admin"),
    Actor("auditor", "audit_admin"),
    Actor("audit_admin", "audit_admin", standing="unproved"),
    Actor("machine", "grid_worker", (B,)),
    Actor("stand_in", "grid_worker", (A,), stands_in_for="worker_a", by_cookie=True),
    Actor("expired", appointed="community_leader", areas=(ONE,), standing="expired", by_cookie=True),
    Actor("ended", appointed="community_leader", areas=(ONE,), standing="ended"),
    Actor("revoked", appointed="community_leader", areas=(ONE,), standing="revoked", by_cookie=True),
    Actor("disabled", appointed="community_leader", areas=(ONE,), standing="disabled"),
    Actor("wrong", standing="wrong"),
    Actor("elsewhere", standing="elsewhere"),
)


def cast() -> tuple[Actor, ...]:
    """The actors, and one in the first community for each role that nobody of them has."""
    missing = [role for role in ROLES.values() if role.code not in {actor.role for actor in ACTORS}]
    return ACTORS + tuple(
        Actor(role.code, role.code, (ONE,) if role.scoped else (), ("06",) if role.right == "organisation" else ()) for role in missing
    )


@dataclass
class Casting:
    """What the actors are in a database: accounts, and what each sends with a request."""

    accounts: dict[str, UUID] = field(default_factory=dict)
    appointments: dict[str, UUID] = field(default_factory=dict)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def caller_of(actor: Actor, made: Casting) -> Caller:
    """What the server binds for an actor."""
    return Caller(
        actor.name, f"jingwei_{actor.right}", actor.areas if actor.standing in ("holds", "stale") else (), actor.audience, f"{actor.role}@",
        made.accounts.get(actor.name), made.appointments.get(actor.name), tuple(sorted(actor.matters)),
    )


def cast_in(connection: sa.Connection) -> Casting:
    """Give every actor an account, an appointment and a credential, as the owner's tools do."""
    made = Casting()
    for number, actor in enumerate(cast()):
        if actor.name == "anonymous" or actor.standing in ("wrong", "elsewhere"):
            continue
        kind = "system" if actor.name == "machine" else "person"
        made.names[actor.name] = rows.text(36**4 - 1 - number)
        made.accounts[actor.name] = accounts.make(connection, actor.name, made.names[actor.name], kind)
    return made


def appoint(connection: sa.Connection, made: Casting) -> None:
    """The appointments, once there are areas to be appointed in."""
    for actor in cast():
        if actor.name not in made.accounts or (actor.appointed or actor.role) == "public":
            continue
        until = datetime.now(UTC) + timedelta(days=1) if actor.stands_in_for else None
        lent = made.appointments.get(actor.stands_in_for or "")
        made.appointments[actor.name] = accounts.appoint(
            connection, made.accounts[actor.name], actor.appointed or actor.role, actor.areas, actor.categories, until=until, stands_in_for=lent
        )
        if actor.declared.administrator and actor.standing != "unproved":
            proved = sa.text("UPDATE accounts SET totp_at = now(), totp_cipher = '\\x00' WHERE id = :id")
            connection.execute(proved, {"id": made.accounts[actor.name]})
    for actor in cast():
        made.headers[actor.name] = dict(_credential(connection, made, actor))
    spoil(connection, made)


def _credential(connection: sa.Connection, made: Casting, actor: Actor) -> Iterator[tuple[str, str]]:
    if actor.name == "anonymous":
        return
    if actor.by_cookie:
        opened = sa.text("SELECT session_opened(:account, :hash, interval '1 day', interval '1 day', '')")
        connection.execute(opened, {"account": made.accounts[actor.name], "hash": door.digest(actor.token)})
        yield "cookie", f"jingwei={actor.token}"
        yield "sec-fetch-site", "same-origin"
        return
    if actor.name in made.appointments:
        town.token(connection, made.appointments[actor.name], actor.token)
    yield "authorization", f"Bearer {'jw_ffffffff_another-server' if actor.standing == 'elsewhere' else actor.token}"


def spoil(connection: sa.Connection, made: Casting) -> None:
    """End what some of them hold, as time and administrators do."""
    for actor in cast():
        account = {"account": made.accounts.get(actor.name), "appointment": made.appointments.get(actor.name)}
        if actor.standing in ("expired", "ended"):
            past = "UPDATE appointments SET valid_from = now() - interval '2 days', valid_to = now() - interval '1 day' WHERE id = :appointment"
            connection.execute(sa.text(past), {"appointment": account["appointment"]})
        elif actor.standing == "revoked":
            connection.execute(sa.text("UPDATE sessions SET ended_at = now() WHERE account = :account"), {"account": account["account"]})
        elif actor.standing == "disabled":
            connection.execute(sa.text("SELECT account_disabled(:account, true)"), {"account": account["account"]})
