"""A file that is none of our nouns: a layer of its own, from the form to the map and back, for those it is meant for."""

import json
import re
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from geo import db, layering, layers
from geo.intake import Order
from geo.layering import Wish
from geo.receiving import Working
from tests import town
from tests.access.answers import layers as decoded

WELLS = "井号,水深,备注,经度,纬度\n"
LEADER = {"Authorization": f"Bearer {town.LEADER}"}
PAYLOADS = (Path(__file__).parents[1] / "maps" / "payloads.txt").read_text(encoding="utf-8").splitlines()


class Senders:
    """Files on their way, sent by whom a test names, and the worker that does each step."""

    def __init__(self, client, working):
        self.client, self.working = client, working

    def sent(self, content, wish, name="水井.csv", who=LEADER, **choices):
        data = {"as_layer": json.dumps(wish), "datum": "cgcs2000", **choices}
        answer = self.client.post("/uploads", files={"file": (name, content)}, data=data, headers=who)
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        self.working.read(UUID(id))
        return id

    def told(self, id, who=LEADER):
        return self.client.get(f"/uploads/{id}", headers=who).json()

    def step(self, id, step, who=LEADER, **how):
        answer = self.client.post(f"/uploads/{id}/{step}", json=how, headers=who)
        assert answer.status_code == 202, answer.text
        getattr(self.working, step)(UUID(id))
        return self.told(id, who)

    def layer(self, content, wish, who=LEADER, **how):
        id = self.sent(content, wish, who=who)
        upload = self.step(id, "apply", who=who, **how)
        assert upload["state"] == "applied", upload
        return id


@pytest.fixture
def senders(live, key, live_client):
    engine = db.engine(live.url("jingwei_loader"), pool=2)
    yield Senders(live_client, Working(engine, key, live_client.app.state.home))
    engine.dispose()


@pytest.fixture
def come(live_engine):
    """The headers of somebody with one appointment."""
    def come(login, role, *areas):
        with live_engine.begin() as connection:
            return town.come(connection, login, role, *areas)
    return come


def wells(*lines):
    x, y = town.at(0.5, 0.5)
    return (WELLS + "".join(f"{line},{x + n / 10_000},{y}\n" for n, line in enumerate(lines))).encode()


def listed(client, who=None):
    answer = client.get("/layers", headers=who)
    assert answer.status_code == 200, answer.text
    return [layer["title"] for layer in answer.json()["layers"]]


def test_a_file_becomes_a_layer_and_is_taken_back(live_client, live_engine, senders):
    content = wells("0012,3.5,好,", "0013,4,,", "0014,-2,旧,").replace(b",,1", b",1")
    id = senders.sent(content, {"title": "水井", "audience": "public", "color": "#0a7d3c"})
    upload = senders.told(id)
    assert (upload["state"], upload["noun"], upload["counts"]["new"]) == ("ready", "layers", 3), upload
    rows = live_client.get(f"/uploads/{id}/difference", headers=LEADER).json()["rows"]
    assert [row["values"] for row in rows][:1] == [{"井号": "0012", "水深": 3.5, "备注": "好"}] and rows[0]["lon"] == pytest.approx(town.at(0.5, 0.5)[0])
    assert live_client.get(f"/uploads/{id}/tiles/0/0/0.mvt", headers=LEADER).content and listed(live_client) == []
    assert senders.step(id, "apply")["state"] == "applied"

    # Everybody is shown it, listed, as a collection, feature by feature, as a sheet, and drawn.
    (layer,) = live_client.get("/layers").json()["layers"]
    assert layer["id"] == id and (layer["kind"], layer["rows"], layer["color"], layer["scope"]) == ("point", 3, "#0A7D3C", town.PREFIX)
    assert layer["columns"] == [{"name": "井号", "type": "text"}, {"name": "水深", "type": "number"}, {"name": "备注", "type": "text"}]
    assert id in {c["id"] for c in live_client.get("/collections").json()["collections"]}
    assert live_client.get(f"/collections/{id}").json()["title"] == "水井"
    found = live_client.get(f"/layers/{id}/items?limit=2").json()
    assert [f["properties"]["水深"] for f in found["features"]] == [3.5, 4] and found["features"][0]["geometry"]["type"] == "Point"
    rest = live_client.get(found["links"][1]["href"]).json()
    assert [f["properties"]["井号"] for f in rest["features"]] == ["0014"] and len(rest["links"]) == 1
    x, y = town.at(0.5, 0.5)
    near = f"{x - 1e-5},{y - 1e-5},{x + 1e-5},{y + 1e-5}"
    assert live_client.get(f"/layers/{id}/items?bbox={near}").json()["numberReturned"] == 1
    first = found["features"][0]
    assert live_client.get(f"/layers/{id}/items/{first['id']}").json() == first
    assert live_client.get(f"/layers/{id}/items/{id}").status_code == 404
    sheet = live_client.get(f"/layers/{id}/items?f=csv").text.lstrip("\ufeff").splitlines()
    assert sheet[0] == "井号,水深,备注,lon,lat" and sheet[3].startswith("0014,-2,旧,")
    tile = live_client.get(f"/layers/{id}/tiles/0/0/0.mvt?v={layer['version']}")
    assert len(decoded(tile.content)[id]) == 3 and tile.headers["cache-control"].startswith("public, max-age")
    assert "no-cache" in live_client.get(f"/layers/{id}/tiles/0/0/0.mvt?v=99").headers["cache-control"]
    card = live_client.get(f"/identify?lon={x}&lat={y}&z=18&own={id}").text
    assert "水井" in card and "0012" in card and "0014" not in card
    page = live_client.get("/", headers={"Accept": "text/html"}).text
    assert f'data-layer="{id}"' in page and f"/layers/{id}/tiles/" in page

    assert senders.step(id, "undo")["state"] == "undone"
    assert listed(live_client) == [] and live_client.get(f"/layers/{id}/items").status_code == 404
    assert live_client.get(f"/?f=html&layers={id}").status_code == 200
    with live_engine.connect() as connection:
        done = connection.execute(sa.text("SELECT operation FROM changes WHERE noun = 'layers' ORDER BY id")).scalars().all()
    assert done == ["batch", "retire", "undo"]


def test_a_later_file_is_the_next_edition(live_client, senders):
    id = senders.layer(wells("1,3,a", "2,4,b"), {"title": "水井", "audience": "public"})
    later = senders.sent(wells("1,3,a", "2,5,b", "3,6,c"), {"id": id})
    assert senders.told(later)["counts"] == {"new": 2, "changed": 0, "unchanged": 1, "conflict": 0, "refused": 0, "missing": 1}
    # Whoever changed the layer meanwhile is looked at first.
    assert live_client.patch(f"/layers/{id}", json={"title": "井"}).json()["version"] == 2
    assert senders.step(later, "apply")["state"] == "ready"
    assert senders.step(later, "apply")["state"] == "applied"
    assert [f["properties"]["水深"] for f in live_client.get(f"/layers/{id}/items").json()["features"]] == [3, 5, 6]
    assert senders.step(later, "undo")["state"] == "undone", senders.told(later)
    assert [f["properties"]["水深"] for f in live_client.get(f"/layers/{id}/items").json()["features"]] == [3, 4]
    assert listed(live_client) == ["井"]


def test_it_is_shown_to_those_for_whom_it_is(live_client, senders, come):
    one, two = "990101001001", "990101001002"
    first = come("first", "community_leader", one)
    for audience in ("public", "workers", "leaders"):
        senders.layer(wells("1,3,a"), {"title": audience, "audience": audience}, who=first)
    shown = {
        "nobody": (town.NOBODY, ["public"]),
        "resident": (come("resident", "resident"), ["public"]),
        "expert": (come("expert", "expert", one), ["public"]),
        "administrator": (come("admin", "system_admin"), ["public"]),
        "a worker in a grid of the community": (come("in-a", "grid_worker", town.A), ["public", "workers"]),
        "a worker of several": (come("in-ac", "grid_worker", town.A, town.C), ["public", "workers"]),
        "a worker elsewhere": (come("in-c", "grid_worker", town.C), ["public"]),
        "the leader": (first, ["public", "workers", "leaders"]),
        "the leader next door": (come("second", "community_leader", two), ["public"]),
        "the street": (come("street", "street", town.PREFIX), ["public", "workers", "leaders"]),
    }
    everything = {layer["title"]: layer["id"] for layer in live_client.get("/layers", headers=first).json()["layers"]}
    x, y = town.at(0.5, 0.5)
    for who, (headers, titles) in shown.items():
        assert listed(live_client, headers) == titles, who
        own = ",".join(everything.values())
        card = live_client.get(f"/identify?lon={x}&lat={y}&z=18&own={own}", headers=headers).text
        for title, id in everything.items():
            status = 200 if title in titles else 404
            for path in ("", "/items", "/items?f=csv", "/tiles/0/0/0.mvt"):
                assert live_client.get(f"/layers/{id}{path}", headers=headers).status_code == status, (who, title, path)
            assert (f"<h3>{title}</h3>" in card) == (title in titles), (who, title)
    tile = live_client.get(f"/layers/{everything['leaders']}/tiles/0/0/0.mvt?v=1", headers=first)
    assert "private" in tile.headers["cache-control"]


def test_who_loads_for_its_area_looks_after_it(live, live_engine, live_client, senders, come):
    one, two = "990101001001", "990101001002"
    first, second, worker = come("first", "community_leader", one), come("second", "community_leader", two), come("worker-a", "grid_worker", town.A)
    id = senders.layer(wells("1,3,a"), {"title": "井", "audience": "public"}, who=first)
    for who, status in ((worker, 403), (second, 403), (town.NOBODY, 401)):
        assert live_client.patch(f"/layers/{id}", json={"title": "别的"}, headers=who).status_code == status
        assert live_client.delete(f"/layers/{id}", headers=who).status_code == status
    # Nor may the next edition come from elsewhere.
    assert senders.told(senders.sent(wells("9,9,z"), {"id": id}, who=second), second)["state"] == "refused"
    changed = live_client.patch(f"/layers/{id}", json={"title": "新井", "color": "#aa0000", "audience": "leaders"}, headers=first)
    assert (changed.status_code, changed.json()["color"], changed.json()["audience"], changed.headers["etag"]) == (200, "#AA0000", "leaders", '"v2"')
    assert listed(live_client) == [] and live_client.patch(f"/layers/{id}", json={"title": "别的"}, headers=second).status_code == 404
    assert live_client.delete(f"/layers/{id}", headers=first | {"If-Match": '"v1"'}).status_code == 412
    assert live_client.patch(f"/layers/{id}", json={"title": "一\n二"}, headers=first).status_code == 422
    # Whoever keeps the system ends what they do not see.
    with live_engine.begin() as connection:
        keeper = town.caller(connection, "keeper", "system_admin")
    web = db.engine(live.url("jingwei_web"), pool=1)
    with db.transaction(web, keeper) as connection:
        assert layers.listed(connection) == []
        layers.changed(connection, UUID(id), {"retired": True})
    web.dispose()
    assert live_client.get(f"/layers/{id}", headers=first).status_code == 404


def test_whose_it_is_is_asked_of_who_answers_for_several(live_client, senders, come):
    one, two = "990101001001", "990101001002"
    both = come("both", "community_leader", one, two)
    id = senders.sent(wells("1,3,a"), {"title": "井"}, who=both)
    refusal = senders.told(id, both)["refusal"]["facts"]
    assert (refusal["option"], set(refusal["choices"])) == ("as_layer", {one, two})
    for scope, state in ((town.PREFIX, "refused"), ("990101009", "refused"), (two, "ready")):
        live_client.patch(f"/uploads/{id}", json={"as_layer": {"title": "井", "scope": scope}}, headers=both)
        senders.working.read(UUID(id))
        assert senders.told(id, both)["state"] == state
    senders.step(id, "apply", who=both)
    assert live_client.get(f"/layers/{id}", headers=both).json()["scope"] == two


def test_nothing_personal_is_taken_in(live_client, live_engine, senders):
    x, y = town.at(0.5, 0.5)
    lines = [f"井{n},{'好' if n < 900 else '13800138' + str(n)[-3:]},139001390{n % 100:02},吸毒人员,{x},{y}" for n in range(1200)]
    content = ("井号,备注,手机号,类别,经度,纬度\n" + "\n".join(lines) + "\nx,好,,,,\n").encode()
    id = senders.sent(content, {"title": "井", "audience": "public"})
    upload = senders.told(id)
    assert upload["state"] == "ready" and set(upload["told"]["dropped"]) | set(upload["told"]["refused"]) == {"备注", "手机号", "类别"}, upload
    assert upload["counts"]["refused"] == 1
    assert senders.step(id, "apply", valid_only=True)["state"] == "applied"
    assert live_client.get(f"/layers/{id}").json()["columns"] == [{"name": "井号", "type": "text"}]
    with live_engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT string_agg(properties::text, '') FROM layer_features")).scalar_one()
        kept += connection.execute(sa.text("SELECT string_agg(record::text || value, '') FROM load_problems")).scalar_one()
    assert not {"138001", "139001", "吸毒"} & {word for word in ("138001", "139001", "吸毒") if word in kept}


def test_one_layer_is_of_one_kind(live_client, senders):
    shapes = [town.point(0.5, 0.5), town.box(0.1, 0.1, 0.3, 0.3), town.box(0.4, 0.1, 0.6, 0.3)]
    mixed = json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"名": f"{n}"}, "geometry": shape} for n, shape in enumerate(shapes)
    ]}).encode()
    id = senders.sent(mixed, {"title": "地块", "audience": "public"}, name="a.geojson")
    refusal = senders.told(id)["refusal"]
    assert refusal["facts"] == {"option": "as_layer", "choices": ["point", "polygon"]}, refusal
    live_client.patch(f"/uploads/{id}", json={"as_layer": {"title": "地块", "audience": "public", "kind": "polygon"}})
    senders.working.read(UUID(id))
    assert (senders.told(id)["counts"]["new"], senders.told(id)["counts"]["refused"]) == (2, 1)
    assert senders.step(id, "apply", valid_only=True)["state"] == "applied"
    assert [f["geometry"]["type"] for f in live_client.get(f"/layers/{id}/items").json()["features"]] == ["MultiPolygon"] * 2
    sheet = live_client.get(f"/layers/{id}/items?f=csv").text.splitlines()
    assert sheet[0].endswith("geojson") and len(sheet) == 3
    bare = senders.sent("名\n甲\n".encode(), {"title": "无"}, name="b.csv")
    assert "没有坐标" in senders.told(bare)["refusal"]["sentence"]


def test_text_is_data_wherever_it_comes(live_client, senders):
    x, y = town.at(0.5, 0.5)
    properties = {text: text for text in PAYLOADS} | {"公式": "=1+1"}
    found = json.dumps({"type": "Feature", "properties": properties, "geometry": town.point(0.5, 0.5)}, ensure_ascii=False).encode()
    id = senders.sent(found, {"title": "井", "audience": "public"}, name="<img onerror=1>{{ 7*7191 }}.geojson")
    assert senders.step(id, "apply")["state"] == "applied"
    titles = [text for text in PAYLOADS if len(text) <= 80 and re.search("{{|</|onerror", text)][:3]
    assert len(titles) == 3
    for title in titles:
        assert live_client.patch(f"/layers/{id}", json={"title": title, "about": title}).json()["title"] == title
        for path in (f"/identify?lon={x}&lat={y}&z=18&own={id}", "/?f=html"):
            page = live_client.get(path).text
            assert "50337" not in page
            assert not [text for text in PAYLOADS if "<" in text and text in page], path
    assert "'=1+1" in live_client.get(f"/layers/{id}/items?f=csv").text
    kept = live_client.get(f"/layers/{id}/items").json()["features"][0]["properties"]
    # A quote before all may be a spreadsheet's way of saying that this is text.
    assert {name: value.lstrip("'") for name, value in kept.items()} == {name: value.lstrip("'") for name, value in properties.items()}


def test_a_wish_that_is_none_is_refused(live_client):
    for wish in (
        "x", "[]", {"audience": "workers"}, {"title": "井", "audience": "partners"}, {"title": "井", "color": "red"}, {"title": "井", "opacity": 2},
        {"title": "井" * 81}, {"title": "井", "kind": "dot"}, {"title": "井", "more": 1}, {"id": "7"},
    ):
        data = {"as_layer": wish if isinstance(wish, str) else json.dumps(wish)}
        assert live_client.post("/uploads", files={"file": ("a.csv", wells("1,3,a"))}, data=data).status_code == 422, wish


def test_a_tile_or_layer_that_is_none(live_client, senders):
    id = senders.layer(wells("1,3,a"), {"title": "井", "audience": "public"})
    assert live_client.get(f"/layers/{id}/tiles/1/5/0.mvt").status_code == 400
    assert live_client.get(f"/layers/{id}/items?bbox=x").status_code == 400
    assert live_client.get(f"/layers/{id}/items?名=x").status_code == 400
    assert live_client.get("/layers/00000000-0000-7000-8000-0000000000aa").status_code == 404
    assert live_client.get("/identify?lon=1&lat=1&own=x").status_code == 400
    assert live_client.get("/?f=html&layers=x").status_code == 400


def test_what_it_is_called_keeps_no_file_from_being_taken_back(live_client, senders):
    id = senders.layer(wells("1,3,a"), {"title": "水井", "audience": "public"})
    later = senders.sent(wells("1,4,a"), {"id": id})
    senders.step(later, "apply")
    assert live_client.patch(f"/layers/{id}", json={"title": "井", "color": "#aa0000", "audience": "public"}, headers=LEADER).status_code == 200
    assert senders.step(later, "undo")["state"] == "undone", senders.told(later)
    (layer,) = live_client.get("/layers").json()["layers"]
    assert (layer["title"], layer["color"], layer["rows"]) == ("井", "#AA0000", 1)
    # Nor does the name keep the layer; an edition that stands on it does.
    another = senders.layer(wells("1,5,a"), {"id": id})
    assert senders.step(id, "undo")["state"] == "applied"
    assert senders.step(another, "undo")["state"] == "undone" and senders.step(id, "undo")["state"] == "undone"
    assert listed(live_client) == []


def test_old_editions_are_cleared_away(live_client, live_engine, senders):
    id = senders.layer(wells("1,0,a"), {"title": "水井", "audience": "public"})
    editions = [id] + [senders.layer(wells(f"1,{n},a"), {"id": id}) for n in range(1, 5)]
    back = senders.layer(wells("1,9,a"), {"id": id})
    senders.step(back, "undo")

    def kept():
        senders.working.clear()
        with live_engine.connect() as connection:
            there = {str(one) for one in connection.execute(sa.text("SELECT DISTINCT edition FROM layer_features")).scalars()}
        return [edition in there for edition in [*editions, back]]

    assert kept() == [True] * 6
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE changes SET at = at - interval '31 days' WHERE noun = 'layers'"))
    # The one that is shown, and two before it.
    assert kept() == [False, False, True, True, True, False]
    assert [senders.step(edition, "undo")["state"] for edition in editions[:2:-1]] == ["undone", "undone"]
    assert senders.step(editions[2], "undo")["state"] == "applied" and "已经按期清除" in senders.told(editions[2])["refusal"]["sentence"]
    assert live_client.get(f"/layers/{id}/items").json()["features"][0]["properties"]["水深"] == 2


def test_the_terminal_makes_one_too(live, live_client, live_engine, tmp_path):
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    (tmp_path / "水井.csv").write_bytes(wells("1,3,a", "2,,b"))
    order = Order(tmp_path / "水井.csv", "", datum="cgcs2000")
    report = layering.load(loader, order, Wish(title="水井", audience="public"))
    assert report.stored == 2 and "自有图层" in str(report)
    (layer,) = live_client.get("/layers").json()["layers"]
    assert (layer["id"], layer["scope"], layer["title"]) == (str(report.batch), town.PREFIX, "水井")
    (tmp_path / "水井.csv").write_bytes(wells("1,3,a"))
    assert layering.load(loader, order, Wish(id=layer["id"])).unchanged == 1
    assert live_client.get("/layers").json()["layers"][0]["rows"] == 1
    with live_engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'")).scalar_one() == 0
    loader.dispose()
