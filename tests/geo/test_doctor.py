"""The doctor sees what is wrong, says the way out, and leaves everything as it was."""

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import make_url

from geo import db, doctor, keys
from geo.cluster import Address
from geo.doctor import Finding, findings
from tests.conftest import HOME, Databases

NOBODY: Mapping[str, str] = {}


def _told(given: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in given if finding.subject == subject]


def _database(address: Address, name: str) -> list[Finding]:
    url = address.url(database=name).render_as_string(hide_password=False)
    return _told(findings(Path("/nowhere"), _free(), {"JINGWEI_DATABASE_URL": url}), "数据库")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_empty_home_stays_empty(tmp_path: Path) -> None:
    told = findings(tmp_path / "home", _free(), NOBODY)
    assert not (tmp_path / "home").exists()
    assert [finding.subject for finding in told] == list(dict.fromkeys(finding.subject for finding in told))
    # Whether scripts were fetched and namespaces are allowed is this machine's business.
    assert [f for f in told if not f.well and f.subject not in ("页面脚本", "读文件的进程")] == []
    assert "还没有建立" in _told(told, "数据库")[0].detail


def test_a_given_database_makes_nothing_at_home(tmp_path: Path) -> None:
    told = findings(tmp_path / "home", _free(), {"JINGWEI_DATABASE_URL": f"postgresql://a:b@127.0.0.1:{_free()}/c"})
    assert not (tmp_path / "home").exists()
    (database,) = _told(told, "数据库")
    assert not database.well
    assert "Connection refused" in database.detail


def test_the_running_cluster_is_told(address: Address) -> None:
    told = _told(findings(HOME, _free(), NOBODY), "数据库")
    # The test cluster holds no database called jingwei.
    assert [finding.well for finding in told] == [False]
    assert 'database "jingwei" does not exist' in told[0].detail


def test_a_migrated_database_is_well(address: Address, migrated: str) -> None:
    told = _database(address, migrated)
    assert [finding.detail for finding in told if not finding.well] == []
    details = " ".join(finding.detail for finding in told)
    assert all(word in details for word in ("PostGIS 3", "LEAKPROOF", "“经纬”", "正式", "最新"))


def test_the_roles_it_looks_for_are_all_there_are(connection: sa.Connection) -> None:
    made = connection.execute(sa.text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'jingwei\\_%'")).scalars()
    assert {f"jingwei_{role}" for role in doctor.ROLES} | {"jingwei_admin"} == set(made)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("ALTER FUNCTION geometry_overlaps(geometry, geometry) NOT LEAKPROOF", "LEAKPROOF.*超级用户运行 jingwei migrate"),
        ("UPDATE jingwei.alembic_version SET version_num = '9999'", "比这个程序还新:请升级程序"),
        ("DELETE FROM jingwei.alembic_version", "请运行 jingwei migrate"),
        ("ALTER TABLE jingwei.changes DISABLE TRIGGER changes_trailed", "changes.changes_trailed.*请运行 jingwei migrate"),
        ("INSERT INTO jingwei.accounts (login, made_by) VALUES ('worker', 'test'); INSERT INTO jingwei.unmaskings"
         " (at, account, persons, actor, acting_as, noun, feature, fields, purpose, note, scope, entry)"
         " SELECT now() - interval '8 days', id, ARRAY[id], login, '', 'residents', id, '{name}', 'visit', '看望', '', 1 FROM jingwei.accounts",
         "1 次查看明文超过 7 天.*/unmaskings"),
        ("DROP SCHEMA jingwei CASCADE", "还没有建表:请运行 jingwei migrate"),
        ("INSERT INTO jingwei.rights_requests (ticket, code_hash, kind, scope, received_at, due_at)"
         " VALUES ('T', '', 'access', '', now(), now() - interval '1 s')", "1 个本人对个人信息的请求已逾期:请尽快答复"),
        ("INSERT INTO jingwei.rights_requests (ticket, code_hash, kind, scope, received_at, due_at, finished_at, subject_cipher)"
         " VALUES ('T', '', 'access', '', now(), now(), now() - interval '1098 days', '')", "1 条个人信息到期两天.*jingwei retention run"),
    ],
)
def test_what_is_wrong_comes_with_the_way_out(
    address: Address, databases: Databases, migrated: str, statement: str, sentence: str
) -> None:
    name = databases(migrated)
    engine = db.engine(address.url(database=name), pool=1)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    wrong = [finding.detail for finding in _database(address, name) if not finding.well]
    assert len(wrong) == 1
    assert re.search(sentence, wrong[0])


@pytest.mark.parametrize(
    ("version", "offered", "well"),
    [("3.3.2", "3.3.2", True), (None, "3.4.0", True), ("3.10.1", None, True), ("3.2.9", "3.5.0", False), (None, None, False)],
)
def test_postgis_is_judged_by_number(version: str | None, offered: str | None, well: bool) -> None:
    assert doctor._postgis(version, offered)[0] is well


def test_a_port_is_free_taken_or_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (other,) = _told(findings(tmp_path, port, NOBODY), "网页端口")
        assert (other.well, "JINGWEI_PORT" in other.detail) == (False, True)
    (free,) = _told(findings(tmp_path, port, NOBODY), "网页端口")
    assert free.well


@pytest.mark.parametrize("note", ["", "x", "4194305", str(os.getpid())], ids=["empty", "letter", "nobody", "somebody else"])
def test_a_note_left_behind_claims_no_port(tmp_path: Path, note: str) -> None:
    (tmp_path / "server.pid").write_text(note)
    assert not doctor._ours(tmp_path / "server.pid")


def test_weak_secrets_are_told_as_a_start_would_refuse_them(tmp_path: Path) -> None:
    keys.field_key(tmp_path)
    url = f"postgresql://admin:changeme@127.0.0.1:{_free()}/x"
    assert [f.well for f in _told(findings(tmp_path, _free(), NOBODY), "密钥")] == [True]
    keys.field_key_path(tmp_path).write_bytes(bytes(64))
    keys.field_key_path(tmp_path).chmod(0o640)
    told = _told(findings(tmp_path, _free(), {"JINGWEI_DATABASE_URL": url}), "密钥")
    assert [f.well for f in told] == [False] * 3
    assert [f.detail for f in told] == list(keys.weaknesses(tmp_path, make_url(url), {}))
    for word in ("chmod", "keys rotate", "JINGWEI_DATABASE_PASSWORD_FILE"):
        assert any(word in f.detail for f in told)
    assert not any("changeme" in f.detail for f in told)


def test_lost_scripts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "VENDOR", tmp_path)
    (told,) = _told(findings(tmp_path, _free(), NOBODY), "页面脚本")
    assert not told.well
    assert all(name in told.detail for name in doctor.ASSETS)


def test_browser_and_fonts_are_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BROWSERS", ("no-such-browser",))
    ((well, detail),) = doctor._browser()
    assert well
    assert "chromium" in detail


def _raising(error: Exception) -> Callable[[], object]:
    def look() -> object:
        raise error
        yield

    return look


@pytest.mark.parametrize("error", [OSError(5, "broken disk"), ValueError(""), RuntimeError("two\nlines")])
def test_the_doctor_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(doctor, "_assets", _raising(error))
    told = findings(tmp_path, _free(), NOBODY)
    (failed,) = _told(told, "页面脚本")
    assert not failed.well
    assert _told(told, "数据库")
