"""Retention as an operator meets it: the commands, the worker, and what a start does after a restore."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from api import cli, cli_retention
from api.settings import Settings
from geo import destroyed
from geo.cluster import Address
from geo.errors import Invalid, NotFound
from tests import town
from tests.conftest import HOME, ROOT


@pytest.fixture
def environ(live: Address, tmp_path: Path) -> dict[str, str]:
    """That of an operator whose server has this database."""
    (tmp_path / "keys").symlink_to(HOME / "keys")
    url = live.url().render_as_string(hide_password=False)
    return {"JINGWEI_HOME": str(tmp_path), "JINGWEI_DATABASE_URL": url, "LC_ALL": "C.UTF-8"}


@pytest.fixture
def jingwei(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command, and returns what it said."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for module in (cli, cli_retention):
        monkeypatch.setattr(module, "settings", Settings)
        # A console made before the test writes where the test does not look.
        monkeypatch.setattr(module, "console", cli.Console(highlight=False, width=400))

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=True)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


@pytest.fixture
def overdue(live_engine: sa.Engine) -> Iterator[str]:
    """A resident who left the lists a month ago, and one who did not."""
    with live_engine.begin() as connection:
        id = town.add(connection, "residents", name="张三", code="over")
        town.add(connection, "residents", name="李四", code="here")
        connection.execute(sa.text("UPDATE residents SET retired_at = now() - interval '31 days' WHERE id = :id"), {"id": id})
    return str(id)


def left(engine: sa.Engine) -> list[str]:
    with engine.begin() as connection:
        return list(connection.execute(sa.text("SELECT code FROM residents ORDER BY 1")).scalars())


def test_the_commands_tell_what_they_do(jingwei: Any, overdue: str, live_engine: sa.Engine) -> None:
    assert "居民 · 整行:1 条,已注销,不再需要,自 " in jingwei("retention", "due")
    assert left(live_engine) == ["here", "over"]
    said = jingwei("retention", "run")
    assert "居民 · 整行:销毁 1 条" in said and "销毁证明 第 1 号" in said
    assert left(live_engine) == ["here"]
    assert jingwei("retention", "due") == jingwei("retention", "run") == ""
    with live_engine.begin() as connection:
        id = str(connection.scalar(sa.text("SELECT id FROM certificates")))
    assert id in jingwei("retention", "certificates")
    assert "与销毁清单相符" in jingwei("retention", "certificate", id)
    with pytest.raises(NotFound):
        jingwei("retention", "certificate", str(uuid4()))
    assert "没有要重新销毁的" in jingwei("retention", "replay")
    with live_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE destructions DISABLE TRIGGER certified; UPDATE destructions SET field = 'x'")
    assert "与销毁清单不符" in jingwei("retention", "certificate", id, status=1)


def test_by_hand_and_put_off(jingwei: Any, overdue: str, live_engine: sa.Engine) -> None:
    assert "已销毁,证明编号" in jingwei("destroy", "residents", overdue)
    with pytest.raises(NotFound):
        jingwei("destroy", "residents", overdue)
    with pytest.raises(NotFound):
        jingwei("destroy", "guests", overdue)
    with live_engine.begin() as connection:
        flood = str(town.add(connection, "activations"))
    until = time.strftime("%Y-%m-%d", time.localtime(time.time() + 200 * 86_400))
    how = ("retention", "assess", flood, "--until", until, "--by", "法制科", "--why", "复议尚未审结,须保留作证据")
    with pytest.raises(Invalid):
        jingwei(*how)
    with live_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE activations SET closed_at = now()")
    assert f"审查期延至 {until}" in jingwei(*how)


def test_a_start_destroys_again_what_a_backup_brought_back(jingwei: Any, overdue: str, live_engine: sa.Engine, tmp_path: Path) -> None:
    with live_engine.begin() as connection:
        own = str(connection.scalar(sa.text("SELECT id FROM instance")))
    destroyed.append(tmp_path, {
        "instance": own, "id": str(uuid4()), "at": "2026-01-01T00:00:00+08:00", "cause": "period", "activation": None, "request": None,
        "noun": "residents", "field": "", "columns": None, "ids": [overdue],
    })
    assert "从备份恢复后重新销毁 1 条" in jingwei("migrate")
    assert left(live_engine) == ["here"]


def test_the_worker_catches_up_on_a_night_that_was_missed(
    environ: dict[str, str], overdue: str, live_engine: sa.Engine, tmp_path: Path
) -> None:
    with live_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE relay SET destroyed_on = current_date - 3")
    process = subprocess.Popen([sys.executable, "-m", "api.serving"], cwd=ROOT, env=os.environ | environ)
    try:
        patience = time.monotonic() + 60
        waiting = True
        while waiting and time.monotonic() < patience and process.poll() is None:
            time.sleep(0.1)
            with live_engine.begin() as connection:
                waiting = not connection.scalar(sa.text("SELECT destroyed_on > current_date - 2 FROM relay"))
    finally:
        process.terminate()
        process.wait(20)
    assert left(live_engine) == ["here"]
    with live_engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT issued_by || total FROM certificates")) == "retention1"
    assert overdue in destroyed.path(tmp_path).read_text()
