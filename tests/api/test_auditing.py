"""The auditor's commands, and what a writer is told when the trail cannot be written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from api import cli, cli_audit
from api.settings import Settings
from geo import trail
from geo.cluster import Address
from geo.trail import Entry, Wanted
from tests import town

Asked = Callable[..., Result]


@pytest.fixture
def jingwei(live: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Runs `jingwei audit …` on the live database and a home of its own."""
    monkeypatch.setattr(cli_audit, "reached", lambda _: live)
    monkeypatch.setattr(cli_audit, "settings", lambda: Settings(home=tmp_path))
    return lambda *words: CliRunner().invoke(cli.app, ["audit", *words], catch_exceptions=False)


def test_the_auditor_verifies_reads_exports_and_keeps(jingwei: Asked, live_engine: sa.Engine, tmp_path: Path) -> None:
    done = jingwei("verify")
    assert done.exit_code == 0 and "完整" in done.stdout and "没有锚点" in done.stdout
    head = jingwei("head").stdout.split()[0]
    done = jingwei("verify", "--head", head)
    assert done.exit_code == 0 and "1 个锚点" in done.stdout
    lines = jingwei("list", "--noun", "areas", "--most", "3").stdout.splitlines()
    assert [line.split("\t")[4] for line in lines] == ["add"] * 3
    assert jingwei("list").stdout.splitlines()[1].split("\t")[4:6] == ["read", "trail"]
    file = tmp_path / "trail"
    assert jingwei("export", str(file)).exit_code == 0
    done = jingwei("verify", "--from", str(file), "--head", head)
    assert done.exit_code == 0 and "完整" in done.stdout
    done = jingwei("prune")
    assert done.exit_code == 0 and "清理了 0 条" in done.stdout
    with live_engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("UPDATE trail SET actor = 'nobody' WHERE id = 3")
    done = jingwei("verify")
    assert done.exit_code == 1 and "第 3 条被改过" in done.stdout and "完整" not in done.stdout
    done = jingwei("verify", "--from", str(file), "--head", f"{head.split(':')[0]}:{'00' * 32}")
    assert done.exit_code == 1 and "整段重写" in done.stdout
    assert jingwei("verify", "--head", "nonsense").exit_code == 2


def test_what_strangers_sent_stays_text_to_a_terminal(jingwei: Asked, live_engine: sa.Engine) -> None:
    trail.append(live_engine, Entry("sign_in", "\x1b[31mroot\t\n\u202egnp", origin="a" * 9_000))
    line = jingwei("list", "--action", "sign_in").stdout
    assert line.count("\n") == 1 and line.count("\t") == 10
    assert "\x1b" not in line and "\u202e" not in line and len(line) < 400


def test_altered_anchors_are_told(jingwei: Asked, tmp_path: Path) -> None:
    assert jingwei("verify").exit_code == 0
    place = tmp_path / "anchors.jsonl"
    place.write_text(place.read_text().replace('"id": ', '"id": 1'))
    done = jingwei("verify")
    assert done.exit_code == 1 and "锚点文件第 1 行" in done.stdout


def test_who_writes_without_a_trail_is_told_and_nothing_is_stored(live_client: TestClient, live_engine: sa.Engine) -> None:
    one = {"type": "Feature", "geometry": town.point(0.5, 0.5), "properties": {"name": "井盖"}}
    stored = sa.text("SELECT (SELECT count(*) FROM parts), (SELECT count(*) FROM changes), (SELECT count(*) FROM idempotency)")
    with live_engine.begin() as connection:
        before = connection.execute(stored).one()
        connection.exec_driver_sql("REVOKE INSERT ON trail FROM jingwei_definer")
    told = live_client.post("/collections/parts/items", json=one, headers={"Idempotency-Key": "k1"})
    assert (told.status_code, told.json()["type"]) == (503, "/problems/unavailable")
    assert "留痕写不进去" in told.json()["detail"]
    assert live_client.get("/collections/parts/items").status_code == 200
    with live_engine.begin() as connection:
        assert connection.execute(stored).one() == before
        connection.exec_driver_sql("GRANT INSERT ON trail TO jingwei_definer")
    # The same request again, now that it can be written down.
    made = live_client.post("/collections/parts/items", json=one, headers={"Idempotency-Key": "k1"})
    assert made.status_code == 201
    with live_engine.begin() as connection:
        line = trail.page(connection, Wanted(most=1))[0]
    assert (line.actor, line.action, line.noun, line.feature, line.origin) == ("leader", "add", "parts", made.json()["id"], "testclient")
    assert line.acting_as.endswith(f"@{town.PREFIX}")
