"""`jingwei keys rotate` is killed again and again, and in the end every number is there, under one key."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.sealing import filled
from geo import db, keys, sealing
from geo.cluster import Address

ROOT = Path(__file__).parents[2]
VALUES = 40_000

pytestmark = pytest.mark.long


def test_a_change_of_keys_survives_its_killing(live: Address, live_engine: sa.Engine, tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = keys.field_key(home)
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    with live_engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE posts, changes")
    ids = filled(live_engine, loader, key, VALUES)
    loader.dispose()
    url = live.url().render_as_string(hide_password=False)
    environ = os.environ | {"JINGWEI_HOME": str(home), "JINGWEI_DATABASE_URL": url}
    command = [sys.executable, "-m", "api.cli", "keys", "rotate"]
    moved = 0
    for kill in range(1, 6):
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and sealing.status(live_engine)["posts.phone", 2] < kill * VALUES // 8:
            time.sleep(0.02)
        process.kill()
        process.wait()
        told = sealing.status(live_engine)
        assert sum(told.values()) == VALUES and set(told) <= {("posts.phone", 1), ("posts.phone", 2)}
        assert moved < told["posts.phone", 2] < VALUES
        moved = told["posts.phone", 2]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    print(done.stdout)
    assert sealing.status(live_engine) == {("posts.phone", 2): VALUES}
    assert [k.number for k in keys.field_key(home).ring.opening] == [2]
    with live_engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, phone_cipher, phone_hash, version FROM posts ORDER BY id")).all()
    fresh = keys.field_key(home)
    assert [row.id for row in rows] == ids
    for at, row in enumerate(rows):
        assert fresh.open(row.phone_cipher, f"posts|{row.id}|phone") == f"100{at:08}"
        assert row.phone_hash == fresh.lookup(f"100{at:08}") and row.version == 1
