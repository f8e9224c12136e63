"""Who decides over whom, and whose papers are whose: the part of the model that is about people in office."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from geo import db, rights_requests
from geo.catalog.roles import ROLES
from geo.keys import FieldKey
from tests.access.actors import Actor, Casting, caller_of, cast
from tests.access.rows import ROOT, Canary, Town, text
from tests.conftest import Within


def named(name: str) -> Actor:
    return next(actor for actor in cast() if actor.name == name)


def held_role(name: str) -> str:
    """The role somebody is appointed to now; the public's for an appointment that has ended."""
    actor = named(name)
    if actor.appointed:
        return actor.appointed if actor.standing in ("revoked", "disabled") else "public"
    return actor.role


def may_appoint(actor: Actor, role: str, areas: Sequence[str]) -> bool:
    """Whether an actor may give a role in some areas."""
    if actor.role == "security_admin":
        return True
    if actor.role == "system_admin":
        return False  # of the other two administrators there are some already
    wanted = ROLES[role]
    return (
        "appoint" in actor.able and wanted.rank < actor.declared.rank and not wanted.administrator
        and bool(areas) and all(actor.holds(path) for path in areas)
    )


def in_hand(actor: Actor, name: str) -> bool:
    """Whether an actor decides over somebody's account."""
    other, role = named(name), held_role(name)
    if name == actor.name:
        return False
    if actor.role == "security_admin":
        return True
    if ROLES[role].administrator:
        return False
    if "accounts" in actor.able:
        return True
    if "appoint" in actor.able:
        return (other.appointed or other.role) != "public" and (role == "public" or may_appoint(actor, role, other.areas))
    return False


def listed(actor: Actor, name: str) -> bool:
    """Whether an account is in the list of those that an actor keeps."""
    if actor.role in ("system_admin", "security_admin"):
        return True
    return "appoint" in actor.able and any(actor.holds(path) for path in named(name).areas)


def approves(actor: Actor, scope: Sequence[str]) -> bool:
    """Whether an actor decides over what happens in all of some areas."""
    return "approve" in actor.able and (actor.role == "security_admin" or all(actor.holds(path) for path in scope))


@dataclass(frozen=True)
class Paper:
    """What somebody asked for, with words of their own: a look at what is masked, a file to take along, what a person asks about
    themself."""

    kind: Literal["unmasking", "export", "request"]
    id: UUID
    by: str = ""
    scope: tuple[str, ...] = ()
    decided: bool = False
    about: UUID | None = None  # the record that was looked at

    def seen_by(self, actor: Actor) -> bool:
        """Whether it is an actor's to look at: their own, what they decide over, all for who audits."""
        if actor.standing in ("unproved", "expired") or actor.refused:
            return False
        if self.kind == "request":
            return "retention" in actor.able and actor.right == "leader" and actor.holds(ROOT)
        return self.by == actor.name or "audit" in actor.able or approves(actor, self.scope)


def knows_name(actor: Actor, name: str, papers: Sequence[Paper]) -> bool:
    """Whether an actor may read whose account it is: their own, those they keep, whose papers they see, whom they stand in for."""
    other = named(name)
    return (
        actor.name == name or listed(actor, name) or actor.stands_in_for == name or other.stands_in_for == actor.name
        or any(paper.by == name and paper.seen_by(actor) for paper in papers)
    )


def lay(connection: sa.Connection, town: Town, casting: Casting, key: FieldKey) -> None:
    """The papers: two looks, two files and two requests, each with a word that is said nowhere else."""
    for name in ("worker_a", "worker_b"):
        row = next(row for row in town.of("residents") if named(name).holds(row.scope) and not row.retired)
        entry = sa.text("SELECT trail_appended(:actor, '', 'unmask', 'residents', :id, :scope, 'visit', 'asked', '')")
        told = {"actor": name, "id": str(row.id), "scope": row.scope}
        note = _word(town)
        asking = sa.text("SELECT DISTINCT unmasking FROM unmasked(:entry, 'residents', :id, '{name}', 'visit', :note)")
        with db.transaction(Within(connection, "jingwei_web"), caller_of(named(name), casting)) as opened:  # type: ignore[arg-type]
            bound = {"entry": _trailed(connection, entry, told), "id": row.id, "note": note}
            _kept(town, Paper("unmasking", opened.execute(asking, bound).scalar_one(), name, (row.scope,), about=row.id), note)
    for name in ("leader_one", "leader_ac", "leader_two"):
        note = _word(town)
        asking = sa.text("SELECT export_asked('residents', 'csv', NULL, true, '{}', 'service', :note, 3)")
        with db.transaction(Within(connection, "jingwei_web"), caller_of(named(name), casting)) as opened:  # type: ignore[arg-type]
            made = opened.execute(asking, {"note": note}).scalar_one()
        _kept(town, Paper("export", made, name, named(name).areas, decided=name == "leader_two"), note)
        if name == "leader_two":
            with db.transaction(Within(connection, "jingwei_web"), caller_of(named("street"), casting)) as opened:  # type: ignore[arg-type]
                opened.execute(sa.text("SELECT export_moved(:id, 'approved', 'in order')"), {"id": made})
    for number in range(2):
        about, name = _word(town), text(len(town.canaries) + 10)
        slip = rights_requests.receive(connection, "access", about, key, name=name, phone=f"1390000777{number}")
        id = connection.execute(sa.text("SELECT id FROM rights_requests WHERE ticket = :t"), {"t": slip.ticket}).scalar_one()
        _kept(town, Paper("request", id), about)
        for said in (name, slip.ticket):
            town.mark(said, Canary(id, "words"))


def _trailed(connection: sa.Connection, entry: sa.TextClause, told: dict[str, str]) -> int:
    # By the login of the trail, which the one of the web is not.
    with Within(connection, "jingwei_trail").begin() as trail:
        return int(trail.execute(entry, told).scalar_one())


def _word(town: Town) -> str:
    return text(len(town.canaries) + 1)


def _kept(town: Town, paper: Paper, word: str) -> None:
    town.papers[paper.id] = paper
    town.mark(word, Canary(paper.id, "words"))
