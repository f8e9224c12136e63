"""A small town of areas, and an example of every noun: made from the declarations, so that a new noun needs none.

One street, two communities side by side, four grids: A and B share an edge; C and D overlap in a strip; the east of
D is in no grid. Coordinates are degrees at sea off Zhejiang, x and y below count hundredths of a degree.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from geo.catalog import CODE_LISTS, RESOURCES
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
    """A feature of `resource` with everything it needs and `given`; what it refers to must be given."""
    properties = {field.name: value(field) for field in resource.writable if field.required and field.name not in given}
    properties |= {**REMEDIES.get(resource.name, {}), **given}
    return {"type": "Feature", "geometry": SHAPES[resource.geometry] if resource.geometry else None, "properties": properties}


# What a rule over several fields asks for beyond the required ones.
REMEDIES: Mapping[str, Mapping[str, object]] = {"posts": {"holder": "张三"}, "areas": {"level": "community"}, "zones": {}}


def add(connection: sa.Connection, name: str, shape: dict[str, Any] | None = None, **values: object) -> UUID:
    """A row of a noun by plain SQL, with what it refers to. Its id."""
    resource = RESOURCES[name]
    for field in resource.writable:
        if field.required and field.refers and field.refers != "area_paths" and field.name not in values:
            values[field.name] = add(connection, field.refers)
    row = {k: v for k, v in example(resource, **values)["properties"].items() if not resource[k].secret}
    geometry = shape or (SHAPES[resource.geometry] if resource.geometry else None)
    columns, places = list(row), [f":{c}" for c in row]
    if geometry is not None:
        import json

        columns, places = [*columns, "geom"], [*places, "ST_SetSRID(ST_GeomFromGeoJSON(:shape), 4326)"]
        if str(resource.geometry).startswith("MULTI"):
            places[-1] = f"ST_Multi({places[-1]})"
        row |= {"shape": json.dumps(geometry)}
    made = connection.scalar(
        sa.text(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(places)}) RETURNING id"), row
    )
    assert isinstance(made, UUID)
    return made
