"""What can be asked: made from the route table and the declarations, so that a new route or noun is in it by existing.

For the routes that it knows, an operation says exactly what is to come back. Of any other it knows whether the caller may
ask at all, and that nothing of anybody else's may be in the answer.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import TypeAdapter

from api import deps
from geo.catalog import LEVELS, RESOURCES
from geo.catalog.roles import ABILITIES
from geo.resource import REASONS, Field, Place, Resource
from tests import town
from tests.access import rows
from tests.access.actors import Actor
from tests.access.answers import Answer
from tests.access.oracle import NOBODY, Oracle, drawn, knows, looks
from tests.access.rows import PLACES, Canary, Row

SAFE = ("GET", "HEAD", "OPTIONS")
ABSENT = UUID("00000000-0000-7000-8000-0000000000aa")
GEOJSON = {"content-type": "application/json"}

Told = Iterator[str]
Expectation = Callable[[Oracle, Actor, Answer], Told]
PURPOSE = {"purpose": "visit"}


def nothing(oracle: Oracle, actor: Actor, canary: Canary) -> bool:
    """What most requests open of what is masked."""
    return False


@dataclass(frozen=True)
class Operation:
    """One request, and what to hold its answer against."""

    route: str
    method: str
    target: str
    expect: Expectation
    policy: str = "asked"  # or anyone
    able: frozenset[str] = frozenset()
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    about: Row | None = None
    changes: bool = False  # the one who may do it changes something by it
    opens: Callable[[Oracle, Actor, Canary], bool] = nothing  # what is masked elsewhere and may be told here

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass(frozen=True)
class Route:
    """A route, and what it says of itself."""

    path: str
    method: str
    dependant: Dependant
    of: RouteContext

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def calls(self) -> tuple[Any, ...]:
        """What it depends on, down to the last."""
        return tuple(called(self.dependant))

    @property
    def policies(self) -> set[str]:
        """Which of the policies it declares, by itself or through what it depends on."""
        return {name for name in ("asked", "anyone") if getattr(deps, name) in self.calls}

    @property
    def policy(self) -> str:
        """As whom its caller is bound: as who they are where anything of it asks for that."""
        return "asked" if "asked" in self.policies else "anyone"

    @property
    def abilities(self) -> frozenset[str]:
        """The abilities of which it asks for one."""
        found = (cell.cell_contents for call in self.calls if call.__qualname__.startswith("able.") for cell in call.__closure__ or ())
        return frozenset(ability for abilities in found for ability in abilities if ability in ABILITIES)


def called(dependant: Dependant) -> Iterator[Any]:
    """Everything that is called for a request, the endpoint last."""
    for inner in dependant.dependencies:
        yield from called(inner)
    if dependant.call is not None:
        yield dependant.call


def routes(app: FastAPI) -> list[Route]:
    """Every route of the application and every method of it."""
    return [
        Route(str(route.path), method, getattr(route, "dependant", Dependant()), route)
        for route in iter_route_contexts(app.routes) for method in sorted(route.methods or ())
    ]


def operations(app: FastAPI, oracle: Oracle) -> list[Operation]:
    """Everything that is asked."""
    found: list[Operation] = []
    for route in routes(app):
        made = _known(route, oracle)
        found += made if made is not None else generic(route, oracle)
    return found


def _known(route: Route, oracle: Oracle) -> list[Operation] | None:
    make = KNOWN.get(route.name)
    if make is None and (noun := re.fullmatch(r"/collections/(\w+)(/.*)", route.path)):
        made = NOUNS.get(f"{route.method} {noun[2]}")
        make = made and partial(made, resource=RESOURCES[noun[1]])
    if make is None:
        return None
    return [
        Operation(route.name, route.method, **{"policy": route.policy, "able": route.abilities, **said, "headers": PURPOSE | said.get("headers", {})})
        for said in make(oracle)
    ]


Said = Iterator[dict[str, Any]]


# Any route


def generic(route: Route, oracle: Oracle) -> list[Operation]:
    """A route as its parameters say it may be asked: each of its values in turn, the others at their first."""
    paths = {f.name: list(values(f.name, f.field_info, oracle)) for f in _every(route.dependant, "path_params")}
    asked = {f.alias: list(values(f.alias, f.field_info, oracle)) for f in _every(route.dependant, "query_params")}
    needed = {f.alias for f in _every(route.dependant, "query_params") if f.field_info.is_required()}
    first = {name: told[0] for name, told in paths.items()}
    targets = {(_filled(route.path, first), "")}
    base = {name: asked[name][0] for name in needed}
    for path in _one_by_one(paths):
        targets.add((_filled(route.path, path), urlencode(base)))
    targets |= {(_filled(route.path, first), urlencode(base | {name: value})) for name in asked for value in asked[name]}
    bodies = [b""]
    headers: Mapping[str, str] = {}
    if getattr(route.of, "body_field", None) is not None:
        bodies, headers = _bodies(route, oracle)
    return [
        Operation(
            route.name, route.method, path + (f"?{query}" if query else ""), partial(bare, route.abilities), route.policy, route.abilities,
            body, headers, changes=route.method not in SAFE, opens=taken_along if route.name == "POST /exports/{id}/file" else nothing,
        )
        for path, query in sorted(targets) for body in bodies
    ]


def _one_by_one(values: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    first = {name: told[0] for name, told in values.items()}
    for name, told in values.items():
        yield from (first | {name: value} for value in told)


def _filled(path: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values[found[1]], path)


def _every(dependant: Dependant, kind: str) -> list[Any]:
    found = {f.name: f for f in getattr(dependant, kind)}
    for inner in dependant.dependencies:
        found |= {f.name: f for f in _every(inner, kind)}
    return list(found.values())


def values(name: str, info: Any, oracle: Oracle) -> Iterator[str]:
    """Values of a parameter that are worth asking with: by what it is called, else by its type."""
    schema = TypeAdapter(info.annotation).json_schema()
    if name in ("lon", "lng", "lat", "longitude", "latitude"):
        at = 1 if name.startswith("lat") else 0
        yield from (f"{town.at(*spot)[at]}" for spot in PLACES.values())
    elif name in ("layer", "noun", "collection", "resource"):
        yield from RESOURCES
    elif re.search("path|area|within|scope", name):
        yield from rows.LEVEL
    else:
        yield from _of_type(schema, oracle)


def _of_type(schema: Mapping[str, Any], oracle: Oracle) -> Iterator[str]:
    if "anyOf" in schema:
        for kind in schema["anyOf"]:
            yield from (() if kind.get("type") == "null" else _of_type(kind, oracle))
    elif "enum" in schema:
        yield from map(str, schema["enum"])
    elif "const" in schema:
        yield str(schema["const"])
    elif schema.get("format") == "uuid":
        yield from map(str, oracle.town.papers)
        yield from map(str, oracle.town.people[::4])
        yield from (str(row.id) for noun in RESOURCES for row in oracle.town.of(noun)[:1])
        yield str(ABSENT)
    elif schema.get("type") == "integer":
        yield from ("0", "1", "100")
    elif schema.get("type") == "number":
        yield from ("0", "16")
    elif schema.get("type") == "boolean":
        yield from ("true", "false")
    elif str(schema.get("format", "")).startswith("date"):
        yield from ("2026-01-01T00:00:00Z"[: None if schema["format"] == "date-time" else 10],)
    else:
        # What somebody might look for: words that are there for some and not for others.
        yield from sorted(value for value in oracle.town.canaries if value.startswith("Zq"))[::400]
        yield from (value for value in oracle.town.canaries if value.startswith("QQ"))
        yield from ("x", "1", "xlsx", "csv")


def _bodies(route: Route, oracle: Oracle) -> tuple[list[bytes], Mapping[str, str]]:
    """A body that a route may take, and one that says nothing: as JSON, or as a form."""
    fields = _every(route.dependant, "body_params")
    if any(isinstance(field.field_info, params.Form) for field in fields):
        told = {f.alias: next(iter(values(f.alias, f.field_info, oracle)), "x") for f in fields if f.field_info.is_required()}
        return [urlencode(told).encode(), b""], {"content-type": "application/x-www-form-urlencoded"}
    schema = TypeAdapter(route.of.body_field.field_info.annotation).json_schema()
    return [json.dumps(_instance(schema, schema.get("$defs", {}), oracle)).encode(), b"{}"], GEOJSON


def _instance(schema: Mapping[str, Any], kinds: Mapping[str, Any], oracle: Oracle) -> Any:
    """A value that a JSON schema allows, as far as its types go."""
    if "$ref" in schema:
        return _instance(kinds[schema["$ref"].rpartition("/")[2]], kinds, oracle)
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0], kinds, oracle)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type")
    if kind == "object":
        return {name: _instance(inner, kinds, oracle) for name, inner in schema.get("properties", {}).items() if name in schema.get("required", ())}
    if kind == "array":
        return [_instance(schema.get("items", {}), kinds, oracle)] * schema.get("minItems", 1)
    if schema.get("format") == "uuid":
        return str(oracle.town.of("residents")[0].id)
    if kind == "string" and str(schema.get("format", "")).startswith("date"):
        return "2026-01-01T00:00:00Z"[: None if schema["format"] == "date-time" else 10]
    return {"string": "x" * max(1, schema.get("minLength", 1)), "integer": 1, "number": 1.0, "boolean": True}.get(str(kind))


def bare(able: frozenset[str], oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Of a route of which no more is known: who has not the ability it asks for is refused, and nobody is told of a fault."""
    if able and not able & actor.may and answer.status not in (401, 403, 404):
        yield f"{answer.status}, though {sorted(able)} is asked for"
    if answer.status >= 500 and answer.status != 503:
        yield f"{answer.status}"


def exactly(*statuses: int) -> Expectation:
    """An answer with one of these statuses, whoever asks."""

    def expect(oracle: Oracle, actor: Actor, answer: Answer) -> Told:
        if answer.status not in statuses:
            yield f"{answer.status} where {statuses} is due"

    return expect


# Lists


def lists(oracle: Oracle, resource: Resource) -> Said:
    """A noun's list: whole, page by page, by box, by each field with what is there for some, for others, for nobody."""
    at = f"/collections/{resource.name}/items"
    own = oracle.town.of(resource.name)
    yield {"target": f"{at}?limit=10000", "expect": partial(listed, resource, {})}
    for after in own[:: max(1, len(own) // 6)]:
        query = urlencode({"limit": 3, "after": after.id})
        yield {"target": f"{at}?{query}", "expect": partial(listed, resource, {}, limit=3, after=after.id), "about": after}
    boxes = {**{name: (x - 0.04, y - 0.05, x + 0.3, y + 0.3) for name, (x, y) in PLACES.items()}, "edge": (0.9, 0.0, 1.1, 2.0)}
    if resource.geometry:
        for x0, y0, x1, y1 in boxes.values():
            box = (*town.at(x0, y0), *town.at(x1, y1))
            query = urlencode({"limit": 10000, "bbox": ",".join(map(str, box))})
            yield {"target": f"{at}?{query}", "expect": partial(listed, resource, {}, box=box)}
    for field_ in resource.all_fields:
        told = {_query(row.values[field_.name]) for row in own if row.values.get(field_.name) is not None} if field_.derived is None else set()
        some = sorted(told)
        for value in [*some[:: max(1, len(some) // 4)], _nothing(field_)]:
            query = urlencode({"limit": 10000, field_.name: value})
            yield {"target": f"{at}?{query}", "expect": partial(listed, resource, {field_.name: value})}
    for name in ("owner", "source", "batch", "extras", "placement", "retired_at", "geom", "phone_masked", "name_masked", "reporter_phone_hash"):
        if name not in {f.name for f in resource.all_fields}:
            yield {"target": f"{at}?{name}=x", "expect": partial(listed, resource, {name: "x"})}


def _query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nothing(field: Field) -> str:
    if field.choices:
        return field.codes[0]
    if field.type is bool or field.type.__name__ == "bool":
        return "true"
    return {"UUID": str(ABSENT), "datetime": "1999-01-01T00:00:00Z", "date": "1999-01-01", "int": "7", "float": "7.5"}.get(field.type.__name__, "Zq-none")


def listed(
    resource: Resource, equals: Mapping[str, str], oracle: Oracle, actor: Actor, answer: Answer, *, box: tuple[float, ...] | None = None,
    limit: int = 10_000, after: UUID | None = None,
) -> Told:
    """A list holds the rows that the actor sees and asked for, each as they see it, and says how many."""
    if not knows(actor, resource):
        yield from exactly(404)(oracle, actor, answer)
        return
    names = {f.name: f for f in resource.all_fields}
    for name in equals:
        hidden = name not in names or oracle.told(actor, Row(resource.name, "", ABSENT, ""), names[name]) != "clear"
        if hidden:
            yield from exactly(400)(oracle, actor, answer)
            return
    if answer.status != 200:
        yield f"{answer.status} where a list is due"
        return
    if any(names[name].derived for name in equals):
        return
    due = [
        row for row in oracle.seen(actor, resource.name)
        if all(_query(row.values[name]) == value for name, value in equals.items())
        and (box is None or _meets(oracle.extent(actor, row), box)) and (after is None or row.id > after)
    ]
    page = answer.json
    got = [feature["id"] for feature in page["features"]]
    if got != [str(row.id) for row in due[:limit]]:
        yield f"{_difference(set(got), {str(row.id) for row in due[:limit]}, oracle)}"
    if page["numberReturned"] != len(due[:limit]):
        yield f"numberReturned {page['numberReturned']} where {len(due[:limit])} are due"
    if any(link["rel"] == "next" for link in page["links"]) != (len(due) > limit):
        yield "a next page that is none, or none where there is one"
    for feature in page["features"]:
        yield from as_seen(oracle, actor, feature)


def as_seen(oracle: Oracle, actor: Actor, feature: Mapping[str, Any]) -> Told:
    """A feature has the fields that are for this actor, with these values, in this place, and no more."""
    row = oracle.town.rows.get(UUID(feature["id"]))
    if row is None:
        yield f"{feature['id']} is nobody's"
        return
    told, due = dict(feature["properties"]), oracle.properties(actor, row)
    if told.pop("scope", row.scope) != row.scope or "version" not in told:
        yield f"{row}: scope {feature['properties'].get('scope')}"
    told.pop("version", None)
    for derived in [f for f in row.resource.all_fields if f.derived]:
        told.pop(derived.name, None)
    if told.keys() != due.keys():
        yield f"{row}: {sorted(told.keys() ^ due.keys())} more or less than is due"
        return
    wrong = [name for name in due if not _same(told[name], due[name])]
    if wrong:
        yield f"{row}: {[(name, told[name], due[name]) for name in wrong]}"
    point = oracle.point(actor, row)
    if point is not None and [round(n, 6) for n in feature["geometry"]["coordinates"]] != [round(n, 6) for n in point]:
        yield f"{row}: shown at {feature['geometry']['coordinates']} and not at {point}"


def _same(told: Any, due: Any) -> bool:
    if isinstance(due, str) and isinstance(told, str) and re.match(r"\d{4}-\d\d-\d\dT", due):
        return datetime.fromisoformat(told) == datetime.fromisoformat(due)
    if isinstance(due, float) and isinstance(told, int | float):
        return math.isclose(told, due, rel_tol=1e-9)
    return bool(told == due)


def _meets(extent: Sequence[float], box: Sequence[float]) -> bool:
    return extent[0] <= box[2] and extent[2] >= box[0] and extent[1] <= box[3] and extent[3] >= box[1]


def _difference(got: set[str], due: set[str], oracle: Oracle) -> str:
    def named(ids: set[str]) -> list[str]:
        return sorted(repr(oracle.town.rows.get(UUID(id), id)) for id in ids)[:5]

    return f"too many: {named(got - due)}, too few: {named(due - got)}, or in another order"


# Single rows


def reads(oracle: Oracle, resource: Resource) -> Said:
    """Every row by its id, and one that is not there."""
    at = f"/collections/{resource.name}/items"
    yield {"target": f"{at}/{ABSENT}", "expect": exactly(404)}
    for row in oracle.town.of(resource.name):
        yield {"target": f"{at}/{row.id}", "expect": partial(read, row), "about": row}


def read(row: Row, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """A row that the actor sees as they see it, and of any other only its fate."""
    due = oracle.fate(actor, row)
    if answer.status != due:
        yield f"{row}: {answer.status} where {due} is due"
    elif due == 200:
        yield from as_seen(oracle, actor, answer.json)


def unmasks(oracle: Oracle, resource: Resource) -> Said:
    """What is masked of a row, of some rows of every place."""
    fields = [f.name for f in resource.all_fields if f.secret or (f.name_of_person and f.clear is None)]
    body = json.dumps({"purpose": "visit", "note": "上门核对", "fields": fields}).encode()
    for row in oracle.town.of(resource.name)[::2]:
        yield {
            "target": f"/collections/{resource.name}/items/{row.id}/unmask", "body": body, "headers": GEOJSON, "about": row, "changes": True,
            "expect": partial(unmasked, row, fields), "opens": partial(opened, row, fields),
        }


def unmasked(row: Row, fields: Sequence[str], oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Who answers for a row and asks for what is masked of it is told just that."""
    noun = row.resource
    if not knows(actor, noun):
        due = 404
    elif "unmask" not in actor.may:
        due = 401 if actor.name == "anonymous" else 403
    elif any(noun[name].audience > looks(actor, noun) for name in fields):
        due = 422
    elif oracle.opens(actor, row):
        due = 200
        if answer.status == 200 and answer.json["fields"] != {name: row.values[name] for name in fields}:
            yield f"{row}: {answer.json['fields']}"
    else:
        due = oracle.fate(actor, row)
    yield from exactly(due)(oracle, actor, answer)


def taken_along(oracle: Oracle, actor: Actor, canary: Canary) -> bool:
    """What a second person has allowed somebody to take along: of rows that they might open one by one."""
    row = oracle.town.rows.get(canary.row)
    return canary.form == "plain" and row is not None and "export" in actor.may and oracle.opens(actor, row)


def opened(row: Row, fields: Sequence[str], oracle: Oracle, actor: Actor, canary: Canary) -> bool:
    return canary.row == row.id and canary.form == "plain" and canary.column in fields and oracle.opens(actor, row)


def searches(oracle: Oracle, resource: Resource) -> Said:
    """Rows looked for by a whole number."""
    [name, *_] = [f.name for f in resource.all_fields if f.secret]
    for row in oracle.town.of(resource.name)[::2]:
        body = json.dumps({"where": {name: row.values[name]}}).encode()
        yield {
            "target": f"/collections/{resource.name}/search", "body": body, "headers": GEOJSON, "expect": partial(sought, row, name), "about": row,
        }


def sought(row: Row, name: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Whose number it is, is told to those who see the row, and to anybody else nothing."""
    if not knows(actor, row.resource):
        yield from exactly(404)(oracle, actor, answer)
    elif row.resource[name].audience > looks(actor, row.resource):
        yield from exactly(400)(oracle, actor, answer)
    elif answer.status != 200:
        yield f"{answer.status} where a list is due"
    else:
        due = [str(row.id)] if oracle.sees(actor, row) else []
        if [feature["id"] for feature in answer.json["features"]] != due or answer.json["numberReturned"] != len(due):
            yield _difference({feature["id"] for feature in answer.json["features"]}, set(due), oracle)
        for feature in answer.json["features"]:
            yield from as_seen(oracle, actor, feature)


# Writes


def adds(oracle: Oracle, resource: Resource) -> Said:
    """A row of one's own making in every place."""
    places = {"areas": list(rows.LEVEL)}.get(resource.name, list(PLACES))
    for place in places:
        stands = next((row for row in oracle.town.of(resource.name) if row.place == place and not row.retired), None)
        if stands is None:
            continue
        given = town.example(resource, **_kept(resource, stands))
        if resource.geometry:
            given["geometry"] = stands.shape
        if resource.name == "areas":
            # Another of the same level, beside it.
            beside = max((path for path in rows.LEVEL if place.startswith(path) and path != place), key=len, default="")
            given["properties"] |= {"level": rows.LEVEL[place], "parent": beside}
            stands = Row("areas", place, ABSENT, f"{beside}999")
        yield {
            "target": f"/collections/{resource.name}/items", "body": json.dumps(given).encode(), "headers": GEOJSON,
            "expect": partial(written, resource, stands, "add"), "about": stands, "changes": True,
        }


def _kept(resource: Resource, row: Row) -> dict[str, Any]:
    """Of a row what decides whose it is, and what only a list of codes knows."""
    deciding = ("precision", "stated_area", "activation", resource.category)
    return {f.name: row.values[f.name] for f in resource.writable if f.name in deciding or (f.required and (f.refers or f.listed))}


def changes(method: str, oracle: Oracle, resource: Resource) -> Said:
    """Every kind of row changed, replaced or retired."""
    at = f"/collections/{resource.name}/items"
    own = oracle.town.of(resource.name)
    chosen = own[:: max(1, len(own) // 16)] + [row for row in own if row.retired or row.place in rows.OVER]
    word = next((f for f in resource.writable if f.type is str and not (f.choices or f.listed or f.refers or f.pattern or f.secret)), None)
    for row in {row.id: row for row in chosen}.values():
        body: dict[str, Any] = {"properties": {word.name: "x"} if word else {}}
        if method == "PUT":
            body = town.example(resource, **_kept(resource, row))
            if resource.geometry and row.shape:
                body["geometry"] = row.shape
        yield {
            "target": f"{at}/{row.id}", "body": b"" if method == "DELETE" else json.dumps(body).encode(), "headers": GEOJSON,
            "expect": partial(written, resource, row, "change"), "about": row, "changes": True,
        }
    yield {
        "target": f"{at}/{ABSENT}", "body": b"" if method == "DELETE" else json.dumps({"properties": {}} if method == "PATCH" else body).encode(),
        "headers": GEOJSON, "expect": partial(written, resource, None, "change"), "changes": True,
    }


def written(resource: Resource, row: Row | None, verb: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """A write by who may is done, and shown to them as they see it; by anybody else it is refused as reading would be."""
    due = oracle.verdict(actor, resource, row, verb)
    if answer.status not in due:
        yield f"{row}: {answer.status} where {sorted(due)} is due"
    if answer.status in (200, 201) and row is not None and answer.body:
        told = answer.json["properties"]
        extra = told.keys() - {f.name for f in resource.seen_by(looks(actor, resource))} - {"version", "scope", "extras"}
        if extra:
            yield f"{row}: {sorted(extra)} in an answer"


# Tiles


def tiles(oracle: Oracle) -> Said:
    """Every layer in the tiles where things stand, at every zoom at which something changes."""
    for name in [*RESOURCES, "changes"]:
        resource = RESOURCES.get(name)
        spots = {spot for place, spot in PLACES.items()} if resource and resource.geometry else {PLACES["A"]}
        for z in (11, 13, 15, 17):
            for x, y in sorted({tile_at(z, *spot) for spot in spots}):
                yield {"target": f"/tiles/{name}/{z}/{x}/{y}.pbf", "expect": partial(tiled, name, z, x, y)}


def tile_at(z: int, x: float, y: float) -> tuple[int, int]:
    """The tile that holds a position of the town."""
    lon, lat = town.at(x, y)
    return (
        math.floor((lon + 180) / 360 * 2**z),
        math.floor((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z),
    )


def collection_tiles(oracle: Oracle) -> Said:
    """The same by the addresses of the standard, row before column, and cut in degrees."""
    for said in tiles(oracle):
        _, _, name, z, x, y = said["target"].removesuffix(".pbf").split("/")
        yield said | {"target": f"/collections/{name}/tiles/WebMercatorQuad/{z}/{y}/{x}"}
    for name, resource in RESOURCES.items():
        for place in ("A", "C") if resource.geometry else ():
            lon, lat = town.at(*PLACES[place])
            x, y = math.floor((lon + 180) / 360 * 2**17), math.floor((90 - lat) / 360 * 2**17)
            yield {"target": f"/collections/{name}/tiles/CGCS2000Quad/17/{y}/{x}", "expect": partial(tiled, name, 17, x, y, place_in=_in_degrees)}


def tiles_together(oracle: Oracle) -> Said:
    """All that an actor is drawn, in one tile."""
    for z in (13, 15, 17):
        for x, y in sorted({tile_at(z, *PLACES[place]) for place in ("A", "C")}):
            yield {"target": f"/tiles/WebMercatorQuad/{z}/{y}/{x}", "expect": partial(tiled_together, z, x, y)}


def tiled_together(z: int, x: int, y: int, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    looking = actor if actor.right != "own" else NOBODY
    drawn = {name for name, noun in RESOURCES.items() if noun.geometry and not noun.personal and knows(looking, noun)}
    if answer.body and (more := {layer.removesuffix("_labels") for layer in answer.tile} - drawn):
        yield f"{sorted(more)} in a tile"
    for name in drawn:
        yield from tiled(name, z, x, y, oracle, actor, answer)


def _in_degrees(z: int, x: int, y: int, lon: float, lat: float) -> tuple[float, float]:
    return (lon + 180) / 360 * 2**z - x, (90 - lat) / 360 * 2**z - y


def _in_tile(z: int, x: int, y: int, lon: float, lat: float) -> tuple[float, float]:
    return (
        (lon + 180) / 360 * 2**z - x,
        (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z - y,
    )


def tiled(
    name: str, z: int, x: int, y: int, oracle: Oracle, actor: Actor, answer: Answer, *, place_in: Callable[..., tuple[float, float]] = _in_tile
) -> Told:
    """A tile draws the rows that an actor sees and that lie in it, where they are shown, and no others."""
    resource = RESOURCES.get(name)
    # Nothing is drawn of one's own alone: a tile that is nobody else's would say that there is something.
    actor = actor if actor.right != "own" else NOBODY
    if resource is None or not resource.geometry or resource.personal or not knows(actor, resource):
        yield from exactly(404)(oracle, actor, answer)
        return
    if answer.status not in (200, 204):
        yield f"{answer.status} where a tile is due"
        return
    shapes = answer.tile.get(name, []) if answer.body else []
    found = {f.attributes["id"]: f for f in shapes if "id" in f.attributes}
    must, can, fewest = set(), set(), 0
    for row in oracle.seen(actor, name):
        if not drawn(row) or z < resource.style.zooms[0] or (name == "areas" and row.values["level"] != _level(z)):
            continue
        west, south, east, north = oracle.extent(actor, row)
        (left, bottom), (right, top) = place_in(z, x, y, west, south), place_in(z, x, y, east, north)
        if left < 1.04 and right > -0.04 and top < 1.04 and bottom > -0.04:
            can.add(str(row.id))
        inner = left < 0.999 and right > 0.001 and top < 0.999 and bottom > 0.001
        if inner and z >= 15:
            must.add(str(row.id))
        fewest += inner
    if resource.geometry == "POINT" and z < 15:
        number = sum(f.attributes.get("count", 1) for f in shapes)
        if not fewest <= number <= len(can):
            yield f"{number} {name} are counted where {fewest} are, or {len(can)}"
    if not must <= found.keys() <= can:
        yield _difference(set(found), must if must - found.keys() else can, oracle)
    for label in answer.tile.get(f"{name}_labels", []) if answer.body else []:
        if label.attributes["id"] not in can:
            yield f"a label of {oracle.town.rows.get(UUID(label.attributes['id']))}"
    if resource.coarse:
        for id, feature in found.items():
            lon, lat = oracle.extent(actor, oracle.town.rows[UUID(id)])[:2]
            if any(math.dist(at, place_in(z, x, y, lon, lat)) > 1 / 1000 for at in feature.positions):
                yield f"{oracle.town.rows[UUID(id)]} is drawn somewhere else"


def _level(z: int) -> str:
    return "street" if z <= 11 else "community" if z <= 13 else "grid"


# Pages and reports


def cards(oracle: Oracle) -> Said:
    for x, y in PLACES.values():
        lon, lat = town.at(x, y)
        for z in (11, 13, 16):
            yield {"target": f"/identify?lon={lon}&lat={lat}&z={z}", "expect": partial(carded, x, y, z), "headers": {"hx-request": "true"}}
        yield {"target": f"/identify?lon={lon}&lat={lat}&z=17&f=json&pixels=32", "expect": pointed_at}


def pointed_at(oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Under the pointer is what the actor sees, as they see it."""
    if answer.status != 200:
        yield f"{answer.status} where features are due"
        return
    for one in answer.json["found"]:
        row = oracle.town.rows.get(UUID(one["id"]))
        if row is None or not oracle.sees(actor, row) or row.resource.personal or not drawn(row):
            yield f"{row} is not theirs to see"
            continue
        point = oracle.point(actor, row) or (oracle.extent(actor, row)[:2] if row.extent else None)
        yield from as_seen(oracle, actor, {**one, "geometry": {"coordinates": point}})


FIGURE = re.compile(r"<dd[^>]*>([^<]*)</dd>")


def carded(x: float, y: float, z: int, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """The card of an area that the actor may see has its numbers; of any other it has none."""
    if answer.status != 200:
        yield f"{answer.status} where a card is due"
        return
    wanted = "street" if z < 12 else "community" if z < 14 else "grid"
    path = next((p for p in rows.holding(x, y) if rows.LEVEL[p] == wanted), None)
    area = oracle.town.rows[oracle.town.areas[path]] if path else None
    shown = re.search(r'data-area="([^"]*)"', answer.text)
    if area is None or not oracle.sees(actor, area):
        if shown:
            yield f"a card of {path}"
        return
    if not shown or shown[1] != str(area.id):
        yield f"no card of {path}"
        return
    counts = oracle.counts(actor, area.scope)
    told = re.search(r'<dl class="elements">(.*?)</dl>', answer.text, re.S)
    got = FIGURE.findall(told[1]) if told else []
    late = oracle.overdue(actor, area.scope)
    due = [_figure(counts["residents"]), None, f"{counts['buildings']:,}", None, None, None, f"{counts['open']:,}", None, f"{counts['things']:,}", None]
    if len(got) != len(due) or any(want is not None and want != have.strip() for have, want in zip(got, due, strict=True)):
        yield f"{path}: {got} where {due} is due"
    elif not _says(got[1], counts["households"]) or (late and f"{late}" not in got[7]):
        yield f"{path}: {got[1]!r} households, {got[7]!r}; due {counts['households']}, {late} late"


def _figure(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _says(told: str, number: int | None) -> bool:
    return "不公布" in told if number is None else f"{number:,}" in told


def fronts(oracle: Oracle) -> Said:
    yield {"target": "/?f=json", "expect": exactly(200)}
    yield {"target": "/?f=html", "expect": partial(numbered, "")}
    yield {"target": "/?view=list&f=html", "expect": partial(numbered, "")}
    for path in rows.LEVEL:
        if len(path) <= 15:
            yield {"target": f"/?view=list&f=html&within={path}", "expect": partial(numbered, path)}
    for name, resource in RESOURCES.items():
        if resource.geometry:
            yield {"target": f"/?f=html&layers={name}", "expect": exactly(200)}


def numbered(within: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """The headline numbers, and those of every area in the list, are of what the actor sees."""
    if answer.status != 200:
        yield f"{answer.status} where a page is due"
        return
    head = re.search(r'<section class="numbers".*?<dl>(.*?)</dl>', answer.text, re.S)
    got = [int(n.replace(",", "")) for n in re.findall(r"<dd>(?:<a[^>]*>)?([\d,]+)", head[1])] if head else []
    waiting = re.search(r'<a href="/review">待落格复核 ([\d,]+)</a>', answer.text)
    got.append(int(waiting[1].replace(",", "")) if waiting else 0)
    due = [oracle.overdue(actor), len(oracle.open(actor)), len(oracle.done_today(actor)), len(list(oracle.in_force(actor))), len(oracle.waiting(actor))]
    if got != due:
        yield f"{got} where {due} is due"
    houses = re.search(r"<span>([\d,]+) 栋楼</span>", answer.text)
    if not houses or int(houses[1].replace(",", "")) != len(oracle.seen(actor, "buildings")):
        yield f"{houses and houses[1]} buildings where {len(oracle.seen(actor, 'buildings'))} are due"
    if "view=list" in str(answer.headers.get("x-asked", "")) or "<table" in answer.text:
        yield from _areas_listed(within, oracle, actor, answer)


def _areas_listed(within: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    areas = oracle.seen(actor, "areas")
    levels = [level for level in ("community", "street", "grid", "district") if any(row.values["level"] == level for row in areas)]
    level = levels[0] if levels else "community"
    if within:
        widths = {code.code: width for code, width in zip(LEVELS, (2, 4, 6, 9, 12, 15, 18), strict=True)}
        there = {row.values["level"] for row in areas}
        level = next((code for code, width in widths.items() if width > len(within) and code in there and code != "micro_grid"), "")
    due = {}
    for row in areas:
        if row.values["level"] == level and row.scope.startswith(within):
            due[row.values["name"]] = row
    got: dict[str, list[str]] = {}
    for name, cells in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', answer.text, re.S):
        got[re.sub("<[^>]*>", "", name)] = re.findall(r'<td class="figure[^"]*">([^<]*)</td>', cells)
    if got.keys() != due.keys():
        yield f"areas {sorted(got.keys() ^ due.keys())} too many or too few"
        return
    for name, row in due.items():
        want = [f"{len(oracle.open(actor, row.scope)):,}", f"{oracle.overdue(actor, row.scope):,}"]
        if len(got[name]) > 2:
            counts = oracle.counts(actor, row.scope)
            few = "—(人少,不公布)"
            grids = [f"{sum(a.values['level'] == 'grid' and a.scope.startswith(row.scope) for a in areas):,}"] if len(got[name]) == 8 else []
            zones = [z for z in oracle.in_force(actor) if row.scope in z.touches]
            want += [*grids, f"{counts['buildings']:,}", _figure(counts["residents"]) or few, _figure(counts["households"]) or few,
                     f"{counts['things']:,}", f"{len(zones):,}"]
        if got[name] != want:
            yield f"{row.scope}: {got[name]} where {want} is due"


def reviews(oracle: Oracle) -> Said:
    for reason in (None, *(choice.code for choice in REASONS)):
        query = f"&reason={reason}" if reason else ""
        yield {"target": f"/review?f=json{query}", "expect": partial(reviewed, reason)}
    yield {"target": "/review?f=html", "expect": exactly(200)}


def reviewed(reason: str | None, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """The review queue is what the actor answers for, with its numbers by reason."""
    if answer.status != 200:
        yield f"{answer.status} where a queue is due"
        return
    waiting = oracle.waiting(actor)
    counts: dict[str, int] = {}
    for row in waiting:
        counts[row.values["placing_reason"]] = counts.get(row.values["placing_reason"], 0) + 1
    if answer.json["numberWaiting"] != counts:
        yield f"{answer.json['numberWaiting']} waiting where {counts} are"
    due = {str(row.id) for row in waiting if reason in (None, row.values["placing_reason"])}
    got = {record["id"] for record in answer.json["records"]}
    if not got <= due or len(got) != min(200, len(due)):
        yield _difference(got, due, oracle)


def locates(oracle: Oracle) -> Said:
    for x, y in PLACES.values():
        lon, lat = town.at(x, y)
        yield {"target": f"/locate?lon={lon}&lat={lat}", "expect": partial(located, x, y)}


def located(x: float, y: float, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """The areas at a point, to everybody alike, with who answers there under a mask."""
    if answer.status != 200 or [area["path"] for area in answer.json["areas"]] != rows.holding(x, y):
        yield f"{answer.status} {answer.text[:200]}"
        return
    for area in answer.json["areas"]:
        for post in area["responsible"]:
            if any(name and not re.fullmatch(r".\*", name) for name in (post["holder"], post["deputy"])):
                yield f"{post} in clear"


# Questions


def nearests(oracle: Oracle) -> Said:
    for name in RESOURCES:
        lon, lat = town.at(*PLACES["A"])
        yield {
            "target": f"/nearest?layer={name}&lon={lon}&lat={lat}&k=100&metres=50000", "expect": partial(around, name, limit=100),
        }


def withins(oracle: Oracle) -> Said:
    """All of a noun around a place, and around every kind of row."""
    for name in RESOURCES:
        lon, lat = town.at(*PLACES["C"])
        yield {"target": f"/within?layer={name}&lon={lon}&lat={lat}&metres=50000&limit=1000", "expect": partial(around, name)}
    for noun in ("incidents", "zones", "buildings", "residents"):
        for row in oracle.town.of(noun)[::4]:
            yield {
                "target": f"/within?layer=facilities&of={noun}/{row.id}&metres=50000&limit=1000", "expect": partial(around, "facilities", of=row),
                "about": row,
            }


def withins_drawn(oracle: Oracle) -> Said:
    for name in RESOURCES:
        body = json.dumps({"layer": name, "geometry": town.box(-1, -1, 9, 9), "limit": 1000, "metres": 40000}).encode()
        yield {"target": "/within", "body": body, "headers": GEOJSON, "expect": partial(around, name)}


def around(name: str, oracle: Oracle, actor: Actor, answer: Answer, *, limit: int = 1_000, of: Row | None = None) -> Told:
    """What is near is what the actor sees and where they see it; around what they do not see nothing is told."""
    noun = RESOURCES[name]
    if of is not None and (of.resource.personal or not oracle.sees(actor, of) or of.extent is None):
        hidden = of.resource.personal or of.extent is None
        yield from exactly(400 if hidden else oracle.fate(actor, of))(oracle, actor, answer)
        return
    if not knows(actor, noun) or noun.personal or not noun.geometry:
        yield from exactly(404)(oracle, actor, answer)
        return
    due = {str(row.id) for row in oracle.seen(actor, name) if row.values.get("precision") != "region" and row.extent is not None}
    if answer.status != 200:
        yield f"{answer.status} where features are due"
        return
    told = answer.json
    got = {feature["id"] for feature in told["features"]}
    if not got <= due or len(got) != min(len(due), limit) or told["numberReturned"] != len(got) or len(told["features"]) != len(got):
        yield _difference(got, due, oracle)
    for feature in told["features"]:
        yield from as_seen(oracle, actor, {**feature, "properties": {k: v for k, v in feature["properties"].items() if k != "distance_m"}})


def aggregates(oracle: Oracle) -> Said:
    for name in RESOURCES:
        for level in ("street", "community", "grid"):
            yield {"target": f"/aggregate?layer={name}&level={level}&limit=1000", "expect": partial(added_up, name, level, "count")}
    for people in ("residents", "households", "non_local", "dwellings"):
        for level in ("street", "community", "grid"):
            yield {"target": f"/aggregate?layer=buildings&level={level}&measure={people}", "expect": partial(added_up, "buildings", level, people)}
    yield {"target": "/aggregate?layer=facilities&level=grid&per=residents", "expect": exactly(200)}


def added_up(name: str, level: str, measure: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Every area that the actor sees has the number of what they see in it; of people, what they may be told."""
    noun = RESOURCES[name]
    if not knows(actor, noun) or noun.personal or name == "areas":
        yield from exactly(404)(oracle, actor, answer)
        return
    if answer.status != 200:
        yield f"{answer.status} where numbers are due"
        return
    areas = [row for row in oracle.seen(actor, "areas") if row.values["level"] == level]
    got = {row["path"]: row["value"] for row in answer.json["areas"]}
    if got.keys() != {row.scope for row in areas}:
        yield f"{sorted(got.keys() ^ {row.scope for row in areas})} more or less than is due"
        return
    for area in areas:
        if measure != "count":
            due = oracle.counts(actor, area.scope)[measure]
        else:
            rows = [row for row in oracle.seen(actor, name) if row.values.get("precision") != "region"]
            due = sum(area.scope in row.touches if noun.place is Place.SHARES else row.scope.startswith(area.scope) for row in rows)
        if got[area.scope] != due:
            yield f"{area.scope}: {got[area.scope]} {measure} where {due} is due"


def collections(oracle: Oracle) -> Said:
    yield {"target": "/collections", "expect": catalogued}


def catalogued(oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """The nouns that an actor may know of."""
    due = [name for name, noun in RESOURCES.items() if knows(actor, noun)]
    if answer.status != 200 or [c["id"] for c in answer.json["collections"]] != due:
        yield f"{answer.status} {answer.text[:200]}"


def collection(oracle: Oracle) -> Said:
    for name, noun in RESOURCES.items():
        yield {"target": f"/collections/{name}", "expect": partial(described, noun)}
    yield {"target": "/collections/accounts", "expect": exactly(404)}


def described(noun: Resource, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    yield from exactly(200 if knows(actor, noun) else 404)(oracle, actor, answer)


def myself(oracle: Oracle) -> Said:
    yield {"target": "/me", "expect": introduced}


def introduced(oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Who asks is told who they are."""
    me = answer.json
    due = (actor.role, list(actor.areas) if actor.standing == "holds" else [], sorted(actor.may))
    if answer.status != 200 or (me["role"], me["scope"], me["may"]) != due:
        yield f"{answer.status} {me['role'], me['scope'], me['may']} where {due} is due"


def topologies(oracle: Oracle) -> Said:
    for level in LEVELS:
        yield {"target": f"/topology?level={level.code}", "expect": partial(surveyed, level.code)}


def surveyed(level: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """A report on the areas that the actor sees, and on the records in none of them."""
    if answer.status != 200:
        yield f"{answer.status} where a report is due"
        return
    areas = [row for row in oracle.seen(actor, "areas") if row.values["level"] == level]
    if answer.json["areas"] != len(areas):
        yield f"{answer.json['areas']} areas where there are {len(areas)}"
    if level == "micro_grid":
        return
    lost = 0
    for noun in RESOURCES.values():
        if noun.place is Place.POINT and noun.audience == 0:
            lost += sum(
                row.values["placing_reason"] != "imprecise" and not any(rows.LEVEL[p] == level for p in rows.holding(*_corner(row)))
                for row in oracle.seen(actor, noun.name)
            )
    found = sum(line["count"] for line in answer.json["summary"] if line["kind"] == "unplaced")
    if found != lost:
        yield f"{found} unplaced where {lost} are"


def _corner(row: Row) -> tuple[float, float]:
    assert row.extent is not None
    west, south, east, north = row.extent
    return (((west + east) / 2 - town.WEST) * 100, ((south + north) / 2 - town.SOUTH) * 100)


def redraws(oracle: Oracle) -> Said:
    for _, path, *box in rows.GROUND:
        body = json.dumps({"at": "2030-01-01", "geometry": town.box(*box)}).encode()
        yield {
            "target": f"/areas/{path}/redraw", "body": body, "headers": GEOJSON, "expect": partial(redrawn, path),
            "about": oracle.town.rows[oracle.town.areas[path]], "changes": True,
        }


def redrawn(path: str, oracle: Oracle, actor: Actor, answer: Answer) -> Told:
    """Only who draws areas is told what another boundary would change, and of their own areas."""
    if actor.refused or "write" not in actor.may:
        yield from exactly(401, 403)(oracle, actor, answer)
    elif not actor.holds(path) and answer.status in (200, 201):
        yield f"{answer.status} of an area that is not theirs"


def closings(oracle: Oracle) -> Said:
    yield {"target": "/sessions/current", "expect": exactly(204, 401), "changes": True}


def assets(oracle: Oracle) -> Said:
    yield {"target": "/assets/app/mark.svg", "expect": exactly(200, 304)}
    yield {"target": "/assets/../geo/db.py", "expect": exactly(404)}


def nowhere(oracle: Oracle) -> Said:
    """What is not there on a server without an identity provider, for anybody."""
    for path in ("sign-in", "link", "callback"):
        yield {"target": f"/oidc/{path}", "expect": exactly(404), "policy": "anyone"}


def files(oracle: Oracle) -> Said:
    """A file of every noun in every format that is written at once."""
    for name in RESOURCES:
        for kind in ("csv", "geojson", "xlsx"):
            body = json.dumps({"noun": name, "format": kind, "note": "年度核对用"}).encode()
            yield {"target": "/exports", "body": body, "headers": GEOJSON, "expect": partial(filed, RESOURCES[name], kind), "changes": True}
    for row in (oracle.town.of("buildings") + oracle.town.of("incidents"))[::8]:
        where = {"equals": {"name" if row.noun == "buildings" else "title": row.values[row.resource.label]}}
        body = json.dumps({"noun": row.noun, "format": "csv", "filter": where}).encode()
        yield {"target": "/exports", "body": body, "headers": GEOJSON, "expect": partial(filed, row.resource, "csv", only=row), "changes": True}


def filed(noun: Resource, kind: str, oracle: Oracle, actor: Actor, answer: Answer, *, only: Row | None = None) -> Told:
    """A file has a line for each row that the actor sees; of persons there is none without a second one."""
    if "export" not in actor.may:
        yield from exactly(401, 403)(oracle, actor, answer)
    elif not knows(actor, noun):
        yield from exactly(422)(oracle, actor, answer)
    elif noun.personal:
        yield from exactly(201)(oracle, actor, answer)
    elif answer.status != 200:
        yield f"{answer.status} where a file is due"
    else:
        due = len([row for row in oracle.seen(actor, noun.name) if only in (None, row)])
        lines = len(list(csv.reader(answer.text.lstrip("\ufeff").splitlines()))) - 1 if kind == "csv" else due
        lines = len(answer.json["features"]) if kind == "geojson" else lines
        if lines != due:
            yield f"{lines} lines where {due} are due"


def everybodys(oracle: Oracle) -> Said:
    for said in tiles(oracle):
        yield said | {"target": said["target"].replace("/tiles/", "/tiles/public/")}


KNOWN: Mapping[str, Callable[[Oracle], Said]] = {
    "GET /collections": collections,
    "GET /collections/{name}": collection,
    "GET /tiles/{layer}/{z}/{x}/{y}.pbf": tiles,
    "GET /tiles/public/{layer}/{z}/{x}/{y}.pbf": everybodys,
    "GET /collections/{name}/tiles/{matrices}/{z}/{row}/{column}": collection_tiles,
    "GET /tiles/{matrices}/{z}/{row}/{column}": tiles_together,
    "POST /exports": files,
    **dict.fromkeys(("GET /oidc/sign-in", "GET /oidc/link", "GET /oidc/callback"), nowhere),
    "GET /identify": cards,
    "GET /": fronts,
    "GET /review": reviews,
    "GET /locate": locates,
    "GET /nearest": nearests,
    "GET /within": withins,
    "POST /within": withins_drawn,
    "GET /aggregate": aggregates,
    "GET /me": myself,
    "GET /topology": topologies,
    "POST /areas/{path}/redraw": redraws,
    "DELETE /sessions/current": closings,
}
NOUNS: Mapping[str, Callable[..., Said]] = {
    "GET /items": lists,
    "GET /items/{id}": reads,
    "POST /items": adds,
    "PUT /items/{id}": partial(changes, "PUT"),
    "PATCH /items/{id}": partial(changes, "PATCH"),
    "DELETE /items/{id}": partial(changes, "DELETE"),
    "POST /items/{id}/unmask": unmasks,
    "POST /search": searches,
}
