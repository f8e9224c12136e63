"""The pages of a file on its way in, as a browser without scripts takes them: five steps, each a form, a link or a table."""

import csv
import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from api import upload_pages
from api.app import create_app
from api.deps import Engines
from api.limits import Limits
from geo import db
from geo.cluster import Address
from geo.keys import FieldKey
from geo.receiving import Working
from tests import town
from tests.conftest import ROOT, Client, Databases

PERSON = {"Accept": "text/html,*/*;q=0.8", "Authorization": f"Bearer {town.LEADER}"}
# What a spreadsheet takes for a formula, what a browser takes for markup, and what is neither.
HOSTILE = '=HYPERLINK("http://x.example","点我")'
# Said to who loads from the command line alone.
NOT_HERE = {"坐标像是偏移过的({why}),请用 --datum 确认。"}
MARKUP = "<img src=x onerror=alert(1)>"


@dataclass
class Desk:
    """The server, its worker and its database; one for all tests here, each of which has codes of its own."""

    client: Client
    engine: sa.Engine
    working: Working


@pytest.fixture(scope="module")
def desk(
    address: Address, databases: Databases, peopled: str, key: FieldKey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    name = databases(peopled)
    here = Address(address.url(database=name), address.passwords)
    engines = Engines(*(db.engine(here.url(f"jingwei_{login}"), pool=2) for login in ("web", "door", "trail")))
    loader, engine = db.engine(here.url("jingwei_loader"), pool=2), db.engine(here.url())
    served = create_app(engines, key, tmp_path_factory.mktemp("home"))
    served.state.limits = Limits({})
    with Client(served) as client:
        yield Desk(client, engine, Working(loader, key, served.state.home))
    loader.dispose()
    engine.dispose()


@pytest.fixture
def live_client(desk: Desk) -> Client:
    # The language that the last reader asked for is kept by their browser.
    desk.client.cookies.clear()
    return desk.client


@pytest.fixture
def live_engine(desk: Desk) -> sa.Engine:
    return desk.engine


@pytest.fixture
def working(desk: Desk) -> Working:
    return desk.working


@pytest.fixture(scope="module")
def corner(desk: Desk) -> tuple[float, float]:
    with desk.engine.connect() as connection:
        west, south = connection.execute(sa.text("SELECT ST_XMin(e), ST_YMin(e) FROM (SELECT ST_Extent(geom) AS e FROM areas) AS q")).one()
    return west + 0.005, south + 0.005


def sheet(corner: tuple[float, float], *lines: str, heads: str = "名称,编码,类别,容量") -> bytes:
    x, y = corner
    return (f"{heads},经度,纬度\n" + "".join(f"{line},{x},{y}\n" for line in lines)).encode()


def sent(client: Client, content: bytes, name: str = "设施.csv", **fields: str) -> UUID:
    given = {"noun": "facilities", "datum": "cgcs2000"} | fields
    answer = client.post("/uploads", files={"file": (name, content)}, data=given, headers=PERSON, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return UUID(answer.headers["location"].removeprefix("/uploads/"))


def page(client: Client, id: UUID, query: str = "", **headers: str) -> str:
    answer = client.get(f"/uploads/{id}{query}", headers=PERSON | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    text: str = answer.text
    return text


def put(client: Client, id: UUID, status: int = 303, **fields: Any) -> str:
    answer = client.post(f"/uploads/{id}/form", data=fields, headers=PERSON, follow_redirects=False)
    assert answer.status_code == status, answer.text
    text: str = answer.text
    return text


def step(text: str) -> str:
    found = re.search(r'<li[^>]*aria-current="step"><span><b>(\d)</b>', text)
    assert found, text
    return found[1]


def test_a_person_is_led_from_the_file_to_the_batch_and_back(
    live_client: Client, live_engine: sa.Engine, working: Working, corner: tuple[float, float]
) -> None:
    id = sent(live_client, sheet(corner, "甲店,G1,hospital,10", "乙店,G2,hospital,20", "丙店,G3,没有这类,30"))
    waiting = page(live_client, id)
    assert 'hx-trigger="every 1s"' in waiting and 'http-equiv="refresh"' in waiting and step(waiting) == "2"
    working.read(id)
    # What works is asked after by a fragment, which has the page come anew when it is done.
    asked = live_client.get(f"/uploads/{id}", headers={"HX-Request": "true", "Authorization": PERSON["Authorization"]})
    assert asked.headers["hx-refresh"] == "true" and "<html" not in asked.text
    checked = page(live_client, id)
    assert step(checked) == "4" and "没有这类" in checked and "map_main" in checked
    assert "甲店" in page(live_client, id, "?step=4&tab=new")
    assert "丙店" not in page(live_client, id, "?step=4&tab=problems&field=code")
    known = page(live_client, id, "?step=3")
    assert 'value="容量" selected' in known and 'name="field" value="capacity"' in known
    last = page(live_client, id, "?step=5")
    assert "入库没有问题的 2 行" in last
    put(live_client, id, do="apply", rows="good", missing="keep", remember="true")
    assert "正在入库" in page(live_client, id)
    working.apply(id)
    done = page(live_client, id)
    assert "2 行已入库" in done and "另有 1 行有问题" in done
    place = re.search(r'href="(/\?z=[^"]+)"', done)
    assert place and "layers=areas,facilities" in html.unescape(place[1])
    put(live_client, id, do="undo")
    assert "正在撤回" in page(live_client, id)
    working.undo(id)
    assert "这一批已撤回" in page(live_client, id)
    with live_engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM facilities WHERE code LIKE 'G%' AND retired_at IS NULL")).scalar_one() == 0
    assert "已撤回" in live_client.get("/uploads", headers=PERSON).text


def test_a_wrong_guess_is_corrected_by_hand(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    content = sheet(corner, "甲店,H1,hospital,别名甲", heads="名称,编码,类别,招牌")
    id = sent(live_client, content)
    working.read(id)
    assert 'value="招牌" selected' not in page(live_client, id, "?step=3")
    put(live_client, id, do="match", field=["name", "code", "kind"], column=["招牌", "", "类别"])
    working.read(id)
    told = live_client.get(f"/uploads/{id}", headers={"Authorization": PERSON["Authorization"]}).json()
    # Of what was left as it was nothing is said: it stays a guess.
    assert told["choices"]["columns"] == {"name": "招牌", "code": ""}
    assert told["told"]["matched"]["name"] == "招牌" and "code" not in told["told"]["matched"]
    assert "别名甲" in page(live_client, id, "?step=4&tab=new")
    put(live_client, id, do="read", noun="organisations")
    told = live_client.get(f"/uploads/{id}", headers={"Authorization": PERSON["Authorization"]}).json()
    assert told["choices"]["noun"] == "organisations" and "columns" not in told["choices"]


def test_what_must_be_confirmed_is_asked_first_and_keeps_the_door_shut(
    live_client: Client, working: Working, corner: tuple[float, float]
) -> None:
    id = sent(live_client, sheet(corner, "甲店,I1,hospital,10"), datum="")
    working.read(id)
    asked = page(live_client, id)
    assert step(asked) == "2" and "先请您确认" in asked
    assert re.findall(r'name="datum" value="(\w+)" required', asked) == ["cgcs2000", "gcj02", "bd09"]
    assert 'value="apply"' not in page(live_client, id, "?step=5")
    put(live_client, id, do="read", datum="cgcs2000")
    working.read(id)
    assert step(page(live_client, id)) == "4" and 'value="apply"' in page(live_client, id, "?step=5")


@pytest.mark.parametrize(
    ("content", "name", "noun", "said"),
    [
        ("招牌,号牌\n甲,1\n", "表.csv", "facilities", ['name="field" value="name"', 'value="招牌"', "每一行"]),
        ("a,b\n1,2\n", "杂.csv", "", ['<select id="noun" name="noun">', 'name="layer_title"']),
        ("名称,类别,gcj02_lng,gcj02_lat\n甲店,hospital,120.1,30.1\n", "店.csv", "facilities", ['name="datum" value="gcj02" required', "请确认是哪一种"]),
    ],
)
def test_a_refusal_says_what_to_do_in_a_form(
    live_client: Client, working: Working, content: str, name: str, noun: str, said: list[str]
) -> None:
    id = sent(live_client, content.encode(), name, noun=noun, datum="")
    working.read(id)
    text = page(live_client, id)
    assert 'role="alert"' in text and "这个文件还读不了" in text
    assert [part for part in said if part not in text] == []
    # Nobody at a screen is told of the options of a command.
    shown = re.search(r'<p class="alarm big".*?</p>', text, re.S)
    assert shown and "--" not in shown[0]
    put(live_client, id, do="discard")
    assert "没有入库" in page(live_client, id)


def test_what_is_said_instead_of_options_is_said_of_sentences_there_are() -> None:
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "geo").rglob("*.py"))
    assert [sentence for sentence in upload_pages.INSTEAD if f'"{sentence}"' not in said] == []
    # None of a form's own sentences speaks of options either.
    assert [sentence for sentence in upload_pages.INSTEAD.values() if "--" in sentence] == []
    spoken = set(re.findall(r'"([^"\n]*--(?:encoding|crs|datum|layer|header|axes|into)\b[^"\n]*)"', said))
    assert {sentence for sentence in spoken if re.search("[\u4e00-\u9fff]", sentence)} - set(upload_pages.INSTEAD) - NOT_HERE == set()


def test_pasted_text_is_a_file(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    x, y = corner
    text = f"名称\t编码\t类别\t经度\t纬度\r\n甲店\tF1\thospital\t{x}\t{y}\r\n"
    # Without a script the form has this one field; a form with files in it is multipart all the same.
    form = {"text": (None, text), "noun": (None, "facilities"), "datum": (None, "cgcs2000")}
    answer = live_client.post("/uploads", files=form, headers=PERSON, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    id = UUID(answer.headers["location"].removeprefix("/uploads/"))
    working.read(id)
    assert "粘贴的内容.txt" in page(live_client, id) and "甲店" in page(live_client, id, "?step=4&tab=new")


def test_problems_go_out_as_a_sheet_without_formulas(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    id = sent(live_client, sheet(corner, f"甲店,L1,{quoted},10", "乙店,L2,没有这类,20"), "设施 一.csv")
    working.read(id)
    answer = live_client.get(f"/uploads/{id}/problems.csv", headers=PERSON)
    assert answer.content.startswith(b"\xef\xbb\xbf") and "attachment" in answer.headers["content-disposition"]
    head, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert head[:4] == ["行", "列", "值", "问题"]
    assert [(row[0], row[1], row[2]) for row in rows] == [("1", "类别", "'" + HOSTILE), ("2", "类别", "没有这类")]
    english = live_client.get(f"/uploads/{id}/problems.csv?lang=en", headers=PERSON).content.decode("utf-8-sig")
    assert english.splitlines()[0].startswith("Row,Column,Value")


def test_repairs_are_refused_one_by_one(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    x, y = corner
    bow = f"POLYGON (({x} {y}, {x + 0.001} {y + 0.001}, {x + 0.001} {y}, {x} {y + 0.001}, {x} {y}))"
    content = f'楼栋名称,楼栋编码,WKT\n甲楼,B1,"{bow}"\n乙楼,B2,"{bow}"\n'.encode()
    id = sent(live_client, content, "楼栋.csv", noun="buildings")
    working.read(id)
    listed = page(live_client, id, "?step=4&tab=mended")
    assert re.findall(r'name="mended" value="(\d+)" checked', listed) == ["1", "2"]
    put(live_client, id, do="mend", listed=["1", "2"], mended=["2"])
    working.read(id)
    told = live_client.get(f"/uploads/{id}", headers={"Authorization": PERSON["Authorization"]}).json()
    assert told["choices"]["repair"] == [1] and told["counts"]["new"] == 1, told


def test_a_changed_row_shows_before_and_after(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    first = sent(live_client, sheet(corner, "甲店,N1,hospital,10"))
    working.read(first)
    put(live_client, first, do="apply")
    working.apply(first)
    second = sent(live_client, sheet(corner, "甲店,N1,hospital,11"))
    working.read(second)
    changed = page(live_client, second)
    assert "<del>10</del>" in changed and "<ins>11</ins>" in changed
    # What stands on it keeps the first from being taken back, and the page says so.
    put(live_client, second, do="apply")
    working.apply(second)
    put(live_client, first, do="undo")
    working.undo(first)
    assert "没有撤回" in page(live_client, first)


def test_names_headings_and_values_stay_text(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    x, y = corner
    content = f"名称,编码,类别,{MARKUP},经度,纬度\n{MARKUP},O1,hospital,{MARKUP},{x},{y}\n乙,O2,{MARKUP},{MARKUP},{x},{y}\n".encode()
    id = sent(live_client, content, f"{MARKUP}.csv")
    working.read(id)
    for query in ("", "?step=2", "?step=3", "?step=4&tab=new", "?step=4&tab=problems", "?step=5"):
        text = page(live_client, id, query)
        assert MARKUP not in text and html.escape(MARKUP) in text, query
    assert MARKUP not in live_client.get("/uploads", headers=PERSON).text


def test_a_step_out_of_turn_is_told_in_the_page_and_an_address_without_sense_refused(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    id = sent(live_client, sheet(corner, "甲店,Q1,hospital,10"))
    working.read(id)
    for query in ("?step=9", "?step=4&tab=nothing", "?step=4&after=x", "?unknown=1"):
        assert live_client.get(f"/uploads/{id}{query}", headers=PERSON).status_code == 400
    assert 'role="alert"' in put(live_client, id, 409, do="undo")
    assert live_client.post(f"/uploads/{id}/form", data={"do": "apply", "more": "1"}, headers=PERSON).status_code == 422


def test_the_pages_are_for_who_may_load_and_for_the_sender_alone(
    live_client: Client, live_engine: sa.Engine, working: Working, corner: tuple[float, float]
) -> None:
    id = sent(live_client, sheet(corner, "甲店,R1,hospital,10"))
    working.read(id)
    with live_engine.begin() as connection:
        town.token(connection, town.post(connection, "worker", "grid_worker", town.A), "jw_test_worker")
        town.token(connection, town.post(connection, "other", "street", town.PREFIX), "jw_test_other")
    for token, status in (("jw_test_worker", 403), ("jw_test_other", 404)):
        theirs = {"Accept": "text/html", "Authorization": f"Bearer {token}"}
        for path in (f"/uploads/{id}", f"/uploads/{id}/problems.csv"):
            assert live_client.get(path, headers=theirs).status_code == status, (token, path)
        assert live_client.post(f"/uploads/{id}/form", data={"do": "apply"}, headers=theirs).status_code == status
    assert live_client.get("/uploads", headers={"Accept": "text/html", "Authorization": "Bearer jw_test_worker"}).status_code == 403


def test_english_is_complete(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    # Only what came with the file may be Chinese, and the name that somebody gave a layer.
    content = sheet(corner, "A,S1,hospital,10", "B,S2,nothing,10").decode().replace("名称,编码,类别,容量,经度,纬度", "name,code,kind,capacity,lon,lat")
    id = sent(live_client, content.encode(), "a.csv")
    working.read(id)
    for query in ("?step=2&lang=en", "?step=3&lang=en", "?step=5&lang=en"):
        text = re.sub(r'(?s)<header.*?</header>|<script.*?</script>|<[^>]*data-extent.*?>|"[^"]*"', "", page(live_client, id, query))
        body = re.sub(r"<[^>]+>", " ", text)
        assert re.findall(r"[\u4e00-\u9fff]+", body) in ([], ["经纬"], ["测点"]), query


def test_what_fits_nothing_becomes_a_layer_of_its_own(live_client: Client, working: Working, corner: tuple[float, float]) -> None:
    id = sent(live_client, f"测号,读数,经度,纬度\n007,<b>,{corner[0]},{corner[1]}\n".encode(), "测点.csv", noun="")
    working.read(id)
    asked = page(live_client, id)
    assert re.search(r'<details class="ends" open><summary>哪一类都不是', asked) and 'name="layer_kind"' not in asked
    put(live_client, id, do="read", layer_asked="true", layer_title="测点", layer_audience="public", layer_color="#00aa00")
    working.read(id)
    checked = page(live_client, id, "?step=4&tab=new")
    assert "<th scope=\"col\">测号</th>" in checked and "<td>007</td>" in checked and "&lt;b&gt;" in checked and "自有图层" in checked
    put(live_client, id, do="apply")
    working.apply(id)
    assert f"layers=areas,{id}" in page(live_client, id)
    # Without a name it is to be no layer.
    again = sent(live_client, f"测号,读数,经度,纬度\n007,1,{corner[0]},{corner[1]}\n".encode(), "测点.csv", noun="")
    for name in ("测点", ""):
        working.read(again)
        put(live_client, again, do="read", layer_asked="true", layer_title=name)
        told = live_client.get(f"/uploads/{again}", headers={"Authorization": PERSON["Authorization"]}).json()
        assert ("as_layer" in told["choices"]) == bool(name)
    # Or it is the next edition of the one that there is.
    later = sent(live_client, f"测号,读数,经度,纬度\n007,2,{corner[0]},{corner[1]}\n008,3,{corner[0]},{corner[1]}\n".encode(), "测点.csv", noun="")
    working.read(later)
    assert f'<option value="{id}">“测点”的新一版</option>' in page(live_client, later)
    put(live_client, later, do="read", layer_asked="true", layer_id=str(id), layer_title="别的")
    working.read(later)
    assert f'<option value="{id}" selected>' in page(live_client, later, "?step=2")
    put(live_client, later, do="apply")
    working.apply(later)
    (layer,) = live_client.get("/layers", headers={"Authorization": PERSON["Authorization"]}).json()["layers"]
    assert (layer["id"], layer["title"], layer["rows"], layer["color"]) == (str(id), "测点", 2, "#00AA00")
