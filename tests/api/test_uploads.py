"""Files on their way in: from the form to the noun and back, by who may and nobody else."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa

from geo import db
from geo.receiving import Working
from geo.uploading import file_of
from tests import town


class Worker(Working):
    """The worker, told an upload as an answer names it."""

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        return (lambda id: found(UUID(str(id)))) if name in ("read", "apply", "undo") else found


@pytest.fixture
def working(live, key, live_client):
    engine = db.engine(live.url("jingwei_loader"), pool=2)
    yield Worker(engine, key, live_client.app.state.home)
    engine.dispose()


@pytest.fixture
def box(live_engine):
    with live_engine.connect() as connection:
        return connection.execute(sa.text("SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM (SELECT ST_Extent(geom) AS e FROM areas) AS q")).one()


def rows(engine, query, **values):
    with engine.connect() as connection:
        return connection.execute(sa.text(query), values).all()


def sheet(box, *lines):
    x, y = box[0] + 0.005, box[1] + 0.005
    return ("名称,编码,类别,容量,经度,纬度\n" + "".join(f"{line},{x},{y}\n" for line in lines)).encode()


def send(client, content, name="设施.csv", noun="facilities", datum=True, **how):
    return client.post("/uploads", files={"file": (name, content)}, data={"noun": noun, "datum": "cgcs2000"} if datum else {"noun": noun}, **how)


def told(client, id):
    answer = client.get(f"/uploads/{id}", headers={"Authorization": f"Bearer {town.LEADER}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(client, path):
    answer = client.get(path, headers={"Authorization": f"Bearer {town.LEADER}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_file_is_sent_read_looked_at_written_and_taken_back(live_client, live_engine, working, box):
    first = send(live_client, sheet(box, "甲店,F1,hospital,10", "乙店,F2,hospital,20", "丙店,F3,没有这类,30"))
    assert first.status_code == 202 and first.headers["location"] == f"/uploads/{first.json()['id']}"
    id = first.json()["id"]
    assert told(live_client, id)["state"] == "queued"
    jobs = rows(live_engine, "SELECT task_name, args ->> 'upload' FROM jobs.procrastinate_jobs")
    assert jobs == [("read", id)]
    # As it lies on the disk it says nothing.
    assert "甲店".encode() not in file_of(live_client.app.state.home, id).read_bytes()
    working.read(id)
    upload = told(live_client, id)
    assert upload["state"] == "ready", upload["refusal"]
    assert upload["counts"] == {"new": 2, "changed": 0, "unchanged": 0, "conflict": 0, "refused": 1, "missing": 0}
    assert rows(live_engine, "SELECT count(*) FROM facilities WHERE code LIKE 'F%'") == [(0,)]
    (problem,) = ask(live_client, f"/uploads/{id}/problems")["problems"]
    assert (problem["row"], problem["field"]) == (3, "kind") and problem["value"] == "没有这类"
    listed = ask(live_client, f"/uploads/{id}/difference?fate=new")["rows"]
    assert [row["values"]["name"] for row in listed] == ["甲店", "乙店"] and listed[0]["lon"] == pytest.approx(box[0] + 0.005)
    # All or nothing, unless the good rows alone are asked for.
    assert live_client.post(f"/uploads/{id}/apply", json={}).status_code == 202
    working.apply(id)
    assert told(live_client, id)["state"] == "ready" and "1 行有问题" in told(live_client, id)["refusal"]["sentence"].format(count=1)
    assert live_client.post(f"/uploads/{id}/apply", json={"valid_only": True}).status_code == 202
    working.apply(id)
    working.apply(id)
    assert told(live_client, id)["state"] == "applied"
    assert rows(live_engine, "SELECT name, capacity, placing_reason FROM facilities WHERE code LIKE 'F%' ORDER BY code") == [("甲店", 10, None), ("乙店", 20, None)]

    # The same sheet, edited: one changes, one stays, one comes, one is no longer named.
    second = send(live_client, sheet(box, "甲店,F1,hospital,11", "丁店,F4,hospital,40")).json()["id"]
    working.read(second)
    assert told(live_client, second)["counts"] == {"new": 1, "changed": 1, "unchanged": 0, "conflict": 0, "refused": 0, "missing": 1}
    (changed,) = ask(live_client, f"/uploads/{second}/difference?fate=changed")["rows"]
    assert changed["changes"] == [{"field": "capacity", "before": 10, "after": 11}]
    (gone,) = ask(live_client, f"/uploads/{second}/difference?fate=missing")["rows"]
    assert gone["values"]["name"] == "乙店"
    live_client.post(f"/uploads/{second}/apply", json={"missing": "retire"})
    working.apply(second)
    assert told(live_client, second)["state"] == "applied", told(live_client, second)
    living = "SELECT code, capacity FROM facilities WHERE code LIKE 'F%' AND retired_at IS NULL ORDER BY code"
    assert rows(live_engine, living) == [("F1", 11), ("F4", 40)]

    # The first cannot be taken back while the second stands on it; the second can, and then the first.
    live_client.post(f"/uploads/{id}/undo")
    working.undo(id)
    assert told(live_client, id)["state"] == "applied" and "后来被人改过" in told(live_client, id)["refusal"]["sentence"]
    live_client.post(f"/uploads/{second}/undo")
    working.undo(second)
    assert told(live_client, second)["state"] == "undone", told(live_client, second)
    assert rows(live_engine, living) == [("F1", 10), ("F2", 20)]
    live_client.post(f"/uploads/{id}/undo")
    working.undo(id)
    assert told(live_client, id)["state"] == "undone" and rows(live_engine, living) == []


def test_the_same_file_under_one_key_is_one_upload(live_client, box):
    content = sheet(box, "甲店,F1,hospital,10")
    once, again = (send(live_client, content, headers={"Idempotency-Key": "k1"}).json()["id"] for _ in range(2))
    assert once == again
    assert send(live_client, sheet(box, "乙店,F2,hospital,10"), headers={"Idempotency-Key": "k1"}).status_code == 409
    assert len(list((live_client.app.state.home / "uploads").iterdir())) == 1


def test_a_file_is_its_senders_alone(live_client, live_engine, working, box):
    id = send(live_client, sheet(box, "甲店,F1,hospital,10")).json()["id"]
    working.read(id)
    with live_engine.begin() as connection:
        town.token(connection, town.post(connection, "worker", "grid_worker", town.A), "jw_test_worker")
        town.token(connection, town.post(connection, "other", "street", town.PREFIX), "jw_test_other")
    for path in ("", "/problems", "/difference", "/tiles/0/0/0.mvt"):
        assert live_client.get(f"/uploads/{id}{path}", headers={"Authorization": "Bearer jw_test_other"}).status_code == 404
    for who in ("jw_test_worker", ""):
        for path in ("", "/problems", "/difference", "/tiles/0/0/0.mvt"):
            assert live_client.get(f"/uploads/{id}{path}", headers={"Authorization": f"Bearer {who}" if who else ""}).status_code in (401, 403)
    assert send(live_client, sheet(box, "甲店,F1,hospital,10"), headers={"Authorization": "Bearer jw_test_worker"}).status_code == 403


def test_a_refusal_says_what_to_choose_and_choosing_it_helps(live_client, working):
    content = "名称,编码,类别,gcj02_lng,gcj02_lat\n甲店,F1,hospital,120.1,30.1\n".encode()
    id = send(live_client, content, datum=False).json()["id"]
    working.read(id)
    upload = told(live_client, id)
    assert upload["state"] == "refused" and upload["refusal"]["facts"]["option"] == "--datum"
    assert live_client.patch(f"/uploads/{id}", json={"datum": "gcj02"}).status_code == 202
    working.read(id)
    assert told(live_client, id)["state"] == "ready"


def test_points_of_an_unsaid_datum_wait_for_somebody_to_say_it(live_client, live_engine, working, box):
    id = send(live_client, sheet(box, "甲店,F1,hospital,10"), datum=False).json()["id"]
    working.read(id)
    (asked,) = (one for one in told(live_client, id)["told"]["evidence"] if one["confirm"])
    assert asked["option"] == "datum" and {"gcj02", "bd09", "cgcs2000"} <= set(asked["choices"])
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    assert told(live_client, id)["state"] == "ready" and told(live_client, id)["refusal"]["facts"]["option"] == "datum"
    assert rows(live_engine, "SELECT count(*) FROM facilities WHERE code = 'F1'") == [(0,)]


def test_parts_of_a_shapefile_come_together(live_client, working, tmp_path, box):
    import geopandas
    from shapely.geometry import Point

    frame = geopandas.GeoDataFrame({"MC": ["甲店"], "SSBM": ["F9"], "LB": ["hospital"]}, geometry=[Point((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)], crs=4326)
    frame.to_file(tmp_path / "店.shp", encoding="utf-8")
    parts = [("file", (path.name, path.read_bytes())) for path in sorted(tmp_path.glob("店.*"))]
    id = live_client.post("/uploads", files=parts, data={"noun": "facilities"}).json()["id"]
    working.read(id)
    assert told(live_client, id)["counts"]["new"] == 1, told(live_client, id)


def test_a_large_file_goes_on_where_the_network_broke(live_client, live_engine, working, box):
    lines = [f"店{n}{'x' * 90},P{n},hospital,1" for n in range(15_000)]
    content = sheet(box, *lines)
    begun = live_client.post("/partial_uploads", json={"name": "大.csv", "size": len(content)}).json()
    id, piece = begun["id"], begun["piece"]
    assert len(content) > piece
    first = live_client.put(f"/partial_uploads/{id}?at=0", content=content[:piece])
    assert first.status_code == 200 and first.json()["taken"] == piece
    assert ask(live_client, f"/partial_uploads/{id}")["taken"] == piece
    lost = live_client.put(f"/partial_uploads/{id}?at=0", content=content[:piece])
    assert lost.status_code == 409 and lost.json()["taken"] == piece
    assert live_client.put(f"/partial_uploads/{id}?at={piece}", content=b"short").status_code == 422
    last = live_client.put(f"/partial_uploads/{id}?at={piece}&noun=facilities", content=content[piece:])
    assert last.status_code == 202, last.text
    assert live_client.get(f"/partial_uploads/{id}", headers={"Authorization": f"Bearer {town.LEADER}"}).status_code == 404
    working.read(id)
    assert told(live_client, id)["counts"]["new"] == 15_000, told(live_client, id)["refusal"]


def test_text_that_no_database_holds_is_told_without_it(live_client, working, box):
    content = sheet(box, "甲\0店,F\0,hospital,1", "乙店,F2,没\0有,2").replace("编码".encode(), "编\0码".encode())
    id = send(live_client, content).json()["id"]
    working.read(id)
    assert told(live_client, id)["state"] in ("ready", "refused"), told(live_client, id)
    assert live_client.get(f"/uploads/{id}/problems", headers={"Authorization": f"Bearer {town.LEADER}"}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nabc", b"nonsense" * 1000])
def test_a_broken_form_leaves_nothing(live_client, body):
    answer = live_client.post("/uploads", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 422
    assert not list((live_client.app.state.home / "uploads").glob("*"))


def test_what_was_settled_once_is_known_the_next_time(live_client, live_engine, working, box):
    content = sheet(box, "甲店,F1,hospital,10").replace("名称,编码".encode(), "招牌,号牌".encode())
    id = send(live_client, content).json()["id"]
    working.read(id)
    assert told(live_client, id)["state"] == "refused" and told(live_client, id)["told"]["missing"] == ["name"]
    live_client.patch(f"/uploads/{id}", json={"columns": {"name": "招牌", "code": "号牌"}})
    working.read(id)
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    assert told(live_client, id)["state"] == "applied", told(live_client, id)["refusal"]
    again = send(live_client, content.replace("甲店".encode(), "甲馆".encode()), noun="").json()["id"]
    working.read(again)
    upload = told(live_client, again)
    assert (upload["noun"], upload["counts"]["changed"]) == ("facilities", 1)
    assert upload["told"]["columns"]["name"]["because"]["sentence"] == "上次这样对应"


def test_a_leader_changes_nothing_beyond_the_own_areas(live_client, live_engine, working, box):
    with live_engine.begin() as connection:
        town.token(connection, town.post(connection, "a-leader", "community_leader", "990101001001"), "jw_test_of_one")
    id = send(live_client, sheet(box, "甲店,F1,hospital,10")).json()["id"]
    working.read(id)
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    theirs = {"Authorization": "Bearer jw_test_of_one"}
    far = f"名称,编码,类别,经度,纬度\n改名,F1,hospital,{box[0] + 0.005},{box[1] + 0.005}\n远处,F7,hospital,{box[0] + 0.025},{box[1] + 0.005}\n"
    id = send(live_client, far.encode(), headers=theirs).json()["id"]
    working.read(id)
    upload = live_client.get(f"/uploads/{id}", headers=theirs).json()
    assert (upload["counts"]["changed"], upload["counts"]["refused"]) == (1, 1), upload
    live_client.post(f"/uploads/{id}/apply", json={"valid_only": True}, headers=theirs)
    working.apply(id)
    assert rows(live_engine, "SELECT name FROM facilities WHERE code IN ('F1', 'F7')") == [("改名",)]
    # Two hundredths of a degree east is another community's.
    assert rows(live_engine, "SELECT reason FROM load_problems WHERE batch = CAST(:id AS uuid)", id=id) == [("位置不在您负责的区域内",)]


def test_who_changed_a_row_meanwhile_is_not_written_over(live_client, live_engine, working, box):
    id = send(live_client, sheet(box, "甲店,F1,hospital,10")).json()["id"]
    working.read(id)
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    id = send(live_client, sheet(box, "甲店,F1,hospital,11")).json()["id"]
    working.read(id)
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE facilities SET capacity = 12 WHERE code = 'F1'"))
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    upload = told(live_client, id)
    assert upload["state"] == "ready" and "被别人改过" in upload["refusal"]["sentence"]
    (row,) = ask(live_client, f"/uploads/{id}/difference?fate=changed")["rows"]
    assert row["changes"] == [{"field": "capacity", "before": 12, "after": 11}]
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    assert rows(live_engine, "SELECT capacity FROM facilities WHERE code = 'F1'") == [(11,)]


def test_an_edited_export_finds_its_records_and_a_mask_replaces_nothing(live_client, live_engine, working, box):
    x, y = box[0] + 0.005, box[1] + 0.005
    first = f"名称,编码,类型,联系人,联系人电话,地址,经度,纬度\n示例店,O0,shop,某某,,,{x},{y}\n甲店,O1,shop,王小明,13800001234,云汀路1号,{x},{y}\n"
    id = send(live_client, first.encode(), "单位.csv", "organisations").json()["id"]
    working.read(id)
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    assert told(live_client, id)["state"] == "applied", told(live_client, id)
    # The row of a template that only shows how is no organisation.
    query = "SELECT id, version, name, code, contact, contact_phone_masked, address, placing_reason FROM organisations WHERE code LIKE 'O%' AND retired_at IS NULL"
    (before,) = rows(live_engine, query)
    assert before.contact == "王小明"
    edited = (
        "记录编号,版本,名称,编码,类型,联系人,联系人电话,地址,经度,纬度,所在街道,区域路径\n"
        f"{before.id},{before.version},甲号店,O9,商铺,王*,138****1234,,,,云汀街道,{town.PREFIX}\n"
    )
    id = send(live_client, edited.encode(), "单位.csv", "organisations").json()["id"]
    working.read(id)
    assert told(live_client, id)["counts"]["changed"] == 1, told(live_client, id)
    (row,) = ask(live_client, f"/uploads/{id}/difference?fate=changed")["rows"]
    assert {change["field"] for change in row["changes"]} == {"name", "code"}
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    (after,) = rows(live_engine, query)
    assert (after.id, after.name, after.code) == (before.id, "甲号店", "O9")
    assert (after.contact, after.contact_phone_masked, after.address, after.placing_reason) == ("王小明", before.contact_phone_masked, "云汀路1号", None)
    # The same sheet again is of a version that is gone: somebody was there meanwhile.
    id = send(live_client, edited.replace("甲号店", "乙店").encode(), "单位.csv", "organisations").json()["id"]
    working.read(id)
    assert told(live_client, id)["counts"]["conflict"] == 1


def test_a_record_that_two_rows_name_is_told(live_client, live_engine, working, box):
    id = send(live_client, sheet(box, "甲店,F1,hospital,10")).json()["id"]
    working.read(id)
    live_client.post(f"/uploads/{id}/apply", json={})
    working.apply(id)
    ((record,),) = rows(live_engine, "SELECT id FROM facilities WHERE code = 'F1'")
    edited = f"记录编号,名称,编码,类别,经度,纬度\n{record},甲,,hospital,,\n{record},乙,,hospital,,\n,丙,F1,hospital,,\n"
    id = send(live_client, edited.encode()).json()["id"]
    working.read(id)
    found = ask(live_client, f"/uploads/{id}/problems")["problems"]
    assert [(one["row"], one["field"], one["reason"]) for one in found] == [(n, "记录编号", "{title}在文件里不止一行") for n in (2, 3)]
    assert told(live_client, id)["counts"]["changed"] == 1


def test_what_was_sent_for_an_emergency_goes_with_it(live_client, live_engine, working):
    with live_engine.begin() as connection:
        flood, other = (town.add(connection, "activations", code=code, opened_at=datetime.now(UTC)) for code in ("XY1", "XY2"))
        house = town.add(connection, "buildings", code="LD1")
        code = connection.execute(sa.text("SELECT code FROM buildings WHERE id = :id"), {"id": house}).scalar_one()

    def sent(activation):
        content = f"姓名,登记号,楼栋编码,响应编号\n某甲,P{activation},{code},{activation}\n某乙,Q{activation},没有这栋,{activation}\n"
        id = send(live_client, content.encode(), "居民.csv", "residents").json()["id"]
        working.read(id)
        return id

    gone, stays = sent("XY1"), sent("XY2")
    assert told(live_client, gone)["state"] == "ready", told(live_client, gone)
    staged = "SELECT replace(tablename, 'u_', '')::uuid FROM pg_tables WHERE schemaname = 'staging'"
    assert {str(one) for (one,) in rows(live_engine, staged)} == {gone, stays}
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE activations SET closed_at = now() WHERE id = :id"), {"id": flood})
    # Under review nothing goes.
    assert working.clear() == 0
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE activations SET review_until = now() WHERE id = :id"), {"id": flood})
    assert working.clear() == 1
    assert {str(one) for (one,) in rows(live_engine, staged)} == {stays} and not file_of(live_client.app.state.home, gone).exists()
    assert {str(one) for (one,) in rows(live_engine, "SELECT DISTINCT batch FROM load_problems")} == {stays}
    assert (told(live_client, gone)["state"], told(live_client, stays)["state"]) == ("failed", "ready")
    assert file_of(live_client.app.state.home, stays).exists() and other
