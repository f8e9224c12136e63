"""What goes out can be edited and come back: every field of every noun, in every format."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
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
from geo.errors import GeoError, Invalid
from geo.exporting import PACKED, Order
from geo.keys import FieldKey
from geo.query import Filter
from geo.resource import Audience, Resource
from tests import town

each = pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda r: r.name)


def made(client: TestClient, connection: sa.Connection, resource: Resource, **given_: object) -> UUID:
    """A record with everything that a record may have, and what it refers to."""
    pointed: dict[str, object] = {}
    for field in resource.edited:
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


def sent_back(
    connection: sa.Connection, resource: Resource, path: Path, key: FieldKey, columns: Mapping[str, str] | None = None
) -> tuple[list[Any], intake.Report]:
    """What a file is understood as: its rows as they are staged, and what became of its columns."""
    staging, report = intake.staged(connection, intake.Order(path, resource.name, columns or {}), key)
    shape = ", ST_AsBinary(geom) AS shape" if resource.geometry else ""
    return list(connection.execute(sa.text(f"SELECT *{shape} FROM {staging.table} ORDER BY file_row")).mappings()), report


def kept(connection: sa.Connection, resource: Resource, id: UUID) -> Any:
    shape = ", ST_AsBinary(geom) AS shape" if resource.geometry else ""
    return connection.execute(sa.text(f"SELECT *{shape} FROM {resource.name} WHERE id = :id"), {"id": id}).mappings().one()


def unequal(resource: Resource, staged: Any, stored: Any) -> dict[str, Any]:
    """The fields that did not come back as they were, with what came and what is kept. Of what is masked there is no more."""
    given_ = [field.name for field in resource.writable if not field.masked_to(Audience.WORKER)]
    wrong = {name: (staged[name], stored[name]) for name in given_ if staged[name] != stored[name]}
    if resource.geometry:
        back, shape = (shapely.normalize(shapely.from_wkb(bytes(row["shape"]))) for row in (staged, stored))
        if not shapely.equals_exact(back, shape, 1e-9):
            wrong["geom"] = (back, shape)
    return wrong


def ours(resource: Resource, rows: Sequence[Any], stored: Any) -> Any:
    """Of the rows the one with the key of our record."""
    key = resource.known_by
    return rows[0] if key is None else next(row for row in rows if row[key] == stored[key])


@pytest.mark.parametrize(
    ("resource", "kind"), [(r, "xlsx") for r in RESOURCES.values()] + [(RESOURCES[name], "csv") for name in ("residents", "zones", "incidents")],
    ids=lambda told: str(getattr(told, "name", told)),
)
def test_every_field_comes_back_as_it_went(
    client: TestClient, connection: sa.Connection, resource: Resource, kind: str, key: FieldKey, tmp_path: Path
) -> None:
    id = made(client, connection, resource)
    stored = kept(connection, resource, id)
    path = written(connection, resource, kind, tmp_path)
    rows, report = sent_back(connection, resource, path, key)
    assert unequal(resource, ours(resource, rows, stored), stored) == {}
    # What nobody can give is known by its heading.
    assert set(report.extras) - sheets.set_aside(resource) == set()


# Not an apostrophe of one's own before such a sign: loading takes it for ours.
ODD = (
    "=1+1", "+86 10", "-3", "@x", "＝1", "''=1", "'x", "a\nb", 'a"b', "a,b;c\td", "1e5", "3-2", "007", "1.50", "TRUE", "2026-03-05", "示例:x", "合计", "nan",
    "None", "NULL", "<b>&amp;</b>", "𠮷", "_x0041_", "#N/A", "{=1}", "https://example.org", "mailto:x", "a\\", "{0}", "%s", "-", "——", "\u200b零宽",
)


@pytest.mark.parametrize("kind", ["csv", "xlsx", "gpkg", "shp", "geojsons"])
def test_any_text_comes_back(connection: sa.Connection, kind: str, key: FieldKey, tmp_path: Path) -> None:
    for at, text in enumerate(ODD):
        town.add(connection, "parts", code=f"p{at:02}", name=text)
    rows, _ = sent_back(connection, RESOURCES["parts"], written(connection, RESOURCES["parts"], kind, tmp_path), key)
    assert {row["code"]: row["name"] for row in rows} == {f"p{at:02}": text for at, text in enumerate(ODD)}


@pytest.mark.parametrize(
    ("noun", "kind"), [("parts", "geojson"), ("parts", "geojsons"), ("incidents", "kml"), *((n, k) for n in ("parts", "compounds") for k in PACKED)]
)
def test_the_other_formats_come_back_too(
    client: TestClient, connection: sa.Connection, noun: str, kind: str, key: FieldKey, tmp_path: Path
) -> None:
    resource = RESOURCES[noun]
    stored = kept(connection, resource, made(client, connection, resource))
    projected = {"crs": "EPSG:4549", "encoding": "gbk"} if kind == "shp" else {"crs": "EPSG:4528"} if kind == "gpkg" else {}
    path = written(connection, resource, kind, tmp_path, **projected, want=Filter(equals={resource.key[0]: "x"}))
    # A placemark has a description of its own, mostly empty.
    [row], report = sent_back(connection, resource, path, key, {"description": "说明"} if (noun, kind) == ("incidents", "kml") else {})
    assert unequal(resource, row, stored) == {}
    assert {name for name in report.extras if name not in ("Name", "description", "id")} <= sheets.set_aside(resource)


def test_an_edited_table_says_which_record_and_which_version(client: TestClient, connection: sa.Connection, tmp_path: Path) -> None:
    resource = RESOURCES["residents"]
    id = made(client, connection, resource)
    connection.execute(sa.text("UPDATE residents SET no_smartphone = false WHERE id = :id"), {"id": id})
    stored = kept(connection, resource, id)
    lines = list(csv.DictReader(io.StringIO(written(connection, resource, "csv", tmp_path).read_text("utf-8-sig"))))
    [line] = [line for line in lines if line[sheets.ID] == str(id)]
    assert line[sheets.VERSION] == str(stored["version"]) == "2"
    assert (line["楼栋"], line["应急响应"], line["年龄段"], line["不用智能手机"]) == ("0building-1", str(stored["activation"]), "80岁以上", "否")
    assert datetime.fromisoformat(line["核实时间"]).tzinfo is None
    assert sheets.is_mask(line["姓名"]) and sheets.is_mask(line["联系电话"])


# What a shapefile is


def test_a_shapefile_says_what_its_short_names_mean(connection: sa.Connection, tmp_path: Path) -> None:
    resource = RESOURCES["parts"]
    town.add(connection, "parts", code="p1", name="井" * 130, remark="注" * 300, state="lost")
    with zipfile.ZipFile(written(connection, resource, "shp", tmp_path)) as archive:
        assert sorted(archive.namelist()) == sorted([*(f"parts.{part}" for part in ("shp", "shx", "dbf", "prj", "cpg")), f"{sheets.DICTIONARY}.csv"])
        assert archive.read("parts.cpg") == b"UTF-8" and b"China_Geodetic_Coordinate_System_2000" in archive.read("parts.prj")
        dbf = archive.read("parts.dbf")
        lines = list(csv.DictReader(io.StringIO(archive.read(f"{sheets.DICTIONARY}.csv").decode("utf-8-sig"))))
    names = [dbf[at : at + 11].split(b"\0")[0].decode("ascii") for at in range(32, int.from_bytes(dbf[8:10], "little") - 1, 32)]
    assert [line["短名"] for line in lines] == names and len({*names}) == len(names)
    told = {line["字段"]: line for line in lines}
    assert {field: told[field]["短名"] for field in ("name", "kind", "stated_grid", "state", "remark", "grid_path")} == {
        "name": "GLBJMC", "kind": "BJLB", "stated_grid": "SZDYWGBSM", "state": "GLBJZT", "remark": "BZ", "grid_path": "grid_cd",
    }
    assert told["state"]["可选值"].startswith("完好、破损")
    # 254 bytes are 84 characters, and no half one.
    assert (told["name"]["截短的行数"], told["remark"]["截短的行数"], told["code"]["截短的行数"]) == ("1", "1", "")
    assert ("井" * 84).encode() in dbf and ("井" * 85).encode() not in dbf


@each
def test_short_names_are_short_and_apart(resource: Resource) -> None:
    columns = [exporting.Column(name, title, next((f for f in resource.all_fields if f.name == name), None))
               for name, title in sheets.headings(resource).items()] + [exporting.Column(f"说明{n}", f"说明{n}") for n in range(30)]
    short = exporting.shortened(columns)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,9}", name) for name in short)
    assert len({name.casefold() for name in short}) == len(columns)


def test_gbk_on_wish(connection: sa.Connection, tmp_path: Path) -> None:
    resource = RESOURCES["parts"]
    town.add(connection, "parts", code="p1", name="窨井盖")
    with zipfile.ZipFile(written(connection, resource, "shp", tmp_path, encoding="gbk")) as archive:
        dbf = archive.read("parts.dbf")
        assert archive.read("parts.cpg") == b"GBK" and dbf[29] == 0x4D and "窨井盖".encode("gbk") in dbf
        assert "部件名称" in archive.read(f"{sheets.DICTIONARY}.csv").decode("gb18030")
    assert "窨井盖" in written(connection, resource, "csv", tmp_path, encoding="gbk").read_text("gb18030")
    # A character that GBK lacks is a question mark to no one: a table has the rest of GB 18030, a shapefile is refused.
    town.add(connection, "parts", code="p2", name="𫭟头")
    assert "𫭟头" in written(connection, resource, "csv", tmp_path, encoding="gbk").read_text("gb18030")
    (tmp_path / "out.zip").unlink()
    with pytest.raises(Invalid) as refusal:
        written(connection, resource, "shp", tmp_path, encoding="gbk")
    assert refusal.value.facts["character"] == "𫭟" and not list(tmp_path.glob("out.zip*"))


def test_a_text_sequence_is_one(connection: sa.Connection, tmp_path: Path) -> None:
    """RFC 8142: a record separator before each text, a line feed behind it."""
    for code in ("p1", "p2"):
        town.add(connection, "parts", code=code, name="一\n二")
    records = written(connection, RESOURCES["parts"], "geojsons", tmp_path).read_bytes().split(b"\x1e")
    assert records[0] == b"" and len(records) == 3
    assert [json.loads(record)["properties"]["code"] for record in records[1:]] == ["p1", "p2"]
    assert all(record.endswith(b"}\n") for record in records[1:])


@pytest.mark.parametrize("kind", ["gpkg", "shp", "kml", "parquet"])
def test_nothing_is_a_file_too_and_odd_columns_break_none(connection: sa.Connection, kind: str, tmp_path: Path) -> None:
    resource = RESOURCES["parts"]
    assert written(connection, resource, kind, tmp_path).stat().st_size > 0
    id = town.add(connection, "parts", code="p1", name="<b>&\n\"'")
    odd = dict.fromkeys(("fid", "FID", "geom", "Geometry", "名称", "Name", "id ", "", "=1+1", "a" * 200, "部件名称"), "v")
    connection.execute(sa.text("UPDATE parts SET extras = CAST(:odd AS jsonb) WHERE id = :id"), {"odd": json.dumps(odd), "id": id})
    path = written(connection, resource, kind, tmp_path)
    with files.opened(path) as (described, batches):
        assert sum(len(batch.rows) for batch in batches) == 1
        assert len(described.columns) >= len(odd)


def test_a_shape_too_long_for_a_cell_leaves_it_empty(connection: sa.Connection, key: FieldKey, tmp_path: Path) -> None:
    resource = RESOURCES["land_parcels"]
    round_ = shapely.buffer(shapely.Point(*town.at(0.5, 0.5)), 0.001, quad_segs=400)
    for code, shape in (("big", shapely.geometry.mapping(round_)), ("small", None)):
        town.add(connection, "land_parcels", shape, code=code)
    assert len(round_.wkt) > exporting.CELL
    cells = CalamineWorkbook.from_path(written(connection, resource, "xlsx", tmp_path)).get_sheet_by_index(0).to_python()
    column = cells[0].index(sheets.WKT)
    assert [bool(row[column]) for row in cells[1:]] == [False, True]
    # A csv has room.
    rows, _ = sent_back(connection, resource, written(connection, resource, "csv", tmp_path), key)
    back = next(shapely.from_wkb(bytes(row["shape"])) for row in rows if row["code"] == "big")
    assert shapely.hausdorff_distance(back, round_) < 1e-9


def test_a_short_file_is_no_file(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    town.add(connection, "parts", code="p1")
    monkeypatch.setattr(exporting, "END", b"")
    with pytest.raises(GeoError):
        written(connection, RESOURCES["parts"], "gpkg", tmp_path)
    assert list(tmp_path.iterdir()) == []


# The way back


@given(st.text(min_size=1, max_size=20))
def test_a_mask_is_known_for_one(value: str) -> None:
    masked = secrets.mask(value)
    assert masked == "" or sheets.is_mask(masked)


@pytest.mark.parametrize("text", ["张*", "欧阳**", "138****1234", "138＊＊＊＊1234", "330***********123X", "****12", "138xxxx1234", "138XXXX1234", "张×", "张**", "刘○○"])
def test_what_people_write_for_a_mask_is_one(text: str) -> None:
    assert sheets.is_mask(text)


@pytest.mark.parametrize("text", ["", "张三", "13812345678", "33010119900101123X", "+86 138-1234-5678", "0571-88888888转801", "阿×提", "李X明", "Max", "x"])
def test_a_name_or_number_is_no_mask(text: str) -> None:
    assert not sheets.is_mask(text)


@each
def test_what_nobody_can_give_is_told_from_what_somebody_can(resource: Resource) -> None:
    given_ = {spelling for field in resource.writable for spelling in field.spellings}
    assert sheets.set_aside(resource) & given_ == set()


def test_a_title_that_would_be_read_as_another_code_is_not_written() -> None:
    assert sheets.told_apart({"a": "甲", "b": "乙", "c": "乙", "d": "a", "e": "e"}) == {"a": "甲", "e": "e"}
