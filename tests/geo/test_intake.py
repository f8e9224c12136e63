"""From a file to the database: nothing lost, nothing half-written, placed as the trigger would."""

import json

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo import db, ends, exporting, intake
from geo.errors import Invalid, NotFound
from geo.intake import Order
from geo.placing import Placer, replace
from geo.staging import Staging


@pytest.fixture
def loader(live):
    made = db.engine(live.url("jingwei_loader"), pool=1)
    yield made
    made.dispose()


@pytest.fixture
def load(loader, key, tmp_path):
    def run(name, content, into, columns=None, values=None, **how):
        path = tmp_path / name
        path.write_text(content, "utf-8") if isinstance(content, str) else path.write_bytes(content)
        return intake.load(loader, Order(path, into, columns or {}, values or {}, **how), key, tmp_path / "cache")

    return run


def rows(engine, query, **values):
    with engine.connect() as connection:
        return connection.execute(sa.text(query), values).all()


def test_a_table_of_incidents_is_matched_placed_and_accounted_for(load, live_engine):
    west, south, east, north = box(live_engine)
    middle = ((west + east) / 2, (south + north) / 2)
    report = load(
        "事件.csv",
        "案卷号,事件标题,来源,经度,纬度,联系电话,负责人姓名,天气,等级\n"
        f"A1,井盖缺失,网格巡查,{middle[0]},{middle[1]},10012345678,王某,晴,一般\n"
        f"A2,路灯不亮,群众举报,{west - 1},{south},,,,没有这一级\n"
        "A3,,网格巡查,1,1,,,,\n"
        f"A1,重复的编号,网格巡查,{middle[0]},{middle[1]},,,,\n"
        f"A5,来源不对,心灵感应,{middle[0]},{middle[1]},,,,\n"
        "A6,没有坐标,智能感知,,,,,,\n",
        "incidents",
    )
    assert (report.read, report.stored, report.unstored) == (6, 3, 3)
    assert report.dropped.keys() == {"负责人姓名"} and report.extras == ["天气"]
    found = {r.number: r for r in rows(live_engine, "SELECT * FROM incidents WHERE number LIKE 'A%'")}
    assert found.keys() == {"A1", "A2", "A6"}
    assert found["A2"].placing_reason == "outside" and found["A2"].nearest_m > 10_000
    assert found["A6"].placing_reason == "imprecise"
    # A guessed optional column keeps what it cannot read.
    assert found["A2"].extras == {"等级": "没有这一级"} and found["A1"].extras == {"天气": "晴"}
    assert found["A1"].reporter_phone_masked == "100****5678" and b"10012345678" not in bytes(found["A1"].reporter_phone_cipher)
    kept = rows(live_engine, "SELECT row, field, reason, record FROM load_problems ORDER BY row")
    assert [(k.row, k.field) for k in kept] == [(3, "title"), (4, "number"), (5, "channel")]
    assert "联系电话" not in json.dumps([k.record for k in kept], ensure_ascii=False)
    # One change for the batch, not one a row.
    assert rows(live_engine, "SELECT operation FROM changes WHERE batch = :b", b=report.batch) == [("batch",)]


def box(engine):
    return rows(engine, "SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM (SELECT ST_Extent(geom) AS e FROM areas) AS q")[0]


def test_what_is_taken_in_from_nobody_is_kept_nowhere(load, live_engine):
    west, south, *_ = box(live_engine)
    report = load(
        "场所.csv",
        "名称,编码,类别,地址,经度,纬度,说明,是否涉毒,信仰\n"
        + "".join(f"站{n},RF{n},clinic,云汀路{n}号,{west},{south},门口有台阶,否,无\n" for n in range(9))
        + f"站9,RF9,clinic,云汀路9号,{west},{south},三楼有吸毒人员,是,佛教\n"
        + f"站10,RF10,没有这一类,云汀路10号,{west},{south},五楼有上访户,否,无\n",
        "facilities",
    )
    assert (report.stored, report.unstored, dict(report.refused)) == (10, 1, {"说明": 2})
    assert report.dropped.keys() == {"是否涉毒", "信仰"} and "列 说明 有 2 格写着不收的情况,这些格没有收" in str(report)
    kept = str(rows(live_engine, "SELECT * FROM facilities WHERE code LIKE 'RF%'")) + str(rows(live_engine, "SELECT * FROM load_problems"))
    assert "门口有台阶" in kept
    assert not [word for word in ("吸毒", "上访", "佛教", "是否涉毒") if word in kept]


@pytest.mark.parametrize("column", ["是否涉毒", "身份"])
def test_no_order_makes_plain_what_is_personal(load, column):
    content = "名称,类别,是否涉毒,身份\n甲,clinic,否,11010519491231002X\n"
    with pytest.raises(Invalid, match="不能用作“地址”"):
        load("场所.csv", content, "facilities", {"address": column})


def test_bulk_and_trigger_place_alike(load, live_engine, tmp_path):
    west, south, east, north = box(live_engine)
    random = np.random.default_rng(7)
    lon = random.uniform(west - 0.002, east + 0.002, 300)
    lat = random.uniform(south - 0.002, north + 0.002, 300)
    corners = rows(live_engine, "SELECT ST_X(p), ST_Y(p) FROM (SELECT (ST_DumpPoints(geom)).geom AS p FROM areas) AS q")
    points = [*zip(lon, lat, strict=True), *((c[0], c[1]) for c in corners)]
    names = [r.name for r in rows(live_engine, "SELECT name FROM areas")]
    lines = ["number,title,x,y,stated_area,precision,occurred_at"]
    for n, (x, y) in enumerate(points):
        said = names[n % len(names)] if n % 3 == 0 else ""
        lines.append(f"B{n},t,{x!r},{y!r},{said},{'region' if n % 11 == 0 else 'exact'},{'2020-01-01' if n % 2 else ''}")
    load("points.csv", "\n".join(lines).replace("np.float64(", "").replace(")", ""), "incidents", values={"channel": "patrol"})
    query = (
        "SELECT number, scope, placing_reason, nearest_area, ST_AsText(geom_coarse, 6) AS coarse,"
        " (SELECT (p.street, p.community, p.grid, p.micro_grid)::text FROM placements AS p WHERE p.id = placement) AS placed"
        " FROM incidents WHERE number LIKE 'B%' ORDER BY number"
    )
    bulk = rows(live_engine, query)
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE incidents SET geom = geom WHERE number LIKE 'B%'"))
    assert rows(live_engine, query) == bulk
    assert len({r.placing_reason for r in bulk}) >= 4
    with live_engine.begin() as connection:
        assert set(replace(connection).values()) == {0}


def test_areas_bring_what_lies_there_to_them(load, live_engine):
    west, south, *_ = box(live_engine)
    x, y = west - 0.05, south - 0.05
    load("p.csv", f"number,title,lon,lat\nC1,t,{x},{y}\n", "incidents", values={"channel": "patrol"})
    assert rows(live_engine, "SELECT placing_reason FROM incidents WHERE number = 'C1'") == [("outside",)]
    square = [[x - 0.01, y - 0.01], [x + 0.01, y - 0.01], [x + 0.01, y + 0.01], [x - 0.01, y + 0.01], [x - 0.01, y - 0.01]]
    feature = {"type": "Feature", "properties": {"名称": "新网格"}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    report = load("grid.geojson", json.dumps({"type": "FeatureCollection", "features": [feature]}), "areas", values={"level": "grid"})
    assert report.stored == 1
    path, reason = rows(live_engine, "SELECT scope, placing_reason FROM incidents WHERE number = 'C1'")[0]
    assert reason is None and rows(live_engine, "SELECT name FROM areas WHERE path = :p", p=path) == [("新网格",)]


def test_a_reference_is_by_code_or_by_the_name_that_only_one_has(load, live_engine):
    ring = "POLYGON((0 0,0.001 0,0.001 0.001,0 0.001,0 0))"
    load("c.csv", f'小区名称,小区编码,WKT\n东苑,C1,"{ring}"\n西苑,C2,"{ring}"\n西苑,C3,"{ring}"\n', "compounds")
    report = load(
        "b.csv",
        f'楼栋号,楼栋编码,小区,WKT\n1幢,B1,C1,"{ring}"\n2幢,B2,东苑,"{ring}"\n3幢,B3,西苑,"{ring}"\n4幢,B4,北苑,"{ring}"\n',
        "buildings", {"compound": "小区"},
    )
    assert report.stored == 2 and report.unstored == 2
    reasons = " ".join(report.problems)
    assert "对得上不止一个" in reasons and "对不上任何一个" in reasons
    report = load("u.csv", "单元,单元编码,楼栋编码\n1单元,U1,B1\n2单元,U2,B9\n", "units")
    assert (report.stored, report.unstored) == (1, 1)
    same = "SELECT u.scope = b.scope AND u.placement IS NOT DISTINCT FROM b.placement FROM units AS u JOIN buildings AS b ON b.id = u.building"
    assert rows(live_engine, f"{same} WHERE u.code = 'U1'") == [(True,)]


def test_a_rule_over_several_fields_takes_one_row_out_and_is_named(load, live_engine):
    report = load(
        "i.csv",
        "number,title,lon,lat,reported_at,closed_at\nD1,t,120,30,2024-05-01,2024-05-02\nD2,t,120,30,2024-05-02,2024-05-01\n",
        "incidents", values={"channel": "patrol"},
    )
    assert (report.stored, report.unstored) == (1, 1)
    assert list(report.problems) == ["结案时间不能早于上报时间。"]
    assert rows(live_engine, "SELECT number FROM incidents WHERE number LIKE 'D%'") == [("D1",)]


def test_the_first_records_of_a_noun_go_where_they_belong(load, live_engine, monkeypatch):
    west, south, *_ = box(live_engine)
    wkt = f"POLYGON(({west} {south},{west + 0.001} {south},{west + 0.001} {south + 0.001},{west} {south}))"
    table = f'code,name,use,floors,WKT\nS1,甲,,,"{wkt}"\nS2,乙,office,7,"{wkt}"\nS2,丙,,,"{wkt}"\nS4,,,,"{wkt}"\n'
    told = "SELECT code, name, use, floors, source, extras, version, scope, placing_reason FROM buildings WHERE retired_at IS NULL ORDER BY code"
    with monkeypatch.context() as patched:
        # Without a staging table.
        patched.delattr(Staging, "_written")
        first = load("s.csv", table, "buildings")
    kept, sums = rows(live_engine, told), rows(live_engine, "SELECT tallies_of('')")
    assert [(row.code, row.use) for row in kept] == [("S1", "residential"), ("S2", "office")] and first.stored == 2 and first.unstored == 2
    with live_engine.begin() as connection:
        ends.undo(connection, first.batch)
    # By way of one, since a record is there, if an ended one: the same.
    second = load("s.csv", table, "buildings")
    assert (second.stored, second.problems, second.placing) == (first.stored, first.problems, first.placing)
    assert rows(live_engine, told) == kept and rows(live_engine, "SELECT tallies_of('')") == sums


@pytest.mark.parametrize(
    ("content", "into", "values", "error"),
    [
        ("a,b\n1,2\n", "nonsense", {}, NotFound),
        ("a,b\n1,2\n", "incidents", {}, Invalid),
        ("title,lon,lat\nx,1,1\n", "incidents", {"channel": "telepathy"}, Invalid),
        ("title,lon,lat\nx,1,1\n", "incidents", {"nonsense": "1"}, Invalid),
        ("名称,lon,lat\nx,1,1\n", "zones", {"kind": "sealed"}, Invalid),
    ],
)
def test_what_cannot_be_loaded_leaves_nothing(load, live_engine, content, into, values, error):
    with pytest.raises(error):
        load("x.csv", content, into, values=values)
    assert rows(live_engine, "SELECT count(*) FROM batches") == [(0,)]


def test_a_batch_is_undone_unless_somebody_changed_it(load, live_engine):
    content = "number,title,lon,lat\nE1,t,120,30\nE2,t,120,30\n"
    report = load("e.csv", content, "incidents", values={"channel": "patrol"})
    with live_engine.begin() as connection:
        assert ends.undo(connection, report.batch) == 2
    assert load("e.csv", content, "incidents", values={"channel": "patrol"}).stored == 2  # the numbers are free again
    batch = rows(live_engine, "SELECT batch FROM incidents WHERE number = 'E1' AND retired_at IS NULL")[0][0]
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE incidents SET title = 'other' WHERE number = 'E1' AND retired_at IS NULL"))
    with pytest.raises(Invalid) as refusal, db.translated(), live_engine.begin() as connection:
        ends.undo(connection, batch)
    assert refusal.value.facts["rule"] == "batches_undo_check"


def test_export_and_back(load, live_engine, tmp_path):
    west, south, east, north = box(live_engine)
    load("f.csv", f"number,title,lon,lat,联系电话,天气\nF1,=1+1,{(west + east) / 2},{(south + north) / 2},10012345678,晴\n", "incidents",
         values={"channel": "patrol"})
    for kind in ("csv", "xlsx", "geojson", "shp"):
        target = tmp_path / f"out.{kind}"
        assert exporting.export(live_engine, "incidents", target, kind) == 1
        assert b"10012345678" not in target.read_bytes()
    text = (tmp_path / "out.csv").read_text("utf-8-sig")
    assert "'=1+1" in text and "所在街道" in text and "所在网格路径" in text and "天气" in text and "100****5678" in text
    assert exporting.export(live_engine, "incidents", tmp_path / "few.csv", "csv", ["number", "state"]) == 1
    with live_engine.begin() as connection:
        connection.execute(sa.text("UPDATE incidents SET retired_at = now()"))
    assert load("back.csv", text, "incidents").stored == 1
    assert rows(live_engine, "SELECT title FROM incidents WHERE retired_at IS NULL") == [("=1+1",)]


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), min_size=1, max_size=20))
def test_any_text_is_stored_as_it_is_or_named(load, live_engine, titles):
    import csv
    import io

    body = io.StringIO()
    writer = csv.writer(body)
    writer.writerow(["title", "lon", "lat"])
    writer.writerows([title, 120, 30] for title in titles)
    try:
        report = load("t.csv", body.getvalue().encode(), "incidents", values={"channel": "patrol"})
    except Invalid:
        return
    assert report.stored + report.unchanged + report.unstored == report.read


def test_the_placer_knows_its_epochs(live_engine):
    with live_engine.connect() as connection:
        placer = Placer.ready(connection)
        assert placer.epoch(0).areas == ()
        assert placer.epoch(len(placer.switches)).wanted == "grid"
