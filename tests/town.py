"""A small town of areas, and an example of every noun: made from the declarations, so that a new noun needs none.

One street, two communities side by side, four grids: A and B share an edge; C and D overlap in a strip; the east of
D is in no grid. Coordinates are degrees at sea off Zhejiang, x and y below count hundredths of a degree.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from geo import accounts
from geo.catalog import CODE_LISTS, RESOURCES
from geo.catalog.roles import ROLES
from geo.db import Caller
from geo.door import digest
from geo.resource import Field, Resource

WEST, SOUTH = 122.6, 29.8
PREFIX = "990101001"

# level, code, name, west and east edge; from south to north all are two hundredths high
AREAS = (
    ("street", "990101001", "云汀街道", 0.0, 4.0),
    ("community", "990101001001", "澜溪社区", 0.0, 2.0),
    ("community", "990101001002", "柳汀社区", 2.0, 4.0),
    ("grid", "990101001001001", "第一网格", 0.0, 1.0),
    ("grid", "990101001001002", "第二网格", 1.0, 2.0),
    ("grid", "990101001002001", "第三网格", 2.0, 3.1),
    ("grid", "990101001002002", "第四网格", 3.0, 3.8),
)
A, B, C, D = (code for level, code, *_ in AREAS if level == "grid")


def at(x: float, y: float) -> list[float]:
    """A position in the town."""
    return [round(WEST + x / 100, 12), round(SOUTH + y / 100, 12)]


def point(x: float, y: float) -> dict[str, Any]:
    """A GeoJSON point in the town."""
    return {"type": "Point", "coordinates": at(x, y)}


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A GeoJSON polygon in the town."""
    ring = [at(west, south), at(east, south), at(east, north), at(west, north), at(west, south)]
    return {"type": "Polygon", "coordinates": [ring]}


def line(*positions: tuple[float, float]) -> dict[str, Any]:
    """A GeoJSON line in the town."""
    return {"type": "LineString", "coordinates": [at(*position) for position in positions]}


def build(connection: sa.Connection) -> None:
    """The town, written as its owner writes: plain SQL, so that every trigger has its say."""
    connection.execute(sa.text("UPDATE instance SET name = '云汀', prefix = :prefix, demo = true"), {"prefix": PREFIX})
    for name in CODE_LISTS:
        connection.execute(
            sa.text(f"INSERT INTO {name} (code, title, title_en) VALUES ('sample', '例', 'Sample') ON CONFLICT DO NOTHING")
        )
    for level, code, name, west, east in AREAS:
        area(connection, level, code, name, west, 0, east, 2)


LEADER = "jw_test_leader-of-the-town"
NOBODY = {"Authorization": ""}


def staff(connection: sa.Connection) -> None:
    """The town's leader, who has a token whose text is known."""
    appointment = post(connection, "leader", "street", PREFIX)
    token(connection, appointment, LEADER)


def post(connection: sa.Connection, login: str, role: str, *areas: str, categories: Sequence[str] = ()) -> UUID:
    """An account of its own with one appointment, as the owner makes it. The appointment."""
    return accounts.appoint(connection, accounts.make(connection, login, login.title()), role, areas, categories)


# A hash of microseconds: what is asked of the real one is asked where it matters.
WEAK = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
PASSWORD = "coral-lantern-meadow-7"
HASHED = WEAK.hash(PASSWORD)
# What a page of ours sends along, and no token.
OWN = {"Authorization": "", "Sec-Fetch-Site": "same-origin"}


def person(connection: sa.Connection, login: str, role: str | None = "grid_worker", *areas: str) -> UUID:
    """An account with `PASSWORD`, and one appointment or none."""
    account = accounts.make(connection, login, login.title())
    if role:
        accounts.appoint(connection, account, role, areas or ((A,) if ROLES[role].scoped else ()))
    connection.execute(sa.text("UPDATE accounts SET password_hash = :hash WHERE id = :id"), {"hash": HASHED, "id": account})
    return account


def admitted(connection: sa.Connection, login: str) -> UUID:
    """The account of a login, which may come in with `PASSWORD` from now on."""
    changed = sa.text("UPDATE accounts SET password_hash = :hash WHERE login = :login RETURNING id")
    return UUID(str(connection.scalar(changed, {"hash": HASHED, "login": login})))


def token(connection: sa.Connection, appointment: UUID, text: str) -> None:
    """A token of an appointment, with a text that a test chooses."""
    connection.execute(
        sa.text(
            "INSERT INTO tokens (hash, account, appointment, title, made_by, ends_at)"
            " SELECT :hash, account, id, 'test', 'test', now() + interval '1 day' FROM appointments WHERE id = :appointment"
        ),
        {"hash": digest(text), "appointment": appointment},
    )


def caller(connection: sa.Connection, login: str, role: str, *areas: str) -> Caller:
    """Somebody with an account and one appointment, as the door lets them in."""
    appointment = post(connection, login, role, *areas)
    account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": appointment})
    held = ROLES[role]
    return Caller(
        login, f"jingwei_{held.right}", areas, held.audience, f"{role}@{','.join(areas)}", account, appointment, (), frozenset(held.may)
    )


def come(connection: sa.Connection, login: str, role: str, *areas: str, categories: Sequence[str] = ()) -> dict[str, str]:
    """The headers of somebody with one appointment."""
    return holding(connection, post(connection, login, role, *areas, categories=categories), login)


def holding(connection: sa.Connection, appointment: UUID, login: str) -> dict[str, str]:
    """The headers of whoever holds an appointment."""
    token(connection, appointment, f"jw_test_{login}")
    return {"Authorization": f"Bearer jw_test_{login}"}


def area(
    connection: sa.Connection, level: str, code: str | None, name: str, west: float, south: float, east: float, north: float,
    **values: object,
) -> UUID:
    """A rectangular area; `values` are further columns. Its id."""
    columns = {"level": level, "code": code, "name": name, **values}
    made = connection.scalar(
        sa.text(
            f"INSERT INTO areas ({', '.join(columns)}, geom) VALUES ({', '.join(f':{c}' for c in columns)},"
            " ST_Multi(ST_MakeEnvelope(:w, :s, :e, :n, 4326))) RETURNING id"
        ),
        columns | dict(zip("wsen", (*at(west, south), *at(east, north)), strict=True)),
    )
    assert isinstance(made, UUID)
    return made


SHAPES = {
    "POINT": point(0.5, 0.5),
    "MULTILINESTRING": line((0.4, 0.5), (0.6, 0.6)),
    "MULTIPOLYGON": box(0.4, 0.4, 0.6, 0.6),
}


def value(field: Field) -> object:
    """A value that keeps the rules of `field`, as JSON has it."""
    if field.choices:
        return field.codes[-1]
    if field.listed:
        return "sample"
    if field.refers == "area_paths":
        return A
    if field.type in (int, float):
        return field.type(field.minimum or 0)
    plain: dict[type, object] = {
        str: "x", bool: True, datetime: "2026-03-05T08:00:00+08:00", date: "2026-03-05",
    }
    return plain[field.type]


def example(resource: Resource, **given: object) -> dict[str, Any]:
    """A feature of `resource` with everything it must have, and `given`; what it refers to is for `needs` to make."""
    properties = {f.name: value(f) for f in resource.edited if f.required and f.refers in (None, "area_paths")}
    properties |= {**BEYOND.get(resource.name, {}), **given}
    return {"type": "Feature", "geometry": SHAPES[resource.geometry] if resource.geometry else None, "properties": properties}


def full(resource: Resource, **given: object) -> dict[str, Any]:
    """The same with every field that may be given."""
    every = {f.name: value(f) for f in resource.edited if f.refers in (None, "area_paths")}
    return example(resource, **{**every, **BEYOND.get(resource.name, {}), **given})


# What the rules over several fields ask for.
BEYOND: Mapping[str, Mapping[str, object]] = {
    "areas": {"level": "community", "theme": "governance", "valid_from": "2026-01-01T00:00:00+08:00", "valid_to": None},
    "activations": {"opened_at": "2026-03-05T08:00:00+08:00", "closed_at": None},
    "posts": {"holder": "张三", "starts_at": "2026-01-01T00:00:00+08:00", "ends_at": "2046-01-01T00:00:00+08:00"},
    "incidents": {"reported_at": "2026-03-05T08:00:00+08:00"},
    "duty_items": {"by": "grid", "part": "assist", "starts_at": "2026-01-01T00:00:00+08:00", "ends_at": "2046-01-01T00:00:00+08:00"},
    "zones": {
        "state": "active", "legal_basis": "突发事件应对法", "deciding_organ": "区政府", "document_number": "1号", "measures": "绕行",
        "starts_at": "2026-03-05T08:00:00+08:00", "planned_end": "2046-03-05T08:00:00+08:00", "help_phone": "0580-1234567",
        "appeal_channel": "区政府复议机关",
    },
}


def needs(connection: sa.Connection, resource: Resource, given: Collection[str] = ()) -> dict[str, str]:
    """Rows made for what a feature of `resource` must refer to, and is not `given`: field → id."""
    return {
        field.name: str(add(connection, field.refers))
        for field in resource.writable
        if field.required and field.refers and field.refers != "area_paths" and field.name not in given
    }


def add(connection: sa.Connection, noun: str, shape: dict[str, Any] | None = None, /, **values: object) -> UUID:
    """A row of a noun by plain SQL, with what it refers to; `values` are columns. Its id."""
    resource = RESOURCES[noun]
    row: dict[str, object] = example(resource)["properties"] | needs(connection, resource, values) | values
    places = {column: f":{column}" for column in row}
    if resource.geometry:
        drawn = "ST_SetSRID(ST_GeomFromGeoJSON(:geom), 4326)"
        places["geom"] = f"ST_Multi({drawn})" if resource.geometry.startswith("MULTI") else drawn
        row["geom"] = json.dumps(shape or SHAPES[resource.geometry])
    made = connection.scalar(
        sa.text(f"INSERT INTO {noun} ({', '.join(places)}) VALUES ({', '.join(places.values())}) RETURNING id"), row
    )
    assert isinstance(made, UUID)
    return made
