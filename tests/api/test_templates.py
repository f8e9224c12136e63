"""Tables to fill in, for whoever may know of the noun; nothing of the data is in them."""

import io
from pathlib import Path

import pytest
import sqlalchemy as sa
from python_calamine import CalamineWorkbook
from starlette.testclient import TestClient
from typer.testing import CliRunner

from api.sending import KINDS
from geo import sheets
from geo.catalog import RESOURCES
from geo.resource import Audience
from tests import town

HTML = {"Accept": "text/html"}


def heads(content: bytes) -> list[object]:
    return list(CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()[0])


def test_everybody_knows_of_the_public_ones(client: TestClient, connection: sa.Connection) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    public = {r.name for r in RESOURCES.values() if r.audience is Audience.PUBLIC}
    for headers, known in ((town.NOBODY, public), (worker, set(RESOURCES))):
        listed = client.get("/templates", headers=headers).json()["templates"]
        assert {one["noun"] for one in listed} == known
        page = client.get("/templates", headers=headers | HTML)
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        for name in RESOURCES:
            answer = client.get(f"/templates/{name}.xlsx", headers=headers)
            assert answer.status_code == (200 if name in known else 404), name
            assert (f'href="/templates/{name}.xlsx"' in page.text) is (name in known)
    assert client.get("/templates/nonsense.xlsx").status_code == 404


def test_it_has_the_codes_of_the_place_and_nothing_of_the_data(client: TestClient, connection: sa.Connection) -> None:
    town.add(connection, "facilities", name="机密的名字")
    connection.execute(sa.text("INSERT INTO facility_kinds (code, title, title_en) VALUES ('zz', '茶亭', 'Tea house')"))
    answer = client.get("/templates/facilities.xlsx")
    assert answer.headers["content-type"] == KINDS["xlsx"] and answer.headers["content-disposition"].endswith('"facilities-template.xlsx"')
    book = CalamineWorkbook.from_filelike(io.BytesIO(answer.content))
    told = {str(cell) for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python() for cell in row}
    assert "茶亭" in told and not any("机密" in cell for cell in told)
    assert client.get("/templates/facilities.xlsx").content == answer.content


def test_who_sees_less_is_asked_for_less(client: TestClient, connection: sa.Connection) -> None:
    worker = town.come(connection, "worker", "grid_worker", town.A)
    assert "人数" in heads(client.get("/templates/buildings.xlsx", headers=worker).content)
    assert "人数" not in heads(client.get("/templates/buildings.xlsx").content)


def test_the_catalogue_says_where_it_is(client: TestClient) -> None:
    links = client.get("/collections/parts").json()["links"]
    [href] = [link["href"] for link in links if link["rel"] == "template"]
    assert client.get(href).status_code == 200


def test_the_command_writes_the_same_table(
    live: object, live_client: TestClient, live_engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api import cli
    from api.settings import settings
    from tests.conftest import HOME

    monkeypatch.setenv("JINGWEI_DATABASE_URL", live_engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("JINGWEI_HOME", str(HOME))
    settings.cache_clear()
    try:
        target = tmp_path / "residents.xlsx"
        done = CliRunner().invoke(cli.app, ["template", "residents", str(target)])
        assert done.exit_code == 0, done.exception
        assert heads(target.read_bytes()) == [field.title for field in RESOURCES["residents"].writable]
        assert sheets.NOTES in CalamineWorkbook.from_path(target).sheet_names
    finally:
        settings.cache_clear()
