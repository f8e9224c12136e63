"""The rows of the matrix: of every noun, in every kind of place, with a value of its own in whatever can hold one.

Four districts' worth of neighbours: two districts; in the first two streets, in the first of them two communities of two
grids each, and a micro-grid in each grid of the first. Communities reach further north than their grids, streets further
than their communities, the district further still, so that there is ground that answers to each level alone.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import sqlalchemy as sa

from geo.catalog import CODE_LISTS, RESOURCES
from geo.keys import FieldKey
from geo.resource import Field, Place, Resource
from geo.secrets import mask
from geo.write import sealed
from tests import town

if TYPE_CHECKING:
    from tests.access.offices import Paper

CODES = Path(__file__).parents[2] / "data" / "codes"
SPACE = UUID("6f1d1a52-7f0e-4c58-9d0e-2b5a3c9c0001")
# level, path, west, south, east, north in hundredths of a degree from the corner of `tests.town`
GROUND = (
    ("district", "990101", 0.0, 0.0, 8.0, 3.0),
    ("district", "990102", 8.0, 0.0, 10.0, 3.0),
    ("street", "990101001", 0.0, 0.0, 4.0, 2.2),
    ("street", "990101002", 4.0, 0.0, 8.0, 2.2),
    ("community", "990101001001", 0.0, 0.0, 2.0, 2.0),
    ("community", "990101001002", 2.0, 0.0, 4.0, 2.0),
    ("community", "990101002001", 4.0, 0.0, 6.0, 2.0),
    ("grid", "990101001001001", 0.0, 0.0, 1.0, 1.8),
    ("grid", "990101001001002", 1.0, 0.0, 2.0, 1.8),
    ("grid", "990101001002001", 2.0, 0.0, 3.0, 1.8),
    ("grid", "990101001002002", 3.0, 0.0, 4.0, 1.8),
    ("grid", "990101002001001", 4.0, 0.0, 5.0, 1.8),
    ("micro_grid", "990101001001001001", 0.1, 0.1, 0.4, 0.6),
    ("micro_grid", "990101001001002001", 1.1, 0.1, 1.4, 0.6),
)
LEVEL = {path: level for level, path, *_ in GROUND}
FIRST, SECOND = "990101", "990102"
# What does not lie in any area answers to who has the whole of the place.
ROOT = FIRST
STREET, OTHER_STREET = "990101001", "990101002"
ONE, TWO, THREE = "990101001001", "990101001002", "990101002001"
A, B, C, D, E = (path for path in LEVEL if LEVEL[path] == "grid")
A1, B1 = (path for path in LEVEL if LEVEL[path] == "micro_grid")

# Where things stand; no two have the same longitude, so that a longitude is somebody's.
PLACES: Mapping[str, tuple[float, float]] = {
    "A1": (0.15, 0.2), "A": (0.61, 0.9), "ONE": (0.41, 1.9), "STREET": (0.51, 2.1), "FIRST": (0.71, 2.6), "NOWHERE": (6.51, 5.0),
    "B1": (1.15, 0.2), "B": (1.61, 0.9), "TWO": (2.21, 1.9), "C": (2.61, 0.9), "D": (3.61, 0.9), "E": (4.61, 0.9),
    "OTHER_STREET": (5.21, 2.1), "SECOND": (9.01, 1.0),
}
# What lies over an edge: west and east end.
OVER = {"A|B": (0.95, 1.05), "B|C": (1.95, 2.05), "D|E": (3.95, 4.05), "FIRST|SECOND": (7.95, 8.05)}
PAST, FUTURE = "2019", "2099"
LATER = {"ends_at", "planned_end", "closed_at", "lifted_at", "valid_to"}
# What lies in the first grid and says that it lies in the second.
ASTRAY = {"region": (0.81, 0.9), "contradiction": (0.87, 0.9)}


@dataclass(frozen=True)
class Canary:
    """A value that is nobody else's: seen in an answer, it says which column of which row got there."""

    row: UUID
    column: str
    form: str = "plain"  # of a secret: plain or mask; of a place: exact

    def __str__(self) -> str:
        return f"{self.column} of {self.row} ({self.form})"


@dataclass(eq=False)
class Row:
    """One row, as the model has it."""

    noun: str
    place: str
    id: UUID
    scope: str
    values: dict[str, Any] = field(default_factory=dict)
    touches: frozenset[str] = frozenset()
    shape: Any = None
    extent: tuple[float, float, float, float] | None = None  # degrees
    spot: str = ""  # the area whose point stands for a coarse one
    retired: bool = False
    owner: str | None = None
    extras: dict[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> Resource:
        return RESOURCES[self.noun]

    def __repr__(self) -> str:
        return f"{self.noun}@{self.place}{' retired' if self.retired else ''} {self.id}"


@dataclass(eq=False)
class Town:
    """All rows, and whose each value is."""

    rows: dict[UUID, Row] = field(default_factory=dict)
    canaries: dict[str, Canary] = field(default_factory=dict)
    areas: dict[str, UUID] = field(default_factory=dict)
    labels: dict[str, tuple[float, float]] = field(default_factory=dict)
    papers: dict[UUID, "Paper"] = field(default_factory=dict)
    people: list[UUID] = field(default_factory=list)

    def mark(self, value: str, canary: Canary) -> None:
        """Remember whose a value is."""
        assert value not in self.canaries, (value, canary)
        self.canaries[value] = canary

    def of(self, noun: str) -> list[Row]:
        """The rows of a noun, in the order of their ids."""
        return sorted((row for row in self.rows.values() if row.noun == noun), key=lambda row: row.id)


def text(number: int) -> str:
    """A word that is said nowhere else."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "Zq" + "".join(digits[number // 36**place % 36] for place in (3, 2, 1, 0))


def holding(x: float, y: float) -> list[str]:
    """The areas that a point is in, largest first."""
    return sorted((p for _, p, w, s, e, n in GROUND if w < x < e and s < y < n), key=len)


def deepest(x: float, y: float) -> str:
    return max(holding(x, y), key=len, default=ROOT)


def covering(west: float, south: float, east: float, north: float) -> str:
    """The smallest area that holds all of a box."""
    return max((p for _, p, w, s, e, n in GROUND if w <= west and s <= south and e >= east and n >= north), key=len, default=ROOT)


def touched(west: float, south: float, east: float, north: float) -> frozenset[str]:
    """The areas that share ground with a box."""
    return frozenset(p for _, p, w, s, e, n in GROUND if w < east and west < e and s < north and south < n)


def above(path: str, other: str) -> str:
    """The longest path above both."""
    widths = [width for width in (2, 4, 6, 9, 12, 15, 18) if path[:width] == other[:width] and width <= min(len(path), len(other))]
    return path[: max(widths, default=0)]


@cache
def codes(listed: str) -> tuple[str, ...]:
    """The codes of a list that have a parent, or all where none has."""
    with (CODES / f"{listed}.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return tuple(row["code"] for row in rows if row.get("parent")) or tuple(row["code"] for row in rows)


@cache
def matters() -> tuple[str, ...]:
    """Every code of the list of matters, categories included."""
    with (CODES / "matters.csv").open(encoding="utf-8-sig", newline="") as lines:
        return tuple(row["code"] for row in csv.DictReader(lines))


class Builder:
    """Lays the town: areas first, then noun by noun, so that each finds what it refers to in its own place."""

    def __init__(self, connection: sa.Connection, key: FieldKey, owners: Mapping[str, UUID]) -> None:
        self.connection, self.key, self.owners = connection, key, owners
        self.town = Town()
        self.last: dict[tuple[str, str], UUID] = {}
        self.standing: Counter[str] = Counter()

    def build(self) -> Town:
        self.connection.execute(sa.text("UPDATE instance SET name = '云汀', prefix = :root"), {"root": ROOT})
        for name in CODE_LISTS:
            assert codes(name), name
        self.areas()
        for resource in RESOURCES.values():
            if resource.name != "areas":
                for place, variant in wanted(resource):
                    self.row(resource, place, variant)
        self.read_back()
        return self.town

    def areas(self) -> None:
        for number, (level, path, *box) in enumerate((*GROUND, ("grid", "990101001001009", 0.2, 0.9, 0.3, 1.0))):
            resource, retired = RESOURCES["areas"], number == len(GROUND)
            row = Row("areas", path, uuid5(SPACE, f"areas {path}"), path, retired=retired)
            row.values = self.values(resource, row, number)
            row.values |= {"level": level, "kind": "base", "theme": "governance", "path": path, "code": path, "derived": False,
                           "valid_to": None, "management_mode": "normal"}
            row.extent = (*town.at(*box[:2]), *town.at(*box[2:]))  # type: ignore[assignment]
            row.shape = town.box(*box)
            self.kept(row)
            self.town.areas[path] = row.id

    def row(self, resource: Resource, place: str, variant: int) -> None:
        """One row of a noun; `variant` counts those of the same place, and the last is retired."""
        row = Row(resource.name, place, uuid5(SPACE, f"{resource.name} {place} {variant}"), ROOT, retired=variant < 0)
        self.standing[place] += 1
        row.values = self.values(resource, row, variant)
        if resource.geometry:
            self.placed(row, resource)
        elif resource.place is Place.INHERITS:
            row.scope = self.town.rows[UUID(row.values["building"])].scope
        elif resource.of_area:
            row.scope = row.values["area"]
        if resource.owned:
            row.owner = (None, "resident", "neighbour")[variant % 3]
        if not row.retired:
            self.last[place, resource.name] = row.id
        self.kept(row)

    def placed(self, row: Row, resource: Resource) -> None:
        size, nudge = 0.0107, 0.0000137
        if row.place in OVER:
            (west, east), south = OVER[row.place], 0.9
        else:
            west, south = {**PLACES, **ASTRAY}[row.place]
            east = west + size
        # Neither a longitude nor a distance to the nearest grid is shared.
        west, east = (x + 0.0021 * self.standing[row.place] + nudge for x in (west, east))
        south += 0.0013 * self.standing[row.place] + 0.00001 * len(self.town.rows)
        north = south + size
        middle = ((west + east) / 2, (south + north) / 2)
        if resource.geometry == "POINT":
            row.shape, row.extent, middle = town.point(west, south), (*town.at(west, south),) * 2, (west, south)
        elif resource.geometry == "MULTILINESTRING":
            row.shape = town.line((west, south), (east, north))
        else:
            row.shape = town.box(west, south, east, north)
        row.extent = row.extent or (*town.at(west, south), *town.at(east, north))  # type: ignore[assignment]
        row.scope, row.spot = deepest(*middle), next((p for p in reversed(holding(*middle)) if len(p) <= 15), "")
        if resource.place is Place.SHARES:
            row.scope, row.touches = covering(west, south, east, north), touched(west, south, east, north)
        elif row.place == "region":
            row.values |= {"precision": "region", "stated_area": B}
            row.scope = B
        elif row.place == "contradiction":
            row.values |= {"precision": "exact", "stated_area": B}
            row.scope = above(A, B)
        lon, _ = town.at(west, south)
        self.town.mark(f"{lon:.6f}", Canary(row.id, "geom", "exact"))

    def values(self, resource: Resource, row: Row, variant: int) -> dict[str, Any]:
        made = {f.name: self.value(resource, f, row, variant) for f in resource.all_fields if f.writable and f.stored}
        if resource.place in (Place.POINT, Place.SHARES):
            made |= {"precision": "exact", "stated_area": None}
        for name, told in SAID.get(resource.name, {}).items():
            made[name] = told[variant % len(told)]
        if resource.name == "duty_items":
            made["part"] = "assist"  # of those that lead there is one
        if resource.name == "incidents":
            made |= {"lead_area": None} if made["lead"] else {"lead": None}
            made["against"] = None
        if resource.name == "zones":
            made["lifted_at"] = made["lifted_at"] if made["state"] == "lifted" else None
        if resource.name == "buildings" and row.place in FEW:
            made |= {"households": 1, "residents": 1, "non_local": 1}
        return made

    def value(self, resource: Resource, field: Field, row: Row, variant: int) -> Any:
        number = len(self.town.canaries)
        if field.choices:
            return field.codes[variant % len(field.codes)]
        if field.listed:
            return codes(field.listed)[variant % len(codes(field.listed))]
        if field.refers == "area_paths":
            return PATHS.get(row.place, A)
        if field.refers:
            found = self.last.get(("A" if row.place in ASTRAY else row.place, field.refers))
            return str(found) if found else None
        told: Any = None
        if field.secret and not field.hashed:
            told = f"139{number:08d}"
        elif field.type is str and not field.pattern:
            told = ("张" if field.name_of_person else "") + text(number)
        elif field.type is int and field.maximum is None:
            told = 4_100_000 + number
        elif field.type.__name__ == "datetime":
            year = FUTURE if field.name in LATER or (field.name == "due_at" and variant % 2) else PAST
            told = f"{year}-03-05T08:00:00.{500_000 + number % 400_000:06d}+08:00"
        elif field.type is bool:
            return bool(variant % 2)
        elif field.type in (int, float):
            return field.type(max(field.minimum or 0, min(field.maximum or 10, (field.minimum or 0) + variant % 7)))
        if told is not None:
            self.town.mark(str(told)[:26] if ":" in str(told) else str(told).removeprefix("张"), Canary(row.id, field.name))
        return told

    def kept(self, row: Row) -> None:
        resource = row.resource
        stored: dict[str, object] = {"id": row.id, "source": text(len(self.town.canaries))}
        self.town.mark(str(stored["source"]), Canary(row.id, "source"))
        row.extras = {"note": text(len(self.town.canaries))}
        self.town.mark(row.extras["note"], Canary(row.id, "extras"))
        for name, value in row.values.items():
            if resource[name].secret:
                columns = sealed(resource, name, value, self.key, row.id)
                for form in ("cipher", "hash"):
                    # Not the first bytes: those say how it was made.
                    if kept := columns.get(f"{name}_{form}"):
                        self.town.mark(bytes(kept)[4:].hex()[:16], Canary(row.id, name, form))  # type: ignore[call-overload]
                if not resource[name].hashed and value:
                    self.town.mark(mask(value), Canary(row.id, name, "mask"))
                stored |= columns
            elif resource[name].writable:
                stored[name] = value
        places = {column: f":{column}" for column in stored}
        places["extras"], stored["extras"] = "CAST(:extras AS jsonb)", json.dumps(row.extras)
        if row.retired:
            places["retired_at"] = "now()"
        if resource.owned:
            places["owner"], stored["owner"] = ":owner", self.owners.get(row.owner or "")
        if row.shape:
            drawn = "ST_SetSRID(ST_GeomFromGeoJSON(:geom), 4326)"
            places["geom"] = f"ST_Multi({drawn})" if str(resource.geometry).startswith("MULTI") else drawn
            stored["geom"] = json.dumps(row.shape)
        self.connection.execute(
            sa.text(f"INSERT INTO {row.noun} ({', '.join(places)}) VALUES ({', '.join(places.values())})"), stored
        )
        self.town.rows[row.id] = row

    def read_back(self) -> None:
        """Where the database has put everything is where the model says; and what only it can say is taken over."""
        for noun in RESOURCES:
            for id, scope in self.connection.execute(sa.text(f"SELECT id, scope FROM {noun}")):
                row = self.town.rows[id]
                assert scope == row.scope, (row, scope, row.scope)
        spots = "SELECT path, ST_X(label_point), ST_Y(label_point) FROM areas WHERE retired_at IS NULL"
        self.town.labels = {path: (x, y) for path, x, y in self.connection.execute(sa.text(spots))}
        for name, resource in RESOURCES.items():
            # What it has worked out for itself, the model takes over: none of it decides who sees what.
            told = [f.name for f in resource.all_fields if f.stored and not f.writable]
            for id, *values in self.connection.execute(sa.text(f"SELECT {', '.join(['id', *told])} FROM {name}")):
                for column, value in zip(told, values, strict=True):
                    moment = value.isoformat() if isinstance(value, datetime) else value
                    self.town.rows[id].values[column] = moment
                    if resource.coarse and column == "nearest_m" and value is not None:
                        self.town.mark(f"{value:.4f}", Canary(id, column, "exact"))


PATHS = {name: deepest(*spot) for name, spot in PLACES.items()}
FEW = ("E", "SECOND")  # so few people that their number would tell of somebody
# What decides who sees a row, or what is counted of it, is said and not left to chance.
SAID: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "incidents": {"state": ("accepted", "closed", "handling"), "matter": ("06010", "09006", "20001"), "exercise": (False,)},
    "zones": {"state": ("active", "draft", "lifted"), "exercise": (False,)},
    "posts": {"role": ("grid_worker", "steward", "community_leader")},
    "activations": {"exercise": (False,)},
    "buildings": {"use": ("residential", "office")},
}


def wanted(resource: Resource) -> Iterator[tuple[str, int]]:
    """In which places rows of a noun stand, and how many; -1 is a retired one."""
    many = 3 if resource.owned or resource.public_rows else 2
    for place in PLACES:
        if resource.of_area and PATHS[place] not in LEVEL:
            continue
        yield from ((place, variant) for variant in range(many))
        if place in ("A", "B", "ONE", "C"):
            yield place, -1
        if place == "A" and resource.public_rows:
            yield place, -2
    if resource.place is Place.POINT:
        yield from ((place, 0) for place in ASTRAY)
    if resource.place is Place.SHARES:
        for place in OVER:
            yield from ((place, variant) for variant in range(many))
        yield "A|B", -1
