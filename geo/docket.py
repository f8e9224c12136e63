"""Cases as people go through them: a list by a filter, the board, and one with all that stands around it.

The filter of a list is that of a file (`geo.query.Filter`), so that what is taken along is what was looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo import query
from geo.catalog import RESOURCES, WIDTHS, workflow
from geo.catalog.workflow import OPEN_STATES, STATES
from geo.db import Caller
from geo.errors import BadQuery, Invalid, NotFound
from geo.query import Filter
from geo.resource import Audience
from geo.statements import run
from geo.tables import TABLES

NOUN = RESOURCES["incidents"]
STAGE_STATES = {stage.code: [s.code for s in STATES.values() if s.stage == stage.code] for stage in workflow.STAGES}
# Of what is closed and answered the board shows what is fresh: the rest is history, and a thousand times as much.
FRESH_DAYS = 30
COUNTED = 10_000  # more are not counted, but told as more


@dataclass(frozen=True)
class Listed:
    """A page of cases, the id after which the next begins, and how many there are (`COUNTED + 1`: more than are counted)."""

    cases: list[dict[str, Any]]
    next: UUID | None
    total: int


@dataclass(frozen=True)
class Column:
    """A stage of the board: the most pressing of its cases, and how many there are."""

    stage: str
    cases: list[dict[str, Any]]
    count: int


def wanted(where: Mapping[str, Any], audience: Audience) -> Filter:
    """The filter of `equals` (field → text) and `within` (the path of an area). Raises `BadQuery`."""
    equals = {
        name: query.parsed(query.filterable(NOUN, name, audience), value) for name, value in (where.get("equals") or {}).items()
    }
    return Filter(equals=equals, within=where.get("within") or None)


def page(connection: sa.Connection, want: Filter, audience: Audience, after: UUID | None = None, most: int = 50) -> Listed:
    """Cases that match, the last reported first; `after` is the last of the page before."""
    t = TABLES["incidents"]
    found = _conditions(want, audience)
    total = connection.scalar(sa.select(sa.func.count()).select_from(sa.select(t.c.id).where(*found).limit(COUNTED + 1).subquery()))
    never = sa.literal_column("'-infinity'::timestamptz", sa.DateTime(timezone=True))
    told = sa.func.coalesce(t.c.reported_at, never)
    if after is not None:
        there = sa.select(told.label("at")).where(t.c.id == after).scalar_subquery()
        found.append(sa.or_(told < there, sa.and_(told == there, t.c.id < after)))
    ids = list(connection.scalars(sa.select(t.c.id).where(*found).order_by(told.desc(), t.c.id.desc()).limit(most + 1)))
    return Listed(told_of(connection, ids[:most]), ids[most - 1] if len(ids) > most else None, int(total or 0))


def board(connection: sa.Connection, want: Filter, audience: Audience, most: Mapping[str, int], least: int = 20) -> list[Column]:
    """The five stages, each with as many cases as `most` says of it (else `least`), the most pressing first."""
    t = TABLES["incidents"]
    stage = query.expression(NOUN, NOUN["stage"])
    # Each by a column that has an index: of a coalesce there is none, and a year's cases were read for a month's.
    since = sa.func.now() - sa.text(f"interval '{FRESH_DAYS} days'")
    fresh = sa.or_(t.c.closed_at > since, sa.and_(t.c.closed_at.is_(None), t.c.reported_at > since))
    over = [s for states in STAGE_STATES.values() for s in states if s not in OPEN_STATES]
    standing = sa.or_(t.c.state.in_(OPEN_STATES), sa.and_(t.c.state.in_(over), fresh))
    pressing = (t.c.urgent.desc(), t.c.supervised.desc(), sa.func.least(t.c.due_at, t.c.promised_at).asc().nulls_last(), t.c.id)
    ranked = sa.select(
        t.c.id, stage.label("stage"), sa.func.row_number().over(partition_by=stage, order_by=pressing).label("rank"),
        sa.func.count().over(partition_by=stage).label("every"),
    ).where(*_conditions(want, audience), standing).subquery()
    shown = sa.case(*[(ranked.c.stage == code, number) for code, number in most.items()], else_=least) if most else sa.literal(least)
    rows = connection.execute(sa.select(ranked).where(ranked.c.rank <= shown).order_by(ranked.c.stage, ranked.c.rank)).all()
    known = {case["id"]: case for case in told_of(connection, [row.id for row in rows])}
    return [
        Column(
            code, [known[row.id] for row in rows if row.stage == code and row.id in known],
            next((row.every for row in rows if row.stage == code), 0),
        )
        for code in STAGE_STATES
    ]


def told_of(connection: sa.Connection, ids: Sequence[UUID], moves: bool = True) -> list[dict[str, Any]]:
    """What is told of cases in a list, in the order of `ids`: names beside codes, and the steps on offer."""
    if not ids:
        return []
    return [dict(row) for row in run(connection, "cases_told", ids=list(ids), moves=moves).mappings()]


def one(connection: sa.Connection, id: UUID, who: Caller) -> dict[str, Any]:
    """A case with its record as this caller may read it (`properties`), where it is, who answers there, and what may be the same
    fact. Raises `NotFound`, `Gone`, `Forbidden`."""
    feature = json.loads(query.one(connection, NOUN, id, who)[0])
    found = told_of(connection, [id], moves=False)
    if not found:
        raise NotFound()
    [case] = found
    shape = feature["geometry"]
    paths = [case["scope"][:width] for width in WIDTHS.values() if width <= len(case["scope"])]
    like = {row.id: row.metres for row in run(connection, "cases_like", incident=id)}
    return case | {
        "properties": feature["properties"], "place": shape["coordinates"][:2] if shape else None,
        "posts": [dict(row) for row in run(connection, "card_posts", paths=paths, roles=list(RESOURCES["posts"]["role"].codes)).mappings()],
        "like": [other | {"metres": like[other["id"]]} for other in told_of(connection, list(like), moves=False)],
        "into": next(iter(told_of(connection, [UUID(merged)], moves=False)), None) if (merged := feature["properties"].get("duplicate_of")) else None,
    }


def actors(connection: sa.Connection, id: UUID) -> dict[str, str]:
    """What those are called who took its steps, by login."""
    return {row.login: row.name for row in run(connection, "case_actors", incident=id)}


def titles(connection: sa.Connection, areas: Sequence[str], bodies: Sequence[str]) -> dict[str, str]:
    """What areas (paths) and bodies (ids) are called."""
    return {row.key: row.title for row in run(connection, "titles_called", areas=list(areas), bodies=list(bodies)) if row.title}


def duties(connection: sa.Connection, items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What lines of the responsibility list say, by id; of those that the caller may read."""
    return {row["id"]: dict(row) for row in run(connection, "duties_named", items=list(items)).mappings()}


def bodies(connection: sa.Connection, most: int = 200) -> list[dict[str, Any]]:
    """Whom a case can be given to: id, name, kind."""
    return [dict(row) for row in run(connection, "bodies_offered", most=most).mappings()]


def areas_around(connection: sa.Connection, scope: str) -> list[dict[str, Any]]:
    """The areas that a case at a place can be given to, the smallest that it lies in first: path, name, level."""
    return [dict(row) for row in run(connection, "areas_around", path=scope).mappings()]


def body(connection: sa.Connection, text: str) -> UUID:
    """The body of a name, code or id. Raises `NotFound`, and `Invalid` for several of one name."""
    found = list(run(connection, "bodies_called", text=text.strip()).scalars())
    if not found:
        raise NotFound("没有这个单位：{name}。", name=text.strip()[:60], field="body")
    if len(found) > 1:
        raise Invalid("叫 {name} 的单位不止一个，请写统一社会信用代码。", name=text.strip()[:60], field="body")
    return UUID(str(found[0]))


def numbered(connection: sa.Connection, text: str) -> UUID:
    """The case of a number or id. Raises `NotFound`, and `Invalid` for several of one number."""
    found = list(run(connection, "case_numbered", text=text.strip()).scalars())
    if not found:
        raise NotFound("没有编号为 {number} 的事件。", number=text.strip()[:60], field="into")
    if len(found) > 1:
        raise Invalid("编号 {number} 的事件不止一件，请填它的网址末尾那一串。", number=text.strip()[:60], field="into")
    return UUID(str(found[0]))


def own_body(connection: sa.Connection) -> UUID | None:
    """The body that the caller's appointment stands for."""
    found = connection.scalar(sa.select(sa.cast(sa.func.caller_organisation(), pg.UUID())))
    return UUID(str(found)) if found else None


def _conditions(want: Filter, audience: Audience) -> list[sa.ColumnElement[bool]]:
    t = TABLES["incidents"]
    found = query.conditions(NOUN, replace(want, place=None), audience)
    # What a stage is derived from has an index, and the stage has none.
    stage = want.equals.get("stage")
    if stage is not None and stage not in STAGE_STATES:
        raise BadQuery(parameter="stage")
    states = set(STAGE_STATES[str(stage)]) if stage is not None else set(STATES)
    if want.equals.get("open") is True:
        states &= set(OPEN_STATES)
    return [*found, t.c.state.in_(sorted(states))] if len(states) < len(STATES) else found
