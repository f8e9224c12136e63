"""The same town asked in SQL, as the web server's roles and as logins of people's own: what no route shows, but a policy holds.

A probe asks one question as one actor, in a savepoint of its own, and says what is wrong with the answer.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo import db, statements
from geo.catalog import RESOURCES
from geo.catalog.roles import ROLES
from geo.errors import Conflict, Forbidden, NotFound
from geo.resource import Audience, Place, Resource
from tests import town
from tests.access import rows
from tests.access.actors import Actor, Casting, caller_of, cast
from tests.access.offices import approves, held_role, in_hand, listed, may_appoint
from tests.access.oracle import Oracle, for_all, knows
from tests.access.rows import Row
from tests.conftest import Within

REFUSED = "refused"


@dataclass(frozen=True)
class Direct(Actor):
    """Somebody with a login of their own in the database."""

    @property
    def right(self) -> str:
        return "direct"

    @property
    def audience(self) -> Audience:
        return Audience.WORKER


class Noticed(Exception):
    """Something was wrong, and one thing is enough."""


@dataclass
class Desk:
    """One connection, on which everybody asks in turn."""

    connection: sa.Connection
    oracle: Oracle
    casting: Casting
    people: Sequence[Actor]
    one_is_enough: bool = False
    wrong: list[str] = field(default_factory=list)
    asked: int = 0

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[sa.Connection]:
        """As this actor, until the savepoint is taken back."""
        save = self.connection.begin_nested()
        try:
            if isinstance(actor, Direct):
                self.connection.exec_driver_sql(f'SET LOCAL SESSION AUTHORIZATION "{actor.name}"')
                with db.translated():
                    yield self.connection
            else:
                with db.transaction(Within(self.connection, "jingwei_web"), caller_of(actor, self.casting)) as opened:  # type: ignore[arg-type]
                    yield opened
        finally:
            save.rollback()

    def held(self, actor: Actor, question: str, due: Any, ask: Callable[[sa.Connection], Any]) -> None:
        """Ask, and note what is not as it is due. Who is refused is answered `REFUSED`."""
        self.asked += 1
        try:
            with self.acting(actor) as connection:
                got = ask(connection)
        except (Forbidden, NotFound):
            got = REFUSED
        except Conflict:
            got = "conflict"
        if got != due:
            self.wrong.append(f"{actor} {question}: {_short(got)} where {_short(due)} is due")
            if self.one_is_enough:
                raise Noticed(self.wrong[-1])


def _short(told: Any) -> str:
    return repr(sorted(map(str, told))[:6] if isinstance(told, set) else told)[:300]


# Whose appointment has ended since the request was bound: the database looks anew.
STALE = (Actor("stale", "grid_worker", (rows.A,), standing="stale"), Actor("stale_leader", "community_leader", (rows.ONE,), standing="stale"))
LOGINS = (Direct("matrix_login_a", areas=(rows.A,)), Direct("matrix_login_two", areas=(rows.TWO,)))
# One of every right, with one area and with several, and some who have none.
FEW = (
    "anonymous", "resident", "expert", "stewards", "worker_a", "worker_ac", "department", "department_ac", "leader_one", "leader_ac",
    "system_admin", "security_admin", "auditor", "district", "other_street", "leader_two", "stand_in", "expired",
)  # fmt: skip


def people(few: bool = False) -> list[Actor]:
    """Everybody who comes in, and two logins; or a few whose rights differ."""
    return [*(actor for actor in cast() if not actor.refused and (not few or actor.name in FEW)), *STALE, *LOGINS]


def logins(connection: sa.Connection) -> None:
    """The logins of people's own, for as long as the transaction lasts."""
    for actor in LOGINS:
        connection.exec_driver_sql(f'CREATE ROLE "{actor.name}" LOGIN IN ROLE jingwei_direct')
        connection.execute(sa.text("INSERT INTO direct_logins VALUES (:login, :path)"), {"login": actor.name, "path": actor.areas[0]})


# Rows


def nouns(desk: Desk, wanted: Sequence[str] = tuple(RESOURCES)) -> None:
    """Of every noun which rows each actor reads, writes, moves away and puts elsewhere."""
    for name in wanted:
        for actor in desk.people:
            _reads(desk, actor, RESOURCES[name])
            _writes(desk, actor, RESOURCES[name])


def may_read(actor: Actor, noun: Resource) -> bool:
    return not noun.personal if actor.right == "direct" else knows(actor, noun)


def reaches(oracle: Oracle, actor: Actor, row: Row) -> bool:
    """The rows that a policy shows, retired ones of one's own areas included."""
    if actor.right == "direct":
        return actor.holds(row.scope) or any(actor.holds(path) for path in row.touches)
    return oracle.reaches(actor, row)


def may_write(actor: Actor, noun: Resource) -> bool:
    if actor.right == "direct":
        return not noun.personal
    return actor.right == "leader" or (actor.right == "area" and noun.written_by < Audience.LEADER)


def _reads(desk: Desk, actor: Actor, noun: Resource) -> None:
    due: Any = {row.id for row in desk.oracle.town.of(noun.name) if reaches(desk.oracle, actor, row)} if may_read(actor, noun) else REFUSED
    desk.held(actor, f"reads {noun.name}", due, lambda c: set(c.scalars(sa.text(f"SELECT id FROM {noun.name}"))))


def _writes(desk: Desk, actor: Actor, noun: Resource) -> None:
    """All rows that an UPDATE without a condition reaches: it asks for no right to read, and so for no policy of reading."""
    of_category = actor.right == "organisation" and bool(noun.category)
    mine = [row for row in desk.oracle.town.of(noun.name) if actor.holds(row.scope)]
    if of_category:
        mine = [row for row in mine if row.values[str(noun.category)] in actor.matters]
    writes = may_write(actor, noun) or of_category
    question = sa.text(f"UPDATE {noun.name} SET source = 'probe'")
    desk.held(actor, f"writes {noun.name}", len(mine) if writes else REFUSED, lambda c: c.execute(question).rowcount)
    if not writes:
        return
    for name, value in _elsewhere(desk, actor, noun) if mine else ():
        # Without a condition again: with one, the policy of reading would look at where it has gone too.
        drawn = "ST_SetSRID(ST_GeomFromGeoJSON(:value), 4326)"
        shape = f"ST_Multi({drawn})" if str(noun.geometry).startswith("MULTI") else drawn
        moving = sa.text(f"UPDATE {noun.name} SET {name} = {shape if name == 'geom' else ':value'}")
        desk.held(actor, f"moves {noun.name} by {name}", REFUSED, lambda c, m=moving, v=value: c.execute(m, {"value": v}).rowcount)  # type: ignore[misc]
    if of_category:
        return
    for stands in _standing(desk, noun):
        due = "added" if actor.holds(stands.scope) else REFUSED
        desk.held(actor, f"adds {noun.name} in {stands.place}", due, lambda c, s=stands: _added(c, noun, s))  # type: ignore[misc]


# Side by side and further off: what lies between two areas of one actor is not theirs.
NEIGHBOURS = {"A": rows.A, "B": rows.B, "C": rows.C, "E": rows.E}


def _standing(desk: Desk, noun: Resource) -> list[Row]:
    """A row in each of some neighbouring places."""
    places = NEIGHBOURS.values() if noun.name == "areas" else NEIGHBOURS
    found = {row.place: row for row in desk.oracle.town.of(noun.name) if not row.retired}
    return [found[place] for place in places]


def _elsewhere(desk: Desk, actor: Actor, noun: Resource) -> Iterator[tuple[str, Any]]:
    """What would bring a row out of the actor's hands. Where an area counts, its path says, and that never changes."""
    for there in _standing(desk, noun):
        if noun.name == "areas" or actor.holds(there.scope):
            continue
        if noun.geometry:
            yield "geom", json.dumps(there.shape)
        if noun.place is Place.INHERITS:
            yield "building", there.values["building"]
        if "area" in there.values:
            yield "area", there.values["area"]
    if noun.category and actor.right == "organisation":
        yield noun.category, next(code for code in rows.codes("matters") if code not in actor.matters)


def _added(connection: sa.Connection, noun: Resource, like: Row) -> str:
    deciding = ("precision", "stated_area", noun.category)
    given = town.example(noun)["properties"] | {
        f.name: like.values[f.name] for f in noun.writable if f.name in deciding or (f.required and (f.refers or f.listed))
    }
    if noun.name == "areas":
        given |= {"level": "micro_grid", "parent": like.scope}
    places = {column: f":{column}" for column in given}
    if like.shape:
        drawn = "ST_SetSRID(ST_GeomFromGeoJSON(:geom), 4326)"
        places["geom"] = f"ST_Multi({drawn})" if str(noun.geometry).startswith("MULTI") else drawn
        given["geom"] = json.dumps(like.shape)
    connection.execute(sa.text(f"INSERT INTO {noun.name} ({', '.join(places)}) VALUES ({', '.join(places.values())})"), given)
    return "added"


# What is beside the nouns


def spine(desk: Desk) -> None:
    """Shares are seen with what they are of; replies by whom they were given to."""
    shared = [name for name, noun in RESOURCES.items() if noun.place is Place.SHARES]
    remembering = sa.text(
        "INSERT INTO idempotency (actor, key, route, body_hash, status, noun, feature) VALUES (:actor, 'k', '', '', 201, 'parts', uuid_v7())"
    )
    desk.connection.execute(remembering, {"actor": "worker_a"})
    for actor in desk.people:
        seen = {row.id for name in shared for row in desk.oracle.town.of(name) if row.touches and reaches(desk.oracle, actor, row)}
        desk.held(actor, "reads area_shares", seen, lambda c: set(c.scalars(sa.text("SELECT feature FROM area_shares"))))
        works = actor.right in ("area", "leader", "organisation")
        told: Any = {actor.name} & {"worker_a"} if works else REFUSED
        desk.held(actor, "reads idempotency", told, lambda c: set(c.scalars(sa.text("SELECT actor FROM idempotency"))))
        for name, due in ((actor.name, 1 if works else REFUSED), ("worker_c", REFUSED)):
            remembered = {"actor": name}
            asking = sa.text(str(remembering).replace("'k'", "'other'"))
            desk.held(actor, f"remembers as {name}", due, lambda c, r=remembered, a=asking: c.execute(a, r).rowcount)  # type: ignore[misc]
        for table in ("accounts", "sessions", "tokens", "slips", "appointments", "receipts", "trail", "changes", "batches"):
            desk.held(actor, f"reads {table}", REFUSED, lambda c, t=table: c.scalar(sa.text(f"SELECT count(*) FROM {t}")))  # type: ignore[misc]


def layers(desk: Desk) -> None:
    """A layer of somebody's own, and what is in it, is seen by those for whom it is: everybody, or who works in its area, above it or in
    a part of it, or of these who leads."""
    run = desk.connection.execute
    account = run(sa.text("SELECT id FROM accounts ORDER BY id LIMIT 1")).scalar_one()
    kept: list[tuple[str, int, str]] = []
    for scope in (rows.STREET, rows.ONE, rows.A, rows.TWO):
        for audience in (0, 2, 3):
            for ended in ("NULL", "now()"):
                batch = run(sa.text("INSERT INTO batches (noun, source, actor) VALUES ('layers', '', '') RETURNING id")).scalar_one()
                id = run(
                    sa.text(
                        "INSERT INTO layers (scope, title, kind, audience, color, opacity, columns, rows, edition, account, retired_at)"
                        f" VALUES (:scope, 't', 'point', :audience, '#000000', 1, '[]', 1, :batch, :account, {ended}) RETURNING id"
                    ), {"scope": scope, "audience": audience, "batch": batch, "account": account},
                ).scalar_one()
                run(sa.text("INSERT INTO layer_features (edition, geom) VALUES (:batch, ST_SetSRID(ST_Point(1, 1), 4326))"), {"batch": batch})
                if ended == "NULL":
                    kept.append((scope, audience, f"{id} {batch}"))
    for actor in desk.people:
        near = {scope for scope, _, _ in kept if any(scope.startswith(area) or area.startswith(scope) for area in actor.areas)}
        most = {"leader": 3, "area": 2, "direct": 2}.get(actor.right, 0)
        due = {tuple(ids.split()) for scope, audience, ids in kept if audience == 0 or (audience <= most and scope in near)}
        desk.held(actor, "reads layers", {one[0] for one in due}, lambda c: {str(id) for id in c.scalars(sa.text("SELECT id FROM layers WHERE title = 't'"))})
        for scope, audience, ids in kept:
            holds = any(scope.startswith(area) for area in actor.areas) and actor.right == "leader" and audience <= most
            changes = actor.standing != "stale" and "load" in actor.may and (holds or actor.right == "public")
            asked = {"id": ids.split()[0]}
            desk.held(
                actor, f"changes the layer of {scope} for {audience}", 1 if changes else REFUSED,
                lambda c, a=asked: c.scalar(sa.text("SELECT layer_changed(CAST(:id AS uuid), 1, '{}')"), a),  # type: ignore[misc]
            )
        desk.held(actor, "reads layer_features", {one[1] for one in due}, lambda c: {str(e) for e in c.scalars(sa.text("SELECT edition FROM layer_features"))})


# Functions that answer with more rights than their caller


def functions(desk: Desk, about: str = "") -> None:
    """What each of them tells whom; first what asks the function `about`, if any does."""
    asking = {
        _fates: ("feature_fate",), _numbers: ("area_counts_told",), _posts: ("posts_told",), _affected: ("zone_affected",),
        _review: ("review_queue", "review_counts"), _touching: ("features_here", "tally_here"), _redrawing: ("areas_redrawn", "places_in"),
        _reported: ("incident_reported",), _unmasking: ("unmasked", "sealed_fields", "trail_tells"),
        _papers: (
            "unmaskings_told", "unmasking_seen", "unmasking_reviewed", "exports_told", "export_seen", "export_moved", "export_allowed", "export_held", "export_taken",
            "rights_listed", "rights_moved", "caller_approves", "retention_held",
        ),
        _records: ("trail_told", "retention_told", "export_asked", "caller_appointment", "certificates_issued", "certificates_told"),
        _uploads: ("upload_held", "upload_made", "upload_moved", "upload_discarded", "uploads_told", "upload_problems", "upload_rows", "partial_held", "partial_taken", "partial_begun"),
    }  # fmt: skip
    everything = (_people, _papers, _records, _uploads, _review, _posts, _numbers, _touching, _redrawing, _reported, _affected, _unmasking, _fates)
    for told in sorted(everything, key=lambda told: about not in asking.get(told, ())):
        for actor in desk.people:
            if not isinstance(actor, Direct):
                told(desk, actor)


def _fates(desk: Desk, actor: Actor) -> None:
    words = {200: "living", 410: "retired", 403: "elsewhere"}
    for name, noun in RESOURCES.items():
        due: dict[str, str] = {}
        for number, row in enumerate(desk.oracle.town.of(name)):
            if number % 3 and not (row.retired or row.touches):
                continue
            fate = desk.oracle.fate(actor, row)
            due[str(row.id)] = words.get(fate, "absent")
            if fate == 200 and not actor.holds(row.scope) and actor.right in ("partner", "area", "leader"):
                due[str(row.id)] = "elsewhere"  # to be written by somebody else
            elif fate == 404 and actor.right in ("own", "organisation") and not row.retired and noun.audience is Audience.PUBLIC and for_all(row):
                due[str(row.id)] = "living"
        asking = sa.text("SELECT id::text, feature_fate(:noun, id::uuid) FROM unnest(CAST(:ids AS text[])) AS id")
        bound = {"noun": name, "ids": list(due)}
        desk.held(actor, f"asks the fate of {name}", due, lambda c, a=asking, b=bound: dict(map(tuple, c.execute(a, b).all())))  # type: ignore[misc,arg-type]


def _numbers(desk: Desk, actor: Actor) -> None:
    asking = sa.text("SELECT p.path, c.* FROM unnest(CAST(:paths AS text[])) AS p (path), area_counts_told(p.path) AS c")
    names = ("buildings", "dwellings", "households", "residents", "non_local")
    due = {path: [desk.oracle.counts(actor, path)[name] for name in names] for path in rows.LEVEL}
    desk.held(actor, "counts", due, lambda c: {row.path: [getattr(row, n) for n in names] for row in c.execute(asking, {"paths": list(due)})})


def _posts(desk: Desk, actor: Actor) -> None:
    due = {}
    for row in desk.oracle.town.of("posts"):
        if not row.retired and row.values["unit"] is None:
            clear = actor.right in ("area", "leader") and actor.holds(row.scope)
            due[row.id] = row.values["holder"] if clear else f"{row.values['holder'][0]}*"
    asking = sa.text("SELECT id, holder FROM posts_told(CAST(:paths AS text[]))")
    desk.held(actor, "asks who answers", due, lambda c: dict(map(tuple, c.execute(asking, {"paths": list(rows.LEVEL)}).all())))  # type: ignore[arg-type]


def _affected(desk: Desk, actor: Actor) -> None:
    due = {}
    for row in desk.oracle.town.of("zones"):
        if desk.oracle.sees(actor, row):
            inside = [house for house in desk.oracle.town.of("buildings") if not house.retired and _overlap(house, row)]
            people = sum(house.values["residents"] for house in inside)
            exact = actor.right in ("area", "leader") and actor.holds(row.scope)
            due[row.id] = people if exact else None
    asking = sa.text("SELECT z.id, a.residents FROM unnest(CAST(:ids AS uuid[])) AS z (id), zone_affected(z.id) AS a")
    ids = [row.id for row in desk.oracle.town.of("zones")]
    desk.held(actor, "asks what zones affect", due, lambda c: dict(map(tuple, c.execute(asking, {"ids": ids}).all())))  # type: ignore[arg-type]


def _overlap(one: Row, other: Row) -> bool:
    assert one.extent is not None and other.extent is not None
    (w, s, e, n), (west, south, east, north) = one.extent, other.extent
    return w < east and west < e and s < north and south < n


def _review(desk: Desk, actor: Actor) -> None:
    waiting = desk.oracle.waiting(actor)
    asking = sa.text("SELECT id FROM review_queue(NULL, NULL, 100000)")
    desk.held(actor, "asks what waits", {row.id for row in waiting}, lambda c: set(c.scalars(asking)))
    counts: dict[tuple[str, str], int] = {}
    for row in waiting:
        counts[row.noun, row.values["placing_reason"]] = counts.get((row.noun, row.values["placing_reason"]), 0) + 1
    desk.held(actor, "counts what waits", counts, lambda c: {(r.noun, r.reason): r.number for r in c.execute(sa.text("SELECT * FROM review_counts()"))})


def _touching(desk: Desk, actor: Actor) -> None:
    for name in (name for name, noun in RESOURCES.items() if noun.place is Place.SHARES):
        due = {row.id for row in desk.oracle.town.of(name) if any(actor.holds(path) for path in row.touches)}
        asking = sa.text("SELECT features_here(:noun)").bindparams(noun=name)
        desk.held(actor, f"asks which {name} are here", due, lambda c, a=asking: set(c.scalars(a)))  # type: ignore[misc]
    for noun, quantity in (("buildings", "rows"), ("incidents", "open"), ("residents", "rows")):
        told = sa.text("SELECT tally_here(:noun, :quantity)")
        scoped = actor.right in ("partner", "area", "leader")
        mine = [r for r in desk.oracle.town.of(noun) if not r.retired and (not scoped or actor.holds(r.scope))]
        number = sum(noun != "incidents" or r.values["state"] != "closed" for r in mine)
        bound = {"noun": noun, "quantity": quantity}
        desk.held(actor, f"asks how many {noun}", 0 if RESOURCES[noun].personal else number, lambda c, t=told, b=bound: c.scalar(t, b))  # type: ignore[misc]


def _redrawing(desk: Desk, actor: Actor) -> None:
    if actor.right != "leader":
        return
    placed = [row for row in desk.oracle.town.of("parts") if not row.retired and row.values["precision"] != "region"]
    asking = sa.text("SELECT id FROM places_in('parts', '', 'grid', ST_MakeEnvelope(122, 29, 123, 31, 4326), now())")
    desk.held(actor, "asks where parts are", {row.id for row in placed if actor.holds(row.scope)}, lambda c: set(c.scalars(asking)))
    for path in (rows.A, rows.C, rows.E):
        closing = sa.text("SELECT areas_redrawn(CAST(:closing AS text[]), CAST(:opening AS jsonb), now() + interval '1 day') ->> 'paths'")
        bound = {"closing": [path], "opening": json.dumps([{"like": path, "path": path, "of": [path]}])}
        due = f'["{path}"]' if actor.holds(path) else REFUSED
        desk.held(actor, f"draws {path} anew", due, lambda c, a=closing, b=bound: c.scalar(a, b))  # type: ignore[misc]
        opening = {"closing": [rows.A], "opening": json.dumps([{"like": rows.A, "parent": path, "of": [rows.A]}])}
        if actor.holds(rows.A) and not actor.holds(path):
            desk.held(actor, f"puts an area under {path}", REFUSED, lambda c, a=closing, b=opening: c.scalar(a, b))  # type: ignore[misc]


def _reported(desk: Desk, actor: Actor) -> None:
    """A report is stored for anybody, and says who made it as far as that is known."""
    id = "00000000-0000-7000-8000-0000000000bb"
    due = ("public" if actor.right in ("public", "own") else "patrol", desk.casting.accounts[actor.name] if actor.right == "own" else None)

    def reported(connection: sa.Connection) -> Any:
        nothing = dict.fromkeys(("matter", "description", "address", "place", "precision", "masked", "cipher", "hash", "device", "again", "said"))
        statements.run(connection, "report", id=id, ticket="T1", code_hash=b"", title="井盖松动", **nothing)
        connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION DEFAULT")
        return tuple(connection.execute(sa.text("SELECT channel, owner FROM incidents WHERE id = :id"), {"id": id}).one())

    desk.held(actor, "reports", due, reported)


# Accounts and papers


def _people(desk: Desk, actor: Actor) -> None:
    names = list(desk.casting.accounts)
    kept = {name: in_hand(actor, name) for name in names if listed(actor, name)}
    accounts = sa.text("SELECT login, in_hand FROM accounts_told(NULL, NULL, '', '', '', '', 1000, 0)")
    desk.held(actor, "lists accounts", kept, lambda c: {row.login: row.in_hand for row in c.execute(accounts)})
    held = {name for name in desk.casting.appointments if not _by_cookie(name) and _open(name)}
    mine = {name for name in held if name == actor.name or in_hand(actor, name)}
    desk.held(actor, "lists tokens", mine, lambda c: set(c.scalars(sa.text("SELECT login FROM tokens_told()"))))
    for name in ("leader_one", "stand_in", "expired"):
        seen = 1 if name == actor.name or in_hand(actor, name) else 0
        bound = {"account": desk.casting.accounts[name]}
        asking = sa.text("SELECT count(*) FROM sessions_told(:account)")
        desk.held(actor, f"lists the sessions of {name}", seen, lambda c, b=bound, a=asking: c.scalar(a, b))  # type: ignore[misc]
    makes = bool({"accounts", "appoint"} & actor.able)
    made = sa.text("SELECT account_made('somebody.new', '', 'person') IS NOT NULL")
    desk.held(actor, "makes an account", True if makes else REFUSED, lambda c: c.scalar(made))
    works = actor.declared.rank > 0 and actor.standing != "stale"
    bound = {"account": desk.casting.accounts["resident"] if works else None}
    naming = sa.text("SELECT account_named('resident') IS NOT DISTINCT FROM CAST(:account AS uuid)")
    desk.held(actor, "asks for an account by its name", True, lambda c: c.scalar(naming, bound))
    own = {
        (id, name == actor.name, _lender(name) if name == actor.name else name)
        for name, id in desk.casting.appointments.items() if _holds(name) and actor.name in (name, _lender(name))
    }
    told = sa.text("SELECT id, mine, other_login FROM appointments_told()")
    desk.held(actor, "lists what they are appointed to", own, lambda c: set(map(tuple, c.execute(told))))
    for name in sorted({"worker_b", "leader_two", "audit_admin", "resident", "machine", "stand_in", actor.name}):
        if name in desk.casting.accounts:
            _decides(desk, actor, name)
    for role, areas in (("grid_worker", [rows.A]), ("grid_worker", [rows.C]), ("grid_worker", [rows.A, rows.C]), ("street", [rows.STREET]), ("audit_admin", []), ("resident", [])):
        due = True if may_appoint(actor, role, areas) else REFUSED
        asking = sa.text("SELECT appointed(:account, :role, CAST(:areas AS text[]), '{}', NULL, NULL, NULL) IS NOT NULL")
        bound: dict[str, Any] = {"account": desk.casting.accounts["neighbour"], "role": role, "areas": areas}
        if actor.name != "neighbour":
            desk.held(actor, f"appoints a {role} in {areas}", due, lambda c, a=asking, b=bound: c.scalar(a, b))  # type: ignore[misc]
        if actor.name in desk.casting.accounts:
            self_ = bound | {"account": desk.casting.accounts[actor.name]}
            desk.held(actor, f"appoints themselves a {role}", REFUSED, lambda c, a=asking, b=self_: c.scalar(a, b))  # type: ignore[misc]
    _lends(desk, actor)


def _decides(desk: Desk, actor: Actor, name: str) -> None:
    account = desk.casting.accounts[name]
    decides = in_hand(actor, name)
    for question, due, statement in (
        ("disables", decides, "SELECT account_disabled(:account, true)"),
        ("gives a slip to", decides, "SELECT slip_made(:account, '\\x01', interval '1 day')"),
        ("ends a session of", decides or name == actor.name, "SELECT session_ended((SELECT id FROM probed WHERE what = 'session'))"),
        ("ends a token of", decides or name == actor.name, "SELECT token_ended((SELECT id FROM probed WHERE what = 'token'))"),
        ("binds a subject to", decides, "SELECT account_bound(:account, 'subject')"),
        ("dismisses", actor.name in (name, _lender(name)) or may_appoint(actor, held_role(name), _areas(name)), "SELECT appointment_ended(:appointment)"),
        ("hands over from", _nothing(name) or may_appoint(actor, held_role(name), _areas(name)), "SELECT handed_over(:account, :other, NULL)"),
        ("makes a token for", (name == actor.name or (name == "machine" and decides)) and held_role(name) != "public", "SELECT token_made(:appointment, '\\x02', 'x', interval '1 day')"),
    ):
        bound = {"account": account, "appointment": desk.casting.appointments.get(name), "other": desk.casting.accounts["neighbour"]}
        if (":appointment" in statement and bound["appointment"] is None) or (name == "resident" and "hands" in question):
            continue
        due = due and not ("token_made" in statement and ROLES[held_role(name)].administrator)
        asking = sa.text(statement.replace("(SELECT id FROM probed WHERE what = 'session')", ":session").replace("(SELECT id FROM probed WHERE what = 'token')", ":token"))
        bound |= _opened(desk, name)
        wanted = {key: value for key, value in bound.items() if f":{key}" in str(asking)}
        desk.held(actor, f"{question} {name}", "done" if due else REFUSED, lambda c, a=asking, b=wanted: (c.execute(a, b), "done")[1])  # type: ignore[misc]


def _opened(desk: Desk, name: str) -> dict[str, UUID | None]:
    told = sa.text("SELECT (SELECT id FROM sessions WHERE account = :a AND origin = 'probe'), (SELECT id FROM tokens WHERE account = :a AND title = 'probe')")
    session, token = desk.connection.execute(told, {"a": desk.casting.accounts[name]}).one()
    return {"session": session, "token": token}


def opened(connection: sa.Connection, casting: Casting) -> None:
    """A session and a token of everybody, to be ended."""
    for account in casting.accounts.values():
        appointment = connection.scalar(sa.text("SELECT id FROM appointments WHERE account = :a"), {"a": account})
        bound = {"a": account, "p": appointment, "h": account.bytes}
        connection.execute(sa.text("INSERT INTO sessions (hash, account, idle, ends_at, origin) VALUES (:h, :a, '0', now() + interval '1 day', 'probe')"), bound)
        if appointment:
            connection.execute(
                sa.text("INSERT INTO tokens (hash, account, appointment, title, made_by, ends_at) VALUES (:h, :a, :p, 'probe', '', now() - interval '1 day')"), bound
            )


def _lends(desk: Desk, actor: Actor) -> None:
    """One's own appointment, to somebody else, for a time, and no more of it than one has."""
    mine = desk.casting.appointments.get(actor.name)
    if mine is None or actor.right in ("public", "own") or actor.standing != "holds" or actor.stands_in_for or actor.name == "neighbour":
        return
    asking = sa.text(
        "SELECT appointed(:account, :role, CAST(:areas AS text[]), CAST(:categories AS text[]), NULL, now() + interval '1 day', :lent) IS NOT NULL"
    )
    for areas, due in ((list(actor.areas), True), ([*actor.areas, "990102"], REFUSED)):
        bound = {"account": desk.casting.accounts["neighbour"], "role": actor.role, "areas": areas, "categories": list(actor.categories), "lent": mine}
        desk.held(actor, f"lends {areas}", due, lambda c, a=asking, b=bound: c.scalar(a, b))  # type: ignore[misc]
    other = desk.casting.appointments["worker_b" if actor.name != "worker_b" else "worker_a"]
    path = rows.A if actor.name == "worker_b" else rows.B
    lent = {"account": desk.casting.accounts["neighbour"], "role": "grid_worker", "areas": [path], "categories": [], "lent": other}
    desk.held(actor, "lends another's", True if may_appoint(actor, "grid_worker", [path]) else REFUSED, lambda c: c.scalar(asking, lent))


TAKEN = """
INSERT INTO export_log (export, source, target, account, persons, asked_by, actor, acting_as, rows)
SELECT id, 'approved', 'taken', account, persons, persons, actor, acting_as, 1 FROM exports WHERE id = :id
"""


def _papers(desk: Desk, actor: Actor) -> None:
    """Who sees what somebody asked for, and who decides over it."""
    papers = desk.oracle.town.papers.values()
    # In the database the second factor is no question: an administrator without one is not let in to ask.
    seen = {paper.id: paper.seen_by(replace(actor, standing="holds" if actor.standing == "unproved" else actor.standing)) for paper in papers}
    for kind, asking in (
        ("unmasking", "SELECT id FROM unmaskings_told(NULL, NULL, 1000)"), ("export", "SELECT id FROM exports_told(NULL, 1000)"),
        ("request", "SELECT id FROM rights_listed(NULL, NULL, false, NULL, 1000)"),
    ):
        due: Any = {paper.id for paper in papers if paper.kind == kind and seen[paper.id]}
        if kind == "request" and actor.right != "leader":
            due = REFUSED
        desk.held(actor, f"lists each {kind}", due, lambda c, a=asking: set(c.scalars(sa.text(a))))  # type: ignore[misc]
    own = {(paper.id, paper.by == actor.name) for paper in papers if paper.kind == "export" and seen[paper.id]}
    mine = sa.text("SELECT id, mine FROM exports_told(NULL, 1000)")
    desk.held(actor, "lists which export is theirs", own, lambda c: {(row.id, row.mine) for row in c.execute(mine)})
    for paper in papers:
        bound: dict[str, Any] = {"id": paper.id}
        if paper.decided:
            taken = {paper.id} if paper.by == actor.name else set()
            works = actor.right in ("area", "leader", "organisation")
            asking = "SELECT id FROM export_allowed(:id)"
            desk.held(actor, f"takes the file of {paper.by}", taken if works else REFUSED, lambda c, a=asking, b=bound: set(c.scalars(sa.text(a), b)))  # type: ignore[misc]
            # Only who has taken it is told that it was: to anybody else there is no such file.
            save = desk.connection.begin_nested()
            desk.connection.execute(sa.text(TAKEN), bound)
            again = "conflict" if works and taken else REFUSED
            desk.held(actor, f"takes the file of {paper.by} again", again, lambda c, b=bound: c.execute(sa.text("SELECT export_taken(0, :id, 1)"), b))  # type: ignore[misc]
            save.rollback()
            continue
        decides = REFUSED if not seen[paper.id] or actor.name == paper.by or paper.by == actor.stands_in_for else "done"
        if paper.kind == "unmasking":
            asking, due = "SELECT unmasking_reviewed(:id, 'proper', 'in order')", decides
        elif paper.kind == "export":
            withdrawing = sa.text("SELECT export_moved(:id, 'withdrawn', '')")
            asks = "done" if actor.name == paper.by else REFUSED
            desk.held(actor, f"withdraws the request of {paper.by}", asks, lambda c, a=withdrawing, b=bound: (c.execute(a, b), "done")[1])  # type: ignore[misc]
            asking, due = "SELECT export_moved(:id, 'approved', 'in order')", decides if approves(actor, paper.scope) else REFUSED
        else:
            asking, due = "SELECT rights_moved(:ticket, NULL, 'refused', 'not to be found', 'identity', 'there', NULL)", "done" if seen[paper.id] else REFUSED
            bound = {"ticket": _ticket(desk, paper.id)}
        desk.held(actor, f"decides over the {paper.kind} of {paper.by}", due, lambda c, a=asking, b=bound: (c.execute(sa.text(a), b), "done")[1])  # type: ignore[misc]


def _ticket(desk: Desk, id: UUID) -> str:
    return str(desk.connection.scalar(sa.text("SELECT ticket FROM rights_requests WHERE id = :id"), {"id": id}))


def _unmasking(desk: Desk, actor: Actor) -> None:
    """What is masked is opened to who works with a row and answers for it, where the trail tells of it."""
    for noun in ("residents", "incidents", "posts"):
        resource = RESOURCES[noun]
        fields = [f.name for f in resource.all_fields if f.secret or (f.name_of_person and f.clear is None)]
        for row in [row for row in desk.oracle.town.of(noun) if row.place in ("A", "B", "ONE", "C")][::2]:
            works = actor.right in ("area", "leader", "organisation")
            may = works and "unmask" in actor.able and actor.name in desk.casting.accounts
            due: Any = (set(fields) if desk.oracle.opens(actor, row) else set()) if may else REFUSED
            asking = sa.text("SELECT field FROM unmasked(:entry, :noun, :id, :fields, 'visit', 'to visit')")
            entry = _trailed(desk, actor, noun, row)
            bound = {"entry": entry, "noun": noun, "id": row.id, "fields": fields}
            desk.held(actor, f"unmasks {row}", due, lambda c, a=asking, b=bound: set(c.scalars(a, b)))  # type: ignore[misc]
            if due:
                other = bound | {"entry": entry - 1}
                desk.held(actor, f"unmasks {row} untold", REFUSED, lambda c, a=asking, b=other: set(c.scalars(a, b)))  # type: ignore[misc]


def _trailed(desk: Desk, actor: Actor, noun: str, row: Row) -> int:
    entry = sa.text("SELECT trail_appended(:actor, '', 'unmask', :noun, :id, '', 'visit', 'asked', '')")
    return int(desk.connection.execute(entry, {"actor": actor.name, "noun": noun, "id": str(row.id)}).scalar_one())


def _records(desk: Desk, actor: Actor) -> None:
    """The trail and what is due are for those who keep them; a file is asked for by who may take one."""
    trail = sa.text("SELECT count(*) > 0 FROM trail_told(NULL, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL)")
    desk.held(actor, "reads the trail", True if "audit" in actor.able else REFUSED, lambda c: c.scalar(trail))
    if actor.name in desk.casting.accounts and actor.name != "auditor":
        another = sa.text("SELECT set_config('jingwei.appointment', :id, true)").bindparams(id=str(desk.casting.appointments["auditor"]))
        desk.held(actor, "reads the trail as what another is", REFUSED, lambda c: (c.execute(another), c.scalar(trail))[1])
    due = sa.text("SELECT count(*) > 0 FROM retention_told(now())")
    desk.held(actor, "asks what is over", "retention" in actor.able, lambda c: c.scalar(due))
    works = actor.right in ("area", "leader", "organisation")
    asking = sa.text("SELECT export_asked('parts', 'csv', NULL, false, '{}', 'service', 'to check', 1) IS NOT NULL")
    told = sa.text("SELECT count(*) FROM certificates_told(NULL)")
    desk.held(actor, "reads the certificates", 1 if "retention" in actor.able else 0, lambda c: c.scalar(told))
    issuing = sa.text("SELECT count(*) FROM certificates_issued(NULL)")
    desk.held(actor, "issues the certificates of a run", REFUSED, lambda c: c.scalar(issuing))
    desk.held(actor, "asks for a file", True if works and "export" in actor.able else REFUSED, lambda c: c.scalar(asking))


def _uploads(desk: Desk, actor: Actor) -> None:
    """A file on its way in is its sender's, and nobody else's to look at or to move."""
    loads = "load" in actor.able and actor.name in desk.casting.accounts
    mine = {actor.name} & set(SENDERS) if loads else set()
    desk.held(actor, "lists uploads", mine, lambda c: set(c.scalars(sa.text("SELECT name FROM uploads_told(NULL, 100)"))))
    making = sa.text("SELECT upload_made(uuid_v7(), 'x', 1, sha256('x'), '\\x01', NULL, '{}') IS NOT NULL")
    desk.held(actor, "sends a file", True if loads else REFUSED, lambda c: c.scalar(making))
    for name in SENDERS:
        id = desk.connection.scalar(sa.text("SELECT id FROM uploads WHERE name = :name"), {"name": name})
        due = "done" if name in mine else REFUSED
        for question, statement in (
            ("applies", "SELECT upload_moved(:id, 'apply', NULL)"), ("gives up", "SELECT upload_discarded(:id)"),
            ("looks into", "SELECT count(*) FROM upload_rows(:id, NULL, 0, 1)"), ("is told what is wrong in", "SELECT count(*) FROM upload_problems(:id, NULL, NULL, 0, 1)"),
            ("goes on with", "SELECT id FROM partial_held(:id, false)"),
        ):
            asking = sa.text(statement).bindparams(id=id)
            desk.held(actor, f"{question} the upload of {name}", due, lambda c, a=asking: (c.execute(a), "done")[1])  # type: ignore[misc]

        def continued(connection: sa.Connection, id: UUID = id) -> Any:  # type: ignore[assignment]
            connection.execute(sa.text("SELECT partial_taken(:id, 7)"), {"id": id})
            connection.exec_driver_sql("SET LOCAL SESSION AUTHORIZATION DEFAULT")
            return connection.scalar(sa.text("SELECT taken FROM partial_uploads WHERE id = :id"), {"id": id})

        desk.held(actor, f"writes more of the upload of {name}", 7 if name == actor.name else 0, continued)
    beginning = sa.text("SELECT partial_begun(uuid_v7(), 'x', 1, '\\x01')")
    desk.held(actor, "begins a file", "done" if loads else REFUSED, lambda c: (c.execute(beginning), "done")[1])


SENDERS = ("leader_one", "system_admin")


def sent(connection: sa.Connection, casting: Casting) -> None:
    """A file of each sender that waits for a word, and a certificate of something destroyed."""
    adding = sa.text(
        "INSERT INTO uploads (account, appointment, actor, acting_as, within, name, size, digest, state) SELECT account, id, :name, '', '{}', :name, 1,"
        " sha256('x'), 'ready' FROM appointments WHERE account = :account"
    )
    for name in SENDERS:
        connection.execute(adding, {"name": name, "account": casting.accounts[name]})
    connection.exec_driver_sql(
        "INSERT INTO certificates (issued_by, approved_by, cause, begun_at, ended_at, counts, total, stretches, salt, hash)"
        " VALUES ('probe', 'probe', 'hand', now(), now(), '[]', 1, '{}', sha256('a'), sha256('b'))"
    )
    connection.exec_driver_sql("INSERT INTO partial_uploads (id, account, name, size, file_key_cipher) SELECT id, account, name, 9, '\\x01' FROM uploads")


def _areas(name: str) -> tuple[str, ...]:
    return next(actor.areas for actor in cast() if actor.name == name)


def _nothing(name: str) -> bool:
    """Whether there is nothing to hand over: what is held for another is not theirs to pass on."""
    return held_role(name) == "public" or any(actor.stands_in_for for actor in cast() if actor.name == name)


def _lender(name: str) -> str | None:
    """Whom somebody stands in for."""
    return next(actor.stands_in_for for actor in cast() if actor.name == name)


def _holds(name: str) -> bool:
    """Whether an appointment is one now."""
    return all(actor.standing not in ("expired", "ended") for actor in cast() if actor.name == name)


def _by_cookie(name: str) -> bool:
    return any(actor.by_cookie for actor in cast() if actor.name == name)


def _open(name: str) -> bool:
    return all(actor.standing != "disabled" for actor in cast() if actor.name == name)
