"""Layers of people's own: what a file holds that is none of our nouns, seen on the map and asked for like any other.

What is on one is of one kind (points, lines or polygons), has the columns that its file had, and is never changed: a later
file is the next edition of its layer, and taken back it gives way to the one before. Who is shown a layer is a policy
(`layer_shown`); who may change one is asked in SQL too.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import sqlalchemy as sa

from geo import query, statements
from geo.errors import BadQuery, NotFound, Stale
from geo.matrices import WEB_MERCATOR, MatrixSet
from geo.query import DECIMALS, Bbox
from geo.resource import Audience
from geo.sheets import safe
from geo.spine import LAYER_FEATURES
from geo.tiles import FINE, MARGIN, MOST, bounds

Kind = Literal["point", "line", "polygon"]
Seer = Literal["public", "workers", "leaders"]

# For whom a layer may be: not for residents or stewards alone, of whom nobody knows where the one of them answers.
AUDIENCES: dict[Seer, Audience] = {"public": Audience.PUBLIC, "workers": Audience.WORKER, "leaders": Audience.LEADER}
SEERS = {audience: seer for seer, audience in AUDIENCES.items()}
COLOR, FILLED = "#8A3FA0", 0.35  # where nothing is said; the colour of no noun
# Features that the card of one place tells of, and how near to it they must be, in pixels of the map.
TOLD, REACH_PIXELS = 5, 8


@dataclass(frozen=True)
class Layer:
    """One layer, as whoever is shown it sees it."""

    id: UUID
    version: int
    title: str
    about: str
    kind: Kind
    audience: Seer
    color: str
    opacity: float
    columns: Sequence[Mapping[str, str]]  # name and type, in order
    rows: int
    edition: UUID
    scope: str
    at: datetime


@dataclass(frozen=True)
class Feature:
    """One thing on a layer; its geometry as GeoJSON."""

    id: UUID
    geometry: str
    properties: Mapping[str, object]

    @property
    def text(self) -> str:
        """As GeoJSON."""
        told = json.dumps(self.properties, ensure_ascii=False)
        return f'{{"type":"Feature","id":"{self.id}","geometry":{self.geometry},"properties":{told}}}'


@dataclass(frozen=True)
class Page:
    """Some features in their order, and the last id where there are more."""

    features: Sequence[Feature]
    next: UUID | None


def listed(connection: sa.Connection) -> list[Layer]:
    """The layers that the caller is shown, the oldest first."""
    return [_layer(row) for row in statements.run(connection, "layers_seen", id=None).mappings()]


def told(connection: sa.Connection, id: UUID) -> Layer:
    """One of them. Raises `NotFound` for one that is not there, or not for the caller."""
    found = statements.run(connection, "layers_seen", id=id).mappings().one_or_none()
    if found is None:
        raise NotFound(id=str(id))
    return _layer(found)


def places(connection: sa.Connection, paths: Iterable[str]) -> dict[str, str]:
    """The names of areas for which a layer may be, by path and in their order."""
    told = list(dict.fromkeys(paths))
    titles = {row.path: row.title for row in statements.run(connection, "areas_titled", paths=told)}
    return {path: titles.get(path) or path for path in told}


def changed(connection: sa.Connection, id: UUID, fresh: Mapping[str, object], expected: int | None = None) -> None:
    """Give a layer another title, about, audience, color or opacity; with `retired` it leaves map and lists.

    Raises `NotFound`, `Forbidden` where the caller loads nothing or not for its area, `Stale` when it is not the `expected` version.
    """
    values = {**fresh, "audience": AUDIENCES[cast(Seer, fresh["audience"])]} if "audience" in fresh else dict(fresh)
    if "color" in values:
        values["color"] = str(values["color"]).upper()
    told = statements.run(connection, "layer_changed", id=id, seen=expected, fresh=json.dumps(values, ensure_ascii=False)).scalar_one()
    if told is None:
        raise Stale()


def page(
    connection: sa.Connection, layer: Layer, bbox: Bbox | None = None, after: UUID | None = None, limit: int = 100, id: UUID | None = None
) -> Page:
    """What is on a layer, in the order of its file."""
    t = LAYER_FEATURES.c
    wanted = sa.select(t.id, t.properties, sa.func.ST_AsGeoJSON(t.geom, DECIMALS, 0).label("geometry"))
    wanted = wanted.where(t.edition == layer.edition).order_by(t.id).limit(limit + 1)
    if bbox is not None:
        wanted = wanted.where(query.inside(t.geom, bbox))
    if after is not None:
        wanted = wanted.where(t.id > after)
    if id is not None:
        wanted = wanted.where(t.id == id)
    found = [Feature(row.id, row.geometry, _ordered(layer.columns, row.properties)) for row in connection.execute(wanted)]
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def one(connection: sa.Connection, layer: Layer, id: UUID) -> Feature:
    """One feature. Raises `NotFound`."""
    found = page(connection, layer, limit=1, id=id).features
    if not found:
        raise NotFound(id=str(id))
    return found[0]


def sheet(layer: Layer, features: Iterable[Feature]) -> str:
    """Features as CSV: no cell of it is a formula."""
    names = [column["name"] for column in layer.columns]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*map(safe, names), *(("lon", "lat") if layer.kind == "point" else ("geojson",))])
    for feature in features:
        place = json.loads(feature.geometry)["coordinates"] if layer.kind == "point" else [feature.geometry]
        writer.writerow([*(safe(feature.properties.get(name)) for name in names), *place])
    return text.getvalue()


def tile(connection: sa.Connection, layer: Layer, z: int, x: int, y: int, matrices: MatrixSet = WEB_MERCATOR) -> bytes:
    """The MVT of a layer, called by its number. Raises `BadQuery` for a tile that does not exist."""
    if not matrices.holds(z, x, y):
        raise BadQuery(parameter="z/x/y")
    box = {name: value for name, value in bounds(matrices, z, x, y, MARGIN).items() if name != "pixel" and not name.startswith("in_")}
    found = statements.run(
        connection, "layer_tile", edition=layer.edition, called=str(layer.id), srid=matrices.srid, extent=4096 if z >= FINE else 2048, most=MOST, **box
    ).scalar_one()
    return bytes(found or b"")


def here(connection: sa.Connection, layers: Sequence[UUID], lon: float, lat: float, zoom: float) -> list[dict[str, Any]]:
    """What of some layers lies at a place (degrees) as it is seen at a zoom: the title of the layer, and names and values."""
    if not layers:
        return []
    reach = REACH_PIXELS * 360 / 256 / 2**zoom
    found = statements.run(connection, "layers_here", layers=list(layers), lon=lon, lat=lat, reach=reach, most=TOLD)
    return [{"id": row.id, "title": row.title, "properties": _ordered(row.columns, row.properties)} for row in found]


def _layer(row: sa.RowMapping) -> Layer:
    return Layer(**{**row, "audience": SEERS[Audience(row["audience"])]})


def _ordered(columns: Sequence[Mapping[str, str]], properties: Mapping[str, object]) -> dict[str, object]:
    """Properties in the order of the file, which jsonb does not keep."""
    return {column["name"]: properties[column["name"]] for column in columns if column["name"] in properties}
