"""What every noun keeps to because it is declared. A new noun brings these tests; a new rule brings its broken example."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from geo import db, query, write
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import BadQuery, Gone
from geo.keys import FieldKey
from geo.query import Filter
from geo.resource import Audience, Place, Resource
from geo.tables import TABLES
from tests import town

PUBLIC = [r for r in RESOURCES.values() if r.audience is Audience.PUBLIC]
HIDDEN = [r for r in RESOURCES.values() if r.audience > Audience.PUBLIC]
each = pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda r: r.name)
each_public = pytest.mark.parametrize("resource", PUBLIC, ids=lambda r: r.name)
each_hidden = pytest.mark.parametrize("resource", HIDDEN, ids=lambda r: r.name)

WORKER = Caller("tester", "jingwei_leader", (town.PREFIX,), Audience.LEADER)
BBOX = ",".join(map(str, (*town.at(0, 0), *town.at(2, 2))))
ELSEWHERE = ",".join(map(str, (*town.at(10, 10), *town.at(12, 12))))


def items(resource: Resource, id: object = "") -> str:
    """The address of a noun's features, or of one."""
    return f"/collections/{resource.name}/items" + (f"/{id}" if id else "")


def posted(client: TestClient, connection: sa.Connection, resource: Resource, **given: object) -> dict[str, Any]:
    """A feature made through the API, as anybody sees it."""
    answer = client.post(items(resource), json=town.full(resource, **{**town.needs(connection, resource), **given}))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = client.get(items(resource, answer.json()["id"])).json()
    return made


def listed(client: TestClient, resource: Resource, **parameters: object) -> list[str]:
    """The ids of a list."""
    answer = client.get(items(resource), params={"limit": 1000, **parameters})
    assert answer.status_code == 200, answer.text
    return [feature["id"] for feature in answer.json()["features"]]


@each_public
def test_added_then_listed(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    answer = client.post(items(resource), json=town.example(resource, **town.needs(connection, resource)))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["etag"] == '"v1"'
    assert answer.headers["location"] == items(resource, made["id"])
    assert made["id"] in listed(client, resource, bbox=BBOX)
    if resource.geometry:
        assert made["id"] not in listed(client, resource, bbox=ELSEWHERE)


@each_public
def test_read_back_as_written(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    given = town.full(resource, **town.needs(connection, resource))
    made = client.post(items(resource), json=given).json()
    read = client.get(items(resource, made["id"]))
    assert read.headers["etag"] == '"v1"'
    assert read.headers["content-type"] == "application/geo+json"
    told = read.json()
    seen = {field.name for field in resource.seen_by(Audience.PUBLIC) if not field.name_of_person}
    for name in seen & set(given["properties"]):
        assert told["properties"][name] == given["properties"][name], name
    if resource.geometry and not resource.coarse:
        assert told["geometry"]["coordinates"] in (given["geometry"]["coordinates"], [given["geometry"]["coordinates"]])
    assert client.get(items(resource, made["id"]), headers={"If-None-Match": '"v1"'}).status_code == 304


@each_public
def test_replaced_and_changed_by_who_has_seen_it(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    needs = town.needs(connection, resource)
    id = client.post(items(resource), json=town.example(resource, **needs)).json()["id"]
    label = next(f.name for f in resource.fields if f.type is str and f.writable and not (f.choices or f.refers or f.listed))

    def put(tag: str) -> Any:
        return client.put(items(resource, id), json=town.full(resource, **needs, **{label: "另一个"}), headers={"If-Match": tag})

    replaced = put('"v1"')
    assert (replaced.status_code, replaced.headers.get("etag")) == (200, '"v2"'), replaced.text
    stale = put('"v1"')
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    assert put('"never given"').status_code == 412
    patch = {"properties": {label: "又一个"}}
    changed = client.patch(items(resource, id), json=patch, headers={"If-Match": '"v2"'})
    assert (changed.status_code, changed.headers.get("etag")) == (200, '"v3"'), changed.text
    before, after = replaced.json()["properties"], changed.json()["properties"]
    assert {k for k in before if before[k] != after[k]} == {label, "version"}
    assert client.patch(items(resource, id), json=patch, headers={"If-Match": '"v2"'}).status_code == 412
    assert client.delete(items(resource, id), headers={"If-Match": '"v2"'}).status_code == 412
    # A change that changes nothing is no new version.
    assert client.patch(items(resource, id), json=patch).headers["etag"] == '"v3"'


@each_public
def test_a_member_left_out_of_a_replacement_is_gone(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    needs = town.needs(connection, resource)
    made = posted(client, connection, resource, **needs)
    spare = [f for f in resource.edited if not f.required and f.default is None and f.audience is Audience.PUBLIC and not f.secret]
    replaced = client.put(items(resource, made["id"]), json=town.example(resource, **needs))
    assert replaced.status_code == 200, replaced.text
    kept = town.example(resource)["properties"]
    for field in spare:
        if field.name not in kept and field.name not in ("path", "valid_from"):
            assert replaced.json()["properties"][field.name] is None, field.name


@each_public
def test_retired_is_gone_and_its_code_free(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    needs = town.needs(connection, resource)
    made = client.post(items(resource), json=town.full(resource, **needs)).json()
    if resource.key:
        twice = client.post(items(resource), json=town.full(resource, **needs))
        assert (twice.status_code, twice.json()["rule"]) == (409, f"{resource.name}_{'_'.join(resource.key)}_key")
    assert client.delete(items(resource, made["id"])).status_code == 204
    for method in ("GET", "DELETE"):
        gone = client.request(method, items(resource, made["id"]))
        assert (gone.status_code, gone.json()["type"]) == (410, "/problems/gone"), method
    assert client.patch(items(resource, made["id"]), json={"properties": {}}).status_code == 410
    assert made["id"] not in listed(client, resource)
    again = client.post(items(resource), json=town.full(resource, **needs, **({"code": "x2"} if resource.name == "areas" else {})))
    assert again.status_code == 201, again.text


@each_public
def test_hidden_fields_are_hidden_and_no_filter(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    made = posted(client, connection, resource)
    hidden = {f.name for f in resource.all_fields if f.audience > Audience.PUBLIC} | {"extras", "source", "batch", "placement"}
    for feature in (made, *client.get(items(resource), params={"limit": 1000}).json()["features"]):
        assert not hidden & set(feature["properties"])
    for name in hidden:
        refused = client.get(items(resource), params={name: "x"})
        assert (refused.status_code, refused.json()["parameter"]) == (400, name)


@each_public
def test_names_of_persons_are_masked_and_no_filter(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    personal = [f.name for f in resource.seen_by(Audience.PUBLIC) if f.name_of_person]
    made = posted(client, connection, resource, **dict.fromkeys(personal, "欧阳锋"))
    for name in personal:
        assert made["properties"][name] == "欧*"
        assert client.get(items(resource), params={name: "欧阳锋"}).status_code == 400
    assert "欧阳锋" not in client.get(items(resource)).text


@each_public
def test_filtered_by_every_field_one_may_see(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    made = posted(client, connection, resource)
    for field in resource.seen_by(Audience.PUBLIC):
        try:
            query.filterable(resource, field.name, Audience.PUBLIC)
        except BadQuery:
            continue
        told = made["properties"][field.name]
        if told is None:
            continue
        text = str(told).lower() if isinstance(told, bool) else str(told)
        assert made["id"] in listed(client, resource, **{field.name: text}), field.name
        if field.type in (int, float, bool) or field.choices:
            bad = client.get(items(resource), params={field.name: "no such thing"})
            assert (bad.status_code, bad.json()["parameter"]) == (400, field.name)


@each_public
def test_what_nobody_may_say_is_refused(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    given = town.example(resource, **town.needs(connection, resource))
    columns = {c.name for c in TABLES[resource.name].c} - {f.name for f in resource.writable}
    before = rows(connection, resource)
    for name in ("zzz", "__class__", *columns):
        refused = client.post(items(resource), json=given | {"properties": given["properties"] | {name: "1"}})
        assert (refused.status_code, refused.json()["field"]) == (422, f"properties.{name}"), name
    assert client.post(items(resource), json=given | {"zzz": 1}).json()["field"] == "zzz"
    for name in [f.name for f in resource.writable if f.required]:
        less = {k: v for k, v in given["properties"].items() if k != name}
        refused = client.post(items(resource), json=given | {"properties": less})
        assert (refused.status_code, refused.json()["field"]) == (422, f"properties.{name}")
    if resource.geometry and resource.geometry_required:
        assert client.post(items(resource), json=given | {"geometry": None}).status_code == 422
    if not resource.geometry:
        assert client.post(items(resource), json=given | {"geometry": town.point(1, 1)}).json()["field"] == "geometry"
    assert rows(connection, resource) == before


@each_public
def test_unknown_and_repeated_parameters_are_refused(client: TestClient, resource: Resource) -> None:
    name = resource.fields[0].name
    for parameters in ([("zzz", "1")], [(name, "1"), (name, "2")], [("limit", "1"), ("limit", "2")], [("bbox", "1,2,3")], [("limit", "0")]):
        refused = client.get(items(resource), params=parameters)
        assert refused.status_code == 400, parameters
        assert refused.json().get("parameter", refused.json().get("field")) == parameters[0][0]
    for method in ("POST", "GET"):
        address = items(resource) if method == "POST" else items(resource, uuid4())
        assert client.request(method, address, params={"zzz": 1}, json=town.example(resource)).status_code == 400


@each_public
@pytest.mark.parametrize("id", [str(uuid4()), "1", "' OR 1=1"], ids=["nobody's", "short", "quoted"])
def test_missing_is_a_404_problem(client: TestClient, connection: sa.Connection, resource: Resource, id: str) -> None:
    whole = town.example(resource, **town.needs(connection, resource))
    for method, body in (("GET", None), ("PUT", whole), ("PATCH", {"properties": {}}), ("DELETE", None)):
        answer = client.request(method, items(resource, id), json=body)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), (method, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


@each_hidden
def test_hidden_nouns_are_unknown_on_every_method(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    there = town.add(connection, resource.name)
    before = rows(connection, resource)
    given = town.example(resource, **town.needs(connection, resource))
    for method, address, body in (
        ("GET", items(resource), None), ("GET", f"/collections/{resource.name}", None), ("POST", items(resource), given),
        ("POST", items(resource), {}), ("GET", items(resource, there), None), ("PUT", items(resource, there), given),
        ("PATCH", items(resource, there), {"properties": {}}), ("DELETE", items(resource, there), None),
        ("GET", f"/tiles/{resource.name}/15/27545/13601.pbf", None), ("GET", items(resource) + "?zzz=1", None),
    ):
        answer = client.request(method, address, json=body, headers=town.NOBODY)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), (method, address, answer.text)
    named = [c["id"] for c in client.get("/collections").json()["collections"]]
    assert resource.name not in named
    assert rows(connection, resource) == before


@each_hidden
def test_hidden_nouns_are_there_for_who_may_see(web: Any, connection: sa.Connection, key: FieldKey, resource: Resource) -> None:
    given = town.example(resource, **town.needs(connection, resource))["properties"]
    with db.transaction(web, WORKER) as bound:
        made = write.add(bound, resource, given, None, key)
    with db.transaction(web, WORKER, read_only=True) as bound:
        page = query.page(bound, resource, Filter(), Audience.WORKER)
        assert (page.count, str(made) in page.features) == (1, True)
    other = Caller("tester", "jingwei_area", ("990102",), Audience.WORKER)
    with db.transaction(web, other, read_only=True) as bound:
        assert query.page(bound, resource, Filter(), Audience.WORKER).count == 0
    with db.transaction(web, WORKER) as bound:
        write.retire(bound, resource, made)
    with db.transaction(web, WORKER, read_only=True) as bound, pytest.raises(Gone):
        query.one(bound, resource, made, WORKER)


@each
def test_pages_hold_every_row_once_while_rows_are_added(web: Any, connection: sa.Connection, resource: Resource) -> None:
    needs = town.needs(connection, resource)

    def add(n: int) -> str:
        extra: dict[str, Any] = {"code": f"p{n}", "name": f"p{n}"} if resource.name == "areas" else {}
        return str(town.add(connection, resource.name, **needs, **extra))

    first = [add(n) for n in range(5)]
    seen: list[str] = []
    after = None
    for n in range(100):
        with db.transaction(web, WORKER, read_only=True) as bound:
            page = query.page(bound, resource, Filter(limit=2, place=tuple(after) if after else None), Audience.WORKER)
            seen += connection.scalars(sa.text("SELECT f ->> 'id' FROM json_array_elements(CAST(:f AS json)) AS f"), {"f": page.features})
        after = page.next
        if after is None:
            break
        if n < 3:
            add(100 + n)
    assert len(seen) == len(set(seen)) == rows(connection, resource)
    assert set(first) <= set(seen)


@pytest.mark.parametrize("resource", [r for r in PUBLIC if r.geometry], ids=lambda r: r.name)
def test_drawn(client: TestClient, connection: sa.Connection, resource: Resource) -> None:
    given = {"level": "grid"} if resource.name == "areas" else {}
    posted(client, connection, resource, **given)
    z = max(resource.style.zooms[0], 14)
    lon, lat = town.at(0.5, 0.5)
    x, y = connection.execute(
        sa.text("SELECT floor((:lon + 180) / 360 * 2 ^ :z)::int,"
                " floor((1 - ln(tan(radians(:lat)) + 1 / cos(radians(:lat))) / pi()) / 2 * 2 ^ :z)::int"),
        {"lon": lon, "lat": lat, "z": z},
    ).one()
    if resource.coarse:
        x, y = coarse_tile(connection, resource, z)
    drawn = client.get(f"/tiles/{resource.name}/{z}/{x}/{y}.pbf")
    assert drawn.status_code == 200
    assert resource.name.encode() in drawn.content
    assert client.get(f"/tiles/{resource.name}/{z}/0/0.pbf").status_code == 204


def coarse_tile(connection: sa.Connection, resource: Resource, z: int) -> tuple[int, int]:
    """The tile that holds the point shown to the public."""
    x, y = connection.execute(
        sa.text(f"SELECT floor((ST_X(g) + 20037508.342789244) / 40075016.685578488 * 2 ^ :z)::int,"
                f" floor((20037508.342789244 - ST_Y(g)) / 40075016.685578488 * 2 ^ :z)::int"
                f" FROM (SELECT ST_Transform(geom_coarse, 3857) AS g FROM {resource.name} LIMIT 1) AS one"),
        {"z": z},
    ).one()
    return x, y


def rows(connection: sa.Connection, resource: Resource) -> int:
    """How many rows there are."""
    return int(connection.scalar(sa.text(f"SELECT count(*) FROM {resource.name}")) or 0)


# Rules of single fields, and what breaks each.
def broken(resource: Resource) -> Iterator[tuple[str, str, object, str]]:
    """Field, what is broken, the column values that break it, the constraint that says so."""
    for field in resource.all_fields:
        if not field.stored or field.name == "path":
            continue
        check = f"{resource.name}_{field.name}_check"
        if field.secret:
            yield field.name, "plain", {f"{field.name}_masked": "13812345678", f"{field.name}_cipher": b"x", f"{field.name}_hash": b"y"}, check
            yield field.name, "half", {f"{field.name}_masked": "138****5678"}, check
            continue
        if field.required:
            yield field.name, "null", {field.name: None}, field.name
            if field.type is str and not (field.choices or field.listed or field.refers):
                yield field.name, "empty", {field.name: ""}, check
        if field.choices:
            yield field.name, "choice", {field.name: "nonsense"}, check
        elif field.type is str and not (field.listed or field.refers):
            yield field.name, "long", {field.name: "长" * (field.longest + 1)}, check
        if field.pattern:
            yield field.name, "pattern", {field.name: "'; drop"}, check
        if field.minimum is not None:
            yield field.name, "small", {field.name: field.minimum - 1}, check
        if field.maximum is not None:
            yield field.name, "large", {field.name: field.maximum + 1}, check
        if field.type is float:
            yield field.name, "nan", {field.name: float("nan")}, check
        if field.refers or field.listed:
            wrong = "nowhere" if field.type is str else uuid4()
            yield field.name, "reference", {field.name: wrong}, f"{resource.name}_{field.name}_fkey"


BROKEN = [(r, *case) for r in RESOURCES.values() for case in broken(r)]


@pytest.mark.parametrize(("resource", "field", "how", "columns", "rule"), BROKEN, ids=[f"{c[0].name}.{c[1]}-{c[2]}" for c in BROKEN])
def test_rules_hold_in_the_database_too(
    connection: sa.Connection, resource: Resource, field: str, how: str, columns: dict[str, object], rule: str
) -> None:
    # As the administrator, whom no policy binds and no model asks. What triggers compute is written after them.
    with pytest.raises(sa.exc.IntegrityError) as refused, connection.begin_nested():
        id = town.add(connection, resource.name)
        changed = ", ".join(f"{c} = :{c}" for c in columns)
        connection.execute(sa.text(f"UPDATE {resource.name} SET {changed} WHERE id = :id"), {**columns, "id": id})
    assert isinstance(refused.value.orig, psycopg.Error)
    diagnosis = refused.value.orig.diag
    assert (diagnosis.constraint_name or diagnosis.column_name) == rule
    told = db.meaning(refused.value.orig)
    assert told.facts.get("field") == field


# What breaks each rule over several fields. Every declared rule must be here.
EARLY, LATE = "2026-01-01T00:00:00+08:00", "2026-02-01T00:00:00+08:00"
BREAKS: dict[str, dict[str, object]] = {
    "areas.validity": {"valid_from": LATE, "valid_to": EARLY},
    "activations.period": {"opened_at": LATE, "closed_at": EARLY},
    "posts.someone": {"holder": None},
    "posts.validity": {"starts_at": LATE, "ends_at": EARLY},
    "incidents.order": {"reported_at": LATE, "closed_at": EARLY},
    "incidents.impartial": dict.fromkeys(("lead", "against"), "00000000-0000-0000-0000-000000000001"),
    "incidents.one_lead": {"lead": "00000000-0000-0000-0000-000000000001", "lead_area": town.A},
    "duty_items.body": {"by": "organisation", "organisation": None},
    "duty_items.admission": {"part": "admit", "by": "street"},
    "duty_items.period": {"starts_at": LATE, "ends_at": EARLY},
    "zones.authority": {"help_phone": None},
    "zones.period": {"starts_at": LATE, "planned_end": EARLY},
    "zones.lifted": {"state": "lifted", "lifted_at": None},
}
RULES = [(r, rule) for r in RESOURCES.values() for rule in r.rules]


@pytest.mark.parametrize(("resource", "rule"), RULES, ids=[f"{r.name}.{rule.name}" for r, rule in RULES])
def test_rules_over_several_fields_hold_and_say_so(
    client: TestClient, connection: sa.Connection, resource: Resource, rule: Any
) -> None:
    columns = BREAKS[f"{resource.name}.{rule.name}"]
    name = f"{resource.name}_{rule.name}_check"
    id = town.add(connection, resource.name)
    with pytest.raises(sa.exc.IntegrityError) as refused, connection.begin_nested():
        changed = ", ".join(f"{c} = :{c}" for c in columns)
        connection.execute(sa.text(f"UPDATE {resource.name} SET {changed} WHERE id = :id"), {**columns, "id": id})
    assert isinstance(refused.value.orig, psycopg.Error)
    assert refused.value.orig.diag.constraint_name == name
    given = town.example(resource, **town.needs(connection, resource), **{k: v for k, v in columns.items() if k != "geom"})
    if "geom" in columns:
        given["geometry"] = None
    told = client.post(items(resource), json=given)
    if any(column in {field.name for field in resource.fields if field.moved} for column in columns):
        assert (told.status_code, told.json()["title"]) == (422, "内容不符合规则。")  # nobody writes it by hand, right or wrong
    else:
        assert (told.status_code, told.json()["rule"], told.json()["detail"]) == (422, name, rule.message)


@each
def test_placed_when_it_has_a_place(connection: sa.Connection, resource: Resource) -> None:
    id = town.add(connection, resource.name)
    scope = connection.scalar(sa.text(f"SELECT scope FROM {resource.name} WHERE id = :id"), {"id": id})
    if resource.place is not Place.NONE or resource.of_area:
        assert scope == town.A
    else:
        assert scope.startswith(town.PREFIX)


@each
def test_written_down_when_it_changes(connection: sa.Connection, resource: Resource) -> None:
    id = town.add(connection, resource.name)
    connection.execute(sa.text(f"UPDATE {resource.name} SET source = 'again' WHERE id = :id"), {"id": id})
    connection.execute(sa.text(f"UPDATE {resource.name} SET retired_at = now() WHERE id = :id"), {"id": id})
    journal = connection.execute(
        sa.text("SELECT operation, version, patch FROM changes WHERE noun = :noun AND feature = :id ORDER BY id"),
        {"noun": resource.name, "id": id},
    ).all()
    assert [(row.operation, row.version) for row in journal] == [("add", 1), ("change", 2), ("retire", 3)]
    assert journal[1].patch == {"source": "", "version": 1}


def test_accounts_of_declarations_are_complete() -> None:
    assert set(BREAKS) == {f"{r.name}.{rule.name}" for r, rule in RULES}
    for resource in RESOURCES.values():
        for field in resource.fields:
            assert field.title
            if field.refers and field.refers != "area_paths":
                assert field.refers in RESOURCES
