"""Files to take along: masked and at once where nobody is in them; else asked for by one, allowed by another, taken once."""

import csv
import io
import json
import re
import threading
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from python_calamine import CalamineWorkbook
from starlette.testclient import TestClient
from typer.testing import CliRunner

from api import sending
from geo import db, door, exporting, exports, files, sheets
from geo.catalog import RESOURCES
from geo.resource import Audience
from tests import town
from tests.api.test_unmasking import NAME, PHONE, broken, last, resident, told

COMMUNITY = "990101001001"
WANTED = {"noun": "residents", "personal": True, "purpose": "emergency_contact", "note": "台风转移逐户通知"}


@pytest.fixture
def leader(connection: sa.Connection) -> dict[str, str]:
    """The leader of the western community, who may export."""
    return town.come(connection, "head", "community_leader", COMMUNITY)


@pytest.fixture
def chief(connection: sa.Connection) -> dict[str, str]:
    """Somebody of the street, who may approve."""
    return town.come(connection, "chief", "street", town.PREFIX)


def exported(client: TestClient, headers: dict[str, str], **asked: object) -> Any:
    return client.post("/exports", json=asked, headers=headers)


def requested(client: TestClient, headers: dict[str, str], **asked: object) -> str:
    made = exported(client, headers, **(WANTED | asked))
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/exports/{made.json()['id']}"
    return str(made.json()["id"])


def approve(client: TestClient, id: str, headers: dict[str, str], verb: str = "approve", opinion: str = "同意") -> Any:
    return client.post(f"/exports/{id}/{verb}", json={"opinion": opinion}, headers=headers)


def fetched(client: TestClient, id: str, headers: dict[str, str]) -> Any:
    return client.post(f"/exports/{id}/file", headers=headers)


def rows(text: str, noun: str = "residents") -> list[dict[str, str]]:
    """The lines of a csv by the names of the fields."""
    names = {title: name for name, title in sheets.headings(RESOURCES[noun]).items()}
    return [{names[head]: cell for head, cell in line.items()} for line in csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))]


# Nobody in them


def test_a_file_of_what_one_may_see(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    inside, outside = (town.add(connection, "incidents", town.point(x, 0.5), number=f"n{x}", title="=1+1", description="里") for x in (0.5, 2.5))
    client.patch(f"/collections/incidents/items/{inside}", json={"properties": {"reporter_phone": PHONE}})
    since = last(connection)
    answer = exported(client, leader, noun="incidents")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    name = answer.headers["content-disposition"]
    assert name.startswith('attachment; filename="incidents-') and name.endswith('-head.csv"')
    [row] = rows(answer.text, "incidents")
    assert (row["id"], row["title"], row["reporter_phone"], row["description"], row["grid_path"]) == (str(inside), "'=1+1", "138****5678", "里", town.A)
    assert str(outside) not in answer.text and "watermark" not in row and "水印" not in answer.text
    [entry] = told(connection, since)
    assert (entry.actor, entry.action, entry.noun, entry.feature, entry.purpose, entry.result) == ("head", "export", "incidents", "?", "service", "asked")


@pytest.mark.parametrize("noun", [r.name for r in RESOURCES.values() if not r.personal])
def test_every_noun_in_every_format(client: TestClient, connection: sa.Connection, leader: dict[str, str], noun: str) -> None:
    own = "SELECT id FROM areas WHERE path = :path"
    id = str(connection.scalar(sa.text(own), {"path": town.A}) if noun == "areas" else town.add(connection, noun))
    for kind in ("csv", "geojson", "geojsons", "xlsx"):
        answer = exported(client, leader, noun=noun, format=kind)
        assert answer.status_code == 200, answer.text
        if kind == "xlsx":
            with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
                assert any(id in book.read(name).decode() for name in book.namelist())
        else:
            assert id in answer.text
        if kind == "geojson":
            told_ = json.loads(answer.text)
            assert (told_["type"], [f["id"] for f in told_["features"]].count(id)) == ("FeatureCollection", 1)


def test_conditions_and_fields(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    for n, state in enumerate(("lost", "lost", "intact")):
        town.add(connection, "parts", town.point(0.1 + n / 4, 0.5), code=f"p{n}", state=state)
    box = [*town.at(0, 0), *town.at(0.3, 2)]
    since = last(connection)
    found = rows(exported(client, leader, noun="parts", fields=["code", "state"], filter={"equals": {"state": "lost"}, "bbox": box}).text, "parts")
    assert [(row["code"], row["state"]) for row in found] == [("p0", "丢失")]
    assert set(found[0]) == {"id", "version", "code", "state", "street_name", "street_path", "community_name", "community_path", "grid_name", "grid_path", "scope", "lon", "lat"}
    assert told(connection, since)[0].feature == "?state,bbox"
    other = str(town.add(connection, "parts", town.point(1.5, 0.5)))
    for path, count in ((town.A, 3), (town.B, 1), (COMMUNITY, 4), (town.C, 0)):
        inside = rows(exported(client, leader, noun="parts", filter={"within": path}).text, "parts")
        assert (len(inside), other in [row["id"] for row in inside]) == (count, path in (town.B, COMMUNITY)), path
    for wrong, field in (
        ({"fields": ["zzz"]}, "fields"), ({"filter": {"equals": {"zzz": 1}}}, "filter"), ({"filter": {"equals": {"state": "?"}}}, "filter"),
        ({"filter": {"bbox": [1, 2]}}, "filter"), ({"filter": {"within": "'; --"}}, "filter"), ({"filter": {"bbox": [0, 0, 0, 91]}}, "filter"), ({"format": "exe"}, "format"), ({"noun": "zzz"}, "noun"),
        ({"noun": "trail"}, "noun"), ({"purpose": "x"}, "purpose"), ({"zzz": 1}, "zzz"), ({"crs": "EPSG:3857"}, "crs"), ({"crs": "EPSG:4549"}, "crs"), ({"encoding": "gbk", "format": "xlsx"}, "encoding"), ({"encoding": "latin-1"}, "encoding"), ({"noun": "units", "format": "gpkg"}, "format"), ({"personal": "yes"}, "personal"),
    ):
        refused = exported(client, leader, **({"noun": "parts"} | wrong))
        assert (refused.status_code, (refused.json().get("rule") or refused.json()["field"]).split(".")[0]) == (422, field), wrong
    assert exported(client, leader, noun="incidents", filter={"equals": {"reporter_phone": PHONE}}).status_code == 422


def test_who_may_export(client: TestClient, connection: sa.Connection) -> None:
    assert exported(client, town.NOBODY, noun="parts").status_code == 401
    for role, *areas in (("grid_worker", town.A), ("steward", town.A), ("resident",), ("audit_admin",), ("security_admin",)):
        assert exported(client, town.come(connection, role, role, *areas), noun="parts").status_code == 403, role


def test_no_trail_no_file(client: TestClient, connection: sa.Connection, leader: dict[str, str]) -> None:
    id = str(town.add(connection, "parts"))
    broken(connection)
    refused = exported(client, leader, noun="parts")
    assert refused.status_code == 503 and id not in refused.text


def test_what_everybody_below_worker_may_see_is_what_is_written(web: Any, connection: sa.Connection) -> None:
    """The verb itself, as the public: no abilities give it a route, and its columns are still the public's."""
    resource = RESOURCES["incidents"]
    town.add(connection, "incidents", town.point(0.123456, 0.654321), description="机密", title="题")
    with db.transaction(web, db.Caller(), read_only=True) as bound:
        for kind in ("csv", "geojson", "xlsx"):
            to = io.BytesIO()
            assert exporting.written(bound, exporting.Order(resource, kind, Audience.PUBLIC), to) == 1
            assert "机密".encode() not in to.getvalue() and b"122.60123456" not in to.getvalue()


def test_more_than_a_page_is_for_is_for_the_command(
    client: TestClient, connection: sa.Connection, leader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        town.add(connection, "parts")
    monkeypatch.setattr(sending, "ROWS", 2)
    over = exported(client, leader, noun="parts")
    assert (over.status_code, over.json()["most"]) == (413, 2)
    monkeypatch.setattr(sending, "ROWS", 3)
    assert exported(client, leader, noun="parts").status_code == 200


def test_memory_does_not_grow_with_the_rows(connection: sa.Connection, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 50)
    connection.exec_driver_sql("ALTER TABLE parts DISABLE TRIGGER USER")
    connection.exec_driver_sql(
        "INSERT INTO parts (name, code, scope, geom) SELECT repeat('井', 200), n, '990101001001001', ST_SetSRID(ST_Point(122.605, 29.805), 4326)"
        " FROM generate_series(1, 2500) AS n; UPDATE parts SET state = 'lost' WHERE code::int > 500"
    )
    for kind in ("csv", "geojson", "gpkg"):
        peaks = {}
        for state, count in (("intact", 500), ("lost", 2000)):
            order = exporting.Order(RESOURCES["parts"], kind, want=exporting.Filter(equals={"state": state}))
            with db.transaction(web, db.Caller("x", "jingwei_area", (town.PREFIX,), Audience.WORKER), read_only=True) as bound:
                tracemalloc.start()
                with open("/dev/null", "wb") as nowhere:
                    assert exporting.written(bound, order, nowhere) == count
                peaks[count] = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
        # The names of 1,500 rows alone are 0.6 MB as text in memory.
        assert peaks[2000] < peaks[500] + 3e5, (kind, peaks)


# With persons in them


def test_a_second_person_and_then_the_file(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    inside, outside = resident(client, connection), resident(client, connection, 2.5, code="r2")
    since = last(connection)
    id = requested(client, leader)
    early = fetched(client, id, leader)
    assert (early.status_code, early.json()["state"]) == (409, "requested")
    [waiting] = [e for e in client.get("/exports", headers=chief).json()["exports"] if e["decidable"]]
    assert (waiting["id"], waiting["actor"], waiting["expected"], waiting["areas"], waiting["clear"], waiting["note"]) == (
        id, "head", 1, ["澜溪社区"], True, WANTED["note"]
    )
    assert approve(client, id, chief).json()["state"] == "approved"
    answer = fetched(client, id, leader)
    assert answer.status_code == 200, answer.text
    [row] = rows(answer.text)
    assert (row["id"], row["name"], row["phone"]) == (inside, NAME, PHONE)
    assert outside not in answer.text
    number = client.get(f"/exports/{id}", headers=leader).json()["number"]
    assert row["watermark"].startswith("Head (head) 20") and row["watermark"].endswith(f"No.{number}")
    assert answer.headers["content-disposition"].endswith(f'-head-no{number}.csv"')
    after = client.get(f"/exports/{id}", headers=leader).json()
    assert (after["state"], after["rows"], after["decided_by"], after["opinion"], after["takeable"]) == ("taken", 1, "chief", "同意", False)
    again = fetched(client, id, leader)
    assert (again.status_code, again.json()["state"], NAME in again.text) == (409, "taken", False)
    assert [(r.actor, r.action, r.feature, r.result) for r in told(connection, since) if r.noun == "residents"] == [
        ("head", "export", id, "requested"), ("chief", "approve", id, "approved"), ("head", "export", id, "asked"),
    ]


@pytest.mark.parametrize("kind", ["gpkg", "shp"])
def test_the_web_writes_what_takes_gdal_too(
    client: TestClient, connection: sa.Connection, leader: dict[str, str], kind: str, tmp_path: Path
) -> None:
    for n in range(3):
        town.add(connection, "parts", town.point(0.1 + n / 4, 0.5), code=f"p{n}", name="井盖")
    answer = exported(client, leader, noun="parts", format=kind, crs="EPSG:4549")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == sending.KINDS[kind]
    ending = exporting.ENDINGS.get(kind, kind)
    assert answer.headers["content-disposition"].endswith(f'-head.{ending}"')
    path = tmp_path / f"out.{ending}"
    path.write_bytes(answer.content)
    with files.opened(path) as (_, batches):
        [batch] = list(batches)
    assert batch.lon is not None and batch.lat is not None
    # Within a millisecond their ids come in any order.
    assert sorted(round(x, 9) for x in batch.lon.tolist()) == [town.at(0.1 + n / 4, 0)[0] for n in range(3)]


def test_an_approved_file_is_written_as_who_takes_it_wishes(
    client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]
) -> None:
    incident = str(town.add(connection, "incidents", title="井盖", number="n1"))
    client.patch(f"/collections/incidents/items/{incident}", json={"properties": {"reporter_phone": PHONE}})
    id = requested(client, leader, noun="incidents", format="shp")
    approve(client, id, chief)
    wrong = client.post(f"/exports/{id}/file?crs=EPSG:3857", headers=leader)
    assert (wrong.status_code, wrong.json()["field"]) == (422, "crs")
    answer = client.post(f"/exports/{id}/file?encoding=gbk&crs=EPSG:4528", headers=leader)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        dbf, prj = archive.read("incidents.dbf"), archive.read("incidents.prj")
    assert PHONE.encode() in dbf and "井盖".encode("gbk") in dbf and b"Head (head)" in dbf and b"3_Degree_GK_Zone_40" in prj


@pytest.mark.parametrize("kind", ["geojson", "xlsx"])
def test_the_watermark_is_in_every_format(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str], kind: str) -> None:
    resident(client, connection)
    resident(client, connection, 0.7, code="r2")
    id = requested(client, leader, format=kind, fields=["name", "phone"])
    approve(client, id, chief)
    answer = fetched(client, id, leader)
    mark = "Head (head)"
    if kind == "geojson":
        found = json.loads(answer.text)
        assert found["watermark"].startswith(mark)
        assert [f["properties"]["watermark"].startswith(mark) and f["properties"]["phone"] == PHONE for f in found["features"]] == [True, True]
    else:
        heads, *lines = CalamineWorkbook.from_filelike(io.BytesIO(answer.content)).get_sheet_by_index(0).to_python()
        assert heads[-1] == "水印" and [str(line[-1]).startswith(mark) for line in lines] == [True, True]
        assert {line[heads.index("姓名")] for line in lines} == {NAME}
        with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
            sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert re.search(f"<oddHeader>[^<]*{re.escape(mark)}[^<]*</oddHeader><oddFooter>[^<]*{re.escape(mark)}", sheet)


def test_persons_need_two_even_masked(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    id = requested(client, leader, personal=False)
    approve(client, id, chief)
    text = fetched(client, id, leader).text
    assert "138****5678" in text and NAME not in text and "水印" in text
    # And what is about no person does, in clear.
    incident = str(town.add(connection, "incidents"))
    client.patch(f"/collections/incidents/items/{incident}", json={"properties": {"reporter_phone": PHONE}})
    id = requested(client, leader, noun="incidents")
    approve(client, id, chief)
    assert rows(fetched(client, id, leader).text, "incidents")[0]["reporter_phone"] == PHONE


def test_one_person_alone(client: TestClient, connection: sa.Connection) -> None:
    """Not by oneself, not through another appointment of one's own, not through what one has lent or was lent."""
    mine = town.post(connection, "chief", "street", town.PREFIX)
    chief = town.holding(connection, mine, "chief")
    account = connection.scalar(sa.text("SELECT account FROM appointments WHERE id = :id"), {"id": mine})
    second = town.holding(connection, town.accounts.appoint(connection, account, "district", [town.PREFIX]), "second")
    until = connection.scalar(sa.text("SELECT now() + interval '1 day'"))

    def lent(login: str) -> dict[str, str]:
        deputy = town.accounts.make(connection, login, login)
        return town.holding(connection, town.accounts.appoint(connection, deputy, "street", [town.PREFIX], until=until, stands_in_for=mine), login)

    deputy, other = lent("deputy"), lent("other")
    for asking, deciding in ((chief, chief), (chief, second), (chief, deputy), (second, deputy), (deputy, chief), (deputy, other)):
        id = requested(client, asking)
        for verb in ("approve", "refuse"):
            refused = approve(client, id, deciding, verb)
            assert (refused.status_code, refused.json()["rule"]) == (403, "export_log_second_person_check")
        assert client.get(f"/exports/{id}", headers=deciding).json()["decidable"] is False
        assert fetched(client, id, asking).status_code == 409
    # The rule is the table's own: whoever gets round the function meets it.
    with pytest.raises(db.Invalid) as refusal, db.translated(), connection.begin_nested():
        connection.execute(sa.text(
            "INSERT INTO export_log (export, source, target, account, persons, asked_by, actor, acting_as, opinion)"
            " SELECT id, 'requested', 'approved', account, persons, persons, actor, '', '同意' FROM exports WHERE id = :id"), {"id": id})
    assert refusal.value.facts["rule"] == "export_log_second_person_check"


def test_who_decides_where(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    id = requested(client, leader)
    worker = town.come(connection, "worker", "grid_worker", town.A)
    peer = town.come(connection, "peer", "community_leader", COMMUNITY)
    auditor = town.come(connection, "auditor", "audit_admin")
    elsewhere = town.post(connection, "elsewhere", "street", "990101001002")
    connection.execute(sa.text("UPDATE accounts SET totp_at = now()"))
    for headers, status in ((town.NOBODY, 401), (worker, 403), (peer, 403), (auditor, 403), (town.holding(connection, elsewhere, "elsewhere"), 404)):
        assert approve(client, id, headers).status_code == status
    # An auditor sees it; whoever decides elsewhere does not.
    assert client.get(f"/exports/{id}", headers=auditor).status_code == 200
    assert client.get(f"/exports/{id}", headers={"Authorization": "Bearer jw_test_elsewhere"}).status_code == 404
    security = town.come(connection, "security", "security_admin")
    connection.execute(sa.text("UPDATE accounts SET totp_at = now()"))
    assert approve(client, id, security).status_code == 200
    # Who approved cannot take the file.
    assert fetched(client, id, chief).status_code == 403
    assert approve(client, str(uuid4()), chief).status_code == 404


def test_steps_follow_only_as_declared(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    refused = requested(client, leader)
    assert approve(client, refused, chief, "refuse", opinion="理由不足").json()["state"] == "refused"
    for verb in ("approve", "refuse"):
        assert approve(client, refused, chief, verb).status_code == 409
    assert client.post(f"/exports/{refused}/withdraw", headers=leader).status_code == 409
    assert fetched(client, refused, leader).json()["state"] == "refused"
    for allowed in (False, True):
        id = requested(client, leader)
        if allowed:
            approve(client, id, chief)
        assert client.post(f"/exports/{id}/withdraw", headers=town.come(connection, f"peer{allowed}", "community_leader", COMMUNITY)).status_code == 404
        assert client.post(f"/exports/{id}/withdraw", headers=leader).json()["state"] == "withdrawn"
        assert approve(client, id, chief).status_code == 409
        assert fetched(client, id, leader).status_code == 409
    for opinion in ("", "x"):
        assert approve(client, requested(client, leader), chief, opinion=opinion).status_code == 422
    # What the table itself holds: no step that is not declared, none twice, none from where the request never was.
    id = requested(client, leader)
    insert = sa.text(
        "INSERT INTO export_log (export, source, target, account, persons, asked_by, actor, acting_as, opinion, rows)"
        " SELECT e.id, :source, :target, a.id, ARRAY[a.id], e.persons, 'x', '', 'opinion', CASE WHEN CAST(:target AS text) = 'taken' THEN 1 END"
        " FROM exports AS e, accounts AS a WHERE e.id = :id AND a.login = 'chief'")
    for source, target in (("requested", "taken"), ("approved", "taken"), ("approved", "requested"), (None, "approved"), ("requested", "lost")):
        with pytest.raises(db.GeoError), db.translated(), connection.begin_nested():
            connection.execute(insert, {"source": source, "target": target, "id": id})


def test_an_approval_lasts_a_day_and_a_request_a_week(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    id = requested(client, leader)
    approve(client, id, chief)
    connection.execute(sa.text("UPDATE export_log SET at = now() - interval '24 hours' WHERE target = 'approved'"))
    late = fetched(client, id, leader)
    assert (late.status_code, late.json()["state"]) == (409, "expired")
    connection.execute(sa.text("UPDATE export_log SET at = now() - interval '23 hours 59 minutes' WHERE target = 'approved'"))
    assert fetched(client, id, leader).status_code == 200
    id = requested(client, leader)
    connection.execute(sa.text("UPDATE exports SET at = now() - interval '7 days' WHERE id = :id"), {"id": id})
    assert client.get(f"/exports/{id}", headers=leader).json()["state"] == "expired"
    assert (approve(client, id, chief).status_code, approve(client, id, chief).json()["rule"]) == (409, "export_log_age_check")


def test_only_in_the_capacity_that_asked(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    id = requested(client, leader)
    approve(client, id, chief)
    account = connection.scalar(sa.text("SELECT id FROM accounts WHERE login = 'head'"))
    wider = town.holding(connection, town.accounts.appoint(connection, account, "street", [town.PREFIX]), "wider")
    refused = fetched(client, id, wider)
    assert (refused.status_code, f"community_leader@{COMMUNITY}" in refused.text) == (403, True)
    # Nor after it has ended.
    connection.execute(sa.text("UPDATE appointments SET valid_to = now() WHERE role = 'community_leader'"))
    assert fetched(client, id, leader).status_code == 401
    assert connection.scalar(sa.text("SELECT count(*) FROM export_log WHERE target = 'taken'")) == 0


def test_no_more_rows_than_may_leave(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    id = requested(client, leader)
    approve(client, id, chief)
    connection.exec_driver_sql("ALTER TABLE residents DISABLE TRIGGER USER")
    connection.execute(sa.text(
        "INSERT INTO residents (name, building, code, scope) SELECT '某' || n, (SELECT id FROM buildings LIMIT 1), 'm' || n, :scope"
        " FROM generate_series(1, 5000) AS n"), {"scope": town.A})
    over = exported(client, leader, **WANTED)
    assert (over.status_code, over.json()["rule"]) == (422, "exports_most_check")
    # It may have grown since it was asked for.
    grown = fetched(client, id, leader)
    assert (grown.status_code, grown.json()["most"]) == (413, 5000)
    assert NAME not in grown.text
    assert client.get(f"/exports/{id}", headers=leader).json()["state"] == "approved"
    few = requested(client, leader, filter={"equals": {"code": "m7"}})
    approve(client, few, chief)
    assert [row["name"] for row in rows(fetched(client, few, leader).text)] == ["某7"]


def test_a_request_says_why(client: TestClient, leader: dict[str, str]) -> None:
    for note in ("", "x", "给13812345678"):
        refused = exported(client, leader, **(WANTED | {"note": note}))
        assert (refused.status_code, refused.json()["rule"]) == (422, "exports_note_check"), note


def test_without_a_trail_nothing_is_taken(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    id = requested(client, leader)
    approve(client, id, chief)
    broken(connection)
    refused = fetched(client, id, leader)
    assert refused.status_code == 503 and NAME not in refused.text
    assert client.get(f"/exports/{id}", headers=leader).json()["state"] == "approved"


def test_the_functions_ask_themselves(client: TestClient, connection: sa.Connection, web: Any, leader: dict[str, str], chief: dict[str, str]) -> None:
    person = resident(client, connection)
    id = requested(client, leader)
    head, street = (door.by_token(client.app.state.engines.door, f"jw_test_{login}").caller for login in ("head", "chief"))  # type: ignore[attr-defined]
    append = sa.text("SELECT trail_appended(:actor, '', 'export', 'residents', :feature, '', '', 'asked', '')")
    opened = sa.text("SELECT clear FROM export_opened(:entry, :id, ARRAY[CAST(:person AS uuid)]) WHERE field = 'name'")

    def clear(entry: int, caller: Any = head) -> Any:
        with db.transaction(web, caller) as bound:
            return bound.scalar(opened, {"entry": entry, "id": id, "person": person})

    def entry(actor: str = "head", feature: str = id) -> int:
        return int(connection.scalar(append, {"actor": actor, "feature": feature}) or 0)

    with pytest.raises(db.Forbidden):
        clear(entry())
    approve(client, id, chief)
    for number, caller in ((0, head), (entry("chief"), head), (entry(feature=str(uuid4())), head), (entry("chief"), street)):
        with pytest.raises(db.Forbidden):
            clear(number, caller)
    assert clear(entry()) == NAME
    with pytest.raises(db.Forbidden), db.transaction(web, street) as bound:
        bound.execute(sa.text("SELECT export_taken(:entry, :id, 1)"), {"entry": entry("chief"), "id": id})
    # What other ways out will ask.
    with db.transaction(web, head) as bound:
        assert exports.approved(bound, exports.UUID(id), "residents").number
        with pytest.raises(db.Conflict):
            exports.approved(bound, exports.UUID(id), "incidents")


def test_of_two_who_decide_at_once_one_wins_and_a_file_is_taken_once(live_client: TestClient, live_engine: sa.Engine) -> None:
    with live_engine.begin() as connection:
        leader = town.come(connection, "head", "community_leader", COMMUNITY)
        deciders = [town.come(connection, f"chief{n}", "street", town.PREFIX) for n in range(4)]
        town.add(connection, "residents", name=NAME)
    for _ in range(3):
        id = requested(live_client, leader)
        answers = raced([partial(approve, live_client, id, h, v) for h, v in zip(deciders, ("approve", "refuse") * 2, strict=True)])
        assert sorted(a.status_code for a in answers) == [200, 409, 409, 409], [a.text for a in answers]
    id = requested(live_client, leader)
    approve(live_client, id, deciders[0])
    answers = raced([partial(fetched, live_client, id, leader)] * 4)
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409], [a.text for a in answers]
    assert [NAME in a.text for a in answers].count(True) == 1
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM export_log WHERE target = 'taken'")) == 1


def raced(acts: list[Any]) -> list[Any]:
    """The answers of requests made at once."""
    answers: list[Any] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(n: int) -> None:
        start.wait()
        answers[n] = acts[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# Pages


def test_the_page_asks_and_decides_without_scripts(client: TestClient, connection: sa.Connection, leader: dict[str, str], chief: dict[str, str]) -> None:
    resident(client, connection)
    html = {"Accept": "text/html"}
    form = {"noun": "residents", "format": "csv", "within": town.A, "purpose": "visit", "note": "<i>入户</i>走访", "personal": "true"}
    asked = client.post("/exports/form", data=form, headers=leader | html)
    assert [a.status_code for a in asked.history] == [303]
    assert "&lt;i&gt;入户&lt;/i&gt;走访" in asked.text and "待批准" in asked.text and "第一网格" in asked.text
    id = client.get("/exports", headers=leader).json()["exports"][0]["id"]
    page = client.get("/exports", headers=chief | html)
    assert f'action="/exports/{id}/form"' in page.text and "含个人信息明文" in page.text and page.headers["cache-control"] == "no-store"
    short = client.post(f"/exports/{id}/form", data={"target": "approved", "opinion": "x"}, headers=chief | html)
    assert (short.status_code, 'role="alert"' in short.text) == (422, True)
    alone = client.post(f"/exports/{id}/form", data={"target": "approved", "opinion": "同意"}, headers=leader | html)
    assert (alone.status_code, 'role="alert"' in alone.text) == (403, True)
    done = client.post(f"/exports/{id}/form", data={"target": "approved", "opinion": "同意"}, headers=chief | html)
    assert [a.status_code for a in done.history] == [303]
    mine = client.get("/exports", headers=leader | html | {"Accept-Language": "en"}).text
    assert f'action="/exports/{id}/file"' in mine and "Approved" in mine
    assert NAME in fetched(client, id, leader | html).text
    # A file with nobody in it comes at once; a form that is wrong is answered by its page.
    shapes = client.post("/exports/form", data={"noun": "parts", "format": "shp", "encoding": "gbk", "crs": "EPSG:4549"}, headers=leader | html)
    assert shapes.headers["content-type"] == "application/zip"
    assert '<option value="EPSG:4549">3° 带，中央经线 120°E · EPSG:4549</option>' in page_of(client, leader | html)
    assert '<option value="EPSG:4528">3° 带，中央经线 120°E · 带号 40 · EPSG:4528</option>' in page_of(client, leader | html)
    assert client.post("/exports/form", data={"noun": "parts"}, headers=leader | html).headers["content-type"].startswith("text/csv")
    wrong = client.post("/exports/form", data={"noun": "zzz"}, headers=leader | html)
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (422, True)


def page_of(client: TestClient, headers: dict[str, str]) -> str:
    return str(client.get("/exports", headers=headers).text)


# The command


def test_the_command_masks_unless_a_second_person_has_approved(
    live: Any, live_client: TestClient, live_engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api import cli
    from api.settings import settings
    from tests.conftest import HOME

    monkeypatch.setenv("JINGWEI_DATABASE_URL", live.url().render_as_string(hide_password=False))
    monkeypatch.setenv("JINGWEI_HOME", str(HOME))
    settings.cache_clear()
    try:
        with live_engine.begin() as connection:
            leader, chief = town.come(connection, "head", "community_leader", COMMUNITY), town.come(connection, "chief", "street", town.PREFIX)
        with live_engine.begin() as connection:
            building = town.add(connection, "buildings")
        body = town.example(RESOURCES["residents"], name=NAME, phone=PHONE, building=str(building))
        live_client.post("/collections/residents/items", json=body)
        run = CliRunner().invoke
        masked = tmp_path / "r.csv"
        assert run(cli.app, ["export", "residents", "-o", str(masked)]).exit_code == 0
        assert "138****5678" in masked.read_text() and NAME not in masked.read_text()
        refused = run(cli.app, ["export", "residents", "--clear", "-o", str(masked)])
        assert isinstance(refused.exception, db.Forbidden)
        id = requested(live_client, leader, format="parquet")
        assert isinstance(run(cli.app, ["export", "residents", "--clear", "--approved", id, "-o", str(tmp_path)]).exception, db.Conflict)
        approve(live_client, id, chief)
        assert isinstance(run(cli.app, ["export", "incidents", "--approved", id, "-o", str(tmp_path)]).exception, db.Conflict)
        done = run(cli.app, ["export", "residents", "--clear", "--approved", id, "-o", str(tmp_path)])
        assert done.exit_code == 0, done.exception
        [file] = tmp_path.glob("residents-*-head-no*.parquet")
        import pandas

        frame = pandas.read_parquet(file)
        assert (frame["name"].tolist(), frame["watermark"].str.contains("No.").tolist()) == ([NAME], [True])
        assert isinstance(run(cli.app, ["export", "residents", "--approved", id, "-o", str(tmp_path)]).exception, db.Conflict)
        with live_engine.begin() as connection:
            exports_told = [(r.actor, r.noun, r.result) for r in told(connection) if r.action == "export"]
        assert ("jingwei_admin", "residents", "asked on the server") in exports_told and ("head", "residents", "asked on the server") in exports_told
    finally:
        settings.cache_clear()
