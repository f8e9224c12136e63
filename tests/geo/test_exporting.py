"""What goes out can be edited and come back: every field of every noun, in every format."""

import csv
import io
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from starlette.testclient import TestClient

from geo import exporting, files, intake, secrets, sheets
from geo.catalog import RESOURCES
from geo.errors import Invalid
from geo.exporting import ENDINGS, PACKED, Order
from geo.keys import FieldKey
from geo.query import Filter
from geo.resource import Audience, Resource
from tests import town

each = pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda r: r.name)


def made(client: TestClient, connection: sa.Connection, resource: Resource, **given_: object) -> UUID:
    """A record with everything that a record may have, and what it refers to."""
    pointed: dict[str, object] = {}
    for field in resource.writable:
        if field.refers and field.refers != "area_paths":
            other = RESOURCES[field.refers]
            # Of half of what is referred to there is a code, and of the rest only the number.
            coded = {other.key[0]: f"0{field.name}-1"} if other.key and field.name != "activation" else {}
            within = {"building": pointed["building"]} if "building" in pointed and other.place is exporting.Place.INHERITS else {}
            pointed[field.name] = str(town.add(connection, field.refers, **coded, **within))
    answer = client.post(f"/collections/{resource.name}/items", json=town.full(resource, **pointed, **given_))
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


def written(connection: sa.Connection, resource: Resource, kind: str, folder: Path, **how: Any) -> Path:
    target = folder / exporting.file_name("out", kind)
    exporting.written_to(connection, Order(resource, kind, Audience.WORKER, **how), target)
    return target


def sent_back(connection: sa.Connection, resource: Resource, path: Path, key: FieldKey, **how: object) -> tuple[intake.Rows, dict[str, Any], int]:
    """What the intake makes of a file: its values in text, the columns as they came, and at which place our record is."""
    order = intake.Order(path, resource.name)
    with files.opened(path, **how) as (described, batches):
        match = intake.matched(resource, list(described.columns), order)
        desk = intake.Desk(connection, resource, match, order, intake.Report(UUID(int=0), resource.name, path.name), key)
        # That the record is there is what makes it a change, and no refusal here.
        desk.keys = set()
        [batch] = list(batches)
        return desk.parsed(batch), {name: column.to_pylist() for name, column in batch.columns.items()}, len(batch.rows)


def kept(connection: sa.Connection, resource: Resource, id: UUID) -> dict[str, Any]:
    return dict(connection.execute(sa.text(f"SELECT * FROM {resource.name} WHERE id = :id"), {"id": id}).mappings().one())


def same(told: Any, stored: Any) -> bool:
    if isinstance(stored, bool) or stored is None or isinstance(stored, UUID):
        return bool(told == (None if stored is None else str(stored).lower()))
    if isinstance(stored, datetime):
        return datetime.fromisoformat(told) == stored
    return float(told) == stored if isinstance(stored, int | float) else bool(told == stored)


def unequal(rows: intake.Rows, resource: Resource, at: int, stored: dict[str, Any]) -> dict[str, Any]:
    """The fields that did not come back as they were, with what came and what is kept."""
    wrong = {}
    for field in resource.writable:
        column = rows.columns.get(field.name)
        told = None if column is None else column[at].as_py()
        if field.masked_to(Audience.WORKER):
            # What cannot be the value is not taken for it.
            if told != stored[f"{field.name}_masked"] or not sheets.is_mask(told):
                wrong[field.name] = (told, stored[f"{field.name}_masked"])
        elif not same(told, stored[field.name]):
            wrong[field.name] = (told, stored[field.name])
    return wrong


@each
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_every_field_comes_back_as_it_went(
    client: TestClient, connection: sa.Connection, resource: Resource, kind: str, key: FieldKey, tmp_path: Path
) -> None:
    id = made(client, connection, resource)
    rows, columns, _ = sent_back(connection, resource, written(connection, resource, kind, tmp_path), key)
    at = columns[sheets.ID].index(str(id))
    stored = kept(connection, resource, id)
    assert unequal(rows, resource, at, stored) == {}
    assert columns[sheets.VERSION][at] == str(stored["version"])
    if resource.geometry:
        shape = shapely.from_wkb(connection.scalar(sa.text(f"SELECT ST_AsBinary(geom) FROM {resource.name} WHERE id = :id"), {"id": id}))
        back = shapely.Point(rows.lon[at], rows.lat[at]) if rows.lon is not None and rows.lat is not None else rows.shapes[at]  # type: ignore[index]
        assert shapely.equals_exact(shapely.normalize(back), shapely.normalize(shape), 1e-9)
    # What nobody can give is known by its head.
    claimed = set(intake.matched(resource, list(columns), intake.Order(tmp_path, resource.name)).values())
    assert set(columns) - claimed - sheets.set_aside(resource) == set()


@pytest.mark.parametrize(("noun", "kind"), [("parts", "geojson"), ("parts", "geojsons"), ("incidents", "kml"), *((n, k) for n in ("parts", "compounds") for k in PACKED)])
def test_the_other_formats_come_back_too(
    client: TestClient, connection: sa.Connection, noun: str, kind: str, key: FieldKey, tmp_path: Path
) -> None:
    resource = RESOURCES[noun]
    id = made(client, connection, resource)
    projected = {"crs": "EPSG:4549", "encoding": "gbk"} if kind == "shp" else {"crs": "EPSG:4528"} if kind == "gpkg" else {}
    path = written(connection, resource, kind, tmp_path, **projected, want=Filter(equals={resource.key[0]: "x"}))
    rows, columns, count = sent_back(connection, resource, path, key, **({"layer": noun} if kind == "shp" else {}))
    assert count == 1
    assert unequal(rows, resource, 0, kept(connection, resource, id)) == {}
    shape = shapely.from_wkb(connection.scalar(sa.text(f"SELECT ST_AsBinary(geom) FROM {noun} WHERE id = :id"), {"id": id}))
    back = shapely.Point(rows.lon[0], rows.lat[0]) if rows.lon is not None and rows.lat is not None else rows.shapes[0]  # type: ignore[index]
    assert shapely.equals_exact(shapely.normalize(back), shapely.normalize(shape), 1e-9)
