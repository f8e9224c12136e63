"""Keys are changed under a running server: nobody misses a value, no version is made, and nothing stays under the old key."""

import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pyarrow as pa
import pyotp
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from api import cli
from geo import accounts, db, door, intake, keys, rights_requests, sealing, write
from geo.catalog import RESOURCES
from geo.cluster import Address, installed
from geo.db import Caller
from geo.errors import Conflict, Forbidden, GeoError, Unavailable
from geo.keys import FieldKey
from geo.resource import Audience, Field, Keeping, Resource
from geo.tables import metadata, table
from tests import town
from tests.conftest import Databases

POSTS = RESOURCES["posts"]
RING = "posts.phone"


def number(at: int) -> str:
    """A telephone number that nobody has."""
    return f"100{at:08}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody else is at work there is nobody to give a second to."""
    monkeypatch.setattr(sealing, "SOON", 0.0)


@pytest.fixture(scope="module")
def here(address: Address, databases: Databases, peopled: str) -> Address:
    """A database of this module's own, to commit to."""
    return Address(address.url(database=databases(peopled)), address.passwords)


@pytest.fixture
def admin(here: Address) -> Iterator[sa.Engine]:
    """The administrator's engine on it, where nobody has a telephone number yet."""
    made = db.engine(here.url())
    with made.begin() as connection:
        connection.exec_driver_sql("TRUNCATE posts, changes, rights_requests CASCADE; UPDATE accounts SET totp_cipher = NULL; DROP TABLE IF EXISTS cards")
    yield made
    made.dispose()


@pytest.fixture
def key(home: Path) -> FieldKey:
    """The keys of this test alone, as a process has them that began before any change."""
    return keys.field_key(home)


def filled(engine: sa.Engine, key: FieldKey, count: int) -> list[UUID]:
    """Posts with telephone numbers 0 to `count`, by id in this order."""
    rows = []
    with engine.begin() as connection:
        ids = list(connection.scalars(sa.text("SELECT uuid_v7() FROM generate_series(1, :n) ORDER BY 1"), {"n": count}))
        for at, id in enumerate(ids):
            rows.append({"id": id, "role": "steward", "area": town.A, "holder": "张三", **write.sealed(POSTS, "phone", number(at), key, id)})
        connection.execute(sa.insert(metadata.tables["posts"]), rows)
    return ids


def changed(engine: sa.Engine, key: FieldKey, id: UUID, value: str) -> None:
    """Give one post another number."""
    with engine.begin() as connection:
        write.change(connection, POSTS, id, {"phone": value}, None, key)


def opened(engine: sa.Engine, key: FieldKey) -> dict[UUID, str]:
    """Every number there is."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, phone_cipher FROM posts WHERE phone_cipher IS NOT NULL"))
        return {id: key.open(cipher, f"posts|{id}|phone") for id, cipher in rows}


def journal(engine: sa.Engine) -> list[tuple[object, ...]]:
    """What the journal says, ciphers and hashes aside."""
    with engine.connect() as connection:
        told = "SELECT id, xid::text, at, feature, operation, version, patch - '{phone_cipher, phone_hash}'::text[] FROM changes ORDER BY id"
        return [tuple(row) for row in connection.execute(sa.text(told))]


class Busy:
    """Threads that read, look up and write while keys are changed, each with keys as they were known at its start."""

    def __init__(self, engine: sa.Engine, key: FieldKey, ids: list[UUID]) -> None:
        self.engine, self.key, self.ids = engine, key, ids
        self.done, self.failed, self.reads, self.found, self.written = threading.Event(), list[str](), 0, 0, 0
        self.threads = [threading.Thread(target=self._until, args=(step,)) for step in (self._read, self._look_up, self._write)]

    def __enter__(self) -> "Busy":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def _until(self, step: Callable[[], None]) -> None:
        while not self.done.is_set():
            try:
                step()
            except Exception as problem:
                self.failed.append(repr(problem))
                return

    def _read(self) -> None:
        wanted = random.sample(range(20, len(self.ids)), 20)
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT id, phone_cipher FROM posts WHERE id = ANY (:ids)"), {"ids": [self.ids[at] for at in wanted]}
            )
            told = {id: self.key.open(cipher, f"posts|{id}|phone") for id, cipher in rows}
        if told != {self.ids[at]: number(at) for at in wanted}:
            self.failed.append("read something else")
        self.reads += len(wanted)

    def _look_up(self) -> None:
        at = random.randrange(20, len(self.ids))
        with self.engine.begin() as connection:
            found = connection.scalars(
                sa.text("SELECT id FROM posts WHERE phone_hash = ANY (:hashes)"), {"hashes": self.key.lookups(number(at))}
            ).all()
        if found != [self.ids[at]]:
            self.failed.append(f"found {found}")
        self.found += 1

    def _write(self) -> None:
        at = self.written % 20
        changed(self.engine, self.key, self.ids[at], number(90_000 + self.written))
        self.written += 1
        self.done.wait(0.01)


def test_keys_change_under_those_who_read_and_write(
    admin: sa.Engine, home: Path, key: FieldKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 200)
    monkeypatch.setattr(sealing, "SOON", 0.5)
    ids = filled(admin, key, 3_000)
    for at in range(20, 60):
        # A number given, another, and the first again: the journal holds two old ciphers.
        changed(admin, key, ids[at], "057487651234")
        changed(admin, key, ids[at], number(at))
    before, versions = journal(admin), _versions(admin)
    former = FieldKey(key.ring)
    steps: list[int] = []

    def interrupted(step: str, done: int, total: int | None) -> None:
        steps.append(done)
        if done >= 1_400:
            raise KeyboardInterrupt

    with Busy(admin, key, ids) as busy:
        with pytest.raises(KeyboardInterrupt):
            sealing.rotate(admin, home, interrupted)
        half = sealing.status(admin)
        assert half[RING, 1] > 1_000 and half[RING, 2] > 1_000 and half[f"changes.{RING}", 1] > 0
        assert len(keys.field_key(home).ring.opening) == 2
        change = sealing.rotate(admin, home)
        # And a while afterwards, as the old key is gone.
        for _ in range(50):
            busy._read(), busy._look_up()
    assert busy.failed == []
    assert min(busy.reads, busy.found) > 100 and busy.written > 3

    assert change.number == 2 and not change.lost
    told = sealing.status(admin)
    assert {number for _, number in told} == {2}
    assert told[RING, 2] == 3_000
    assert told[f"changes.{RING}", 2] == 80 + busy.written
    # Nothing but ciphers and hashes is another: no version, no change, nothing to relay.
    assert [row for row in journal(admin) if row[3] in ids[20:]] == [row for row in before if row[3] in ids[20:]]
    assert {id: version for id, version in _versions(admin).items() if id in ids[20:]} == {id: versions[id] for id in ids[20:]}
    fresh = keys.field_key(home)
    assert [k.number for k in fresh.ring.opening] == [2]
    values = opened(admin, fresh)
    assert [values[id] for id in ids[20:]] == [number(at) for at in range(20, 3_000)]
    assert {values[id] for id in ids[: min(20, busy.written)]} <= {number(90_000 + n) for n in range(busy.written)}
    with pytest.raises(Unavailable):
        opened(admin, former)
    with admin.connect() as connection:
        patches = connection.execute(sa.text("SELECT feature, patch FROM changes WHERE patch ? 'phone_cipher'")).all()
    for feature, patch in patches:
        value = fresh.open(bytes.fromhex(patch["phone_cipher"][2:]), f"posts|{feature}|phone")
        assert bytes.fromhex(patch["phone_hash"][2:]) == fresh.lookup(value)
    assert change.aside == [home / "keys" / "retired-1.key"]


def _versions(engine: sa.Engine) -> dict[UUID, int]:
    with engine.connect() as connection:
        return {row.id: row.version for row in connection.execute(sa.text("SELECT id, version FROM posts"))}


def test_nothing_is_under_a_new_key_before_all_know_it(here: Address, admin: sa.Engine, home: Path, key: FieldKey) -> None:
    filled(admin, key, 5)
    loader = db.engine(here.url("jingwei_loader"), pool=1)
    with loader.connect() as slow:
        slow.exec_driver_sql("SELECT 1")
        with pytest.raises(Unavailable, match="早先开始的事务"):
            sealing.rotate(admin, home, patience=0)
        assert sealing.status(admin) == {(RING, 1): 5}
        assert len(key.lookups("1")) == 2
    loader.dispose()
    assert sealing.rotate(admin, home, patience=0).moved == 5
    assert sealing.status(admin) == {(RING, 2): 5}


def test_a_row_that_is_held_is_come_back_to(
    admin: sa.Engine, home: Path, key: FieldKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 2)
    ids = filled(admin, key, 5)
    with admin.connect() as holder:
        passes: list[int] = []

        def taken(step: str, done: int, total: int | None) -> None:
            if not holder.in_transaction() and not passes:
                holder.execute(sa.text("SELECT FROM posts WHERE id = :id FOR UPDATE"), {"id": ids[3]})

        def released(*_: object) -> None:
            passes.append(sealing.status(admin)[RING, 1])
            holder.rollback()

        # Nobody waits for anybody while holding something; only a whole pass that moved nothing is followed by a pause.
        monkeypatch.setattr(sealing, "_patient", released)
        assert sealing.rotate(admin, home, taken).moved == 5
    assert passes == [1]
    assert sealing.status(admin) == {(RING, 2): 5}


def test_one_at_a_time_and_by_whom_it_may(here: Address, admin: sa.Engine, home: Path, key: FieldKey) -> None:
    filled(admin, key, 1)
    with admin.connect() as other:
        other.exec_driver_sql("SELECT pg_advisory_lock(7460219)")
        with pytest.raises(Conflict, match="已有一个"):
            sealing.rotate(admin, home)
    admin.dispose()
    loader = db.engine(here.url("jingwei_loader"), pool=1)
    with pytest.raises(Forbidden, match="超级用户"):
        sealing.rotate(loader, home)
    loader.dispose()
    assert keys.field_key(home).ring.current == 1
    assert sealing.rotate(admin, home).moved == 1


def test_what_no_key_opens_keeps_the_old_key(admin: sa.Engine, home: Path, key: FieldKey) -> None:
    ids = filled(admin, key, 4)
    changed(admin, key, ids[0], number(10))
    with admin.begin() as connection:
        # A cipher of another row, and a patch that somebody wrote over.
        connection.execute(sa.text("UPDATE posts SET phone_cipher = (SELECT phone_cipher FROM posts WHERE id = :b) WHERE id = :a"), {"a": ids[2], "b": ids[3]})
        lost = connection.scalar(sa.text("UPDATE changes SET patch = patch || '{\"phone_cipher\": \"?\"}' WHERE feature = :id AND operation = 'change' RETURNING id"), {"id": ids[0]})
    with admin.begin() as connection:
        # The journal has kept what was there before.
        connection.execute(sa.text("DELETE FROM changes WHERE feature = :id"), {"id": ids[2]})
    with pytest.raises(Conflict) as refused:
        sealing.rotate(admin, home)
    assert refused.value.facts == {"count": 2, "shown": [f"changes {lost} (phone)", f"posts.phone {ids[2]}"]}
    assert len(keys.field_key(home).ring.opening) == 2
    assert sealing.status(admin)[RING, 2] == 3
    # The rest is under the new key, and what is mended or destroyed is no hindrance any more.
    changed(admin, key, ids[2], number(2))
    with admin.begin() as connection:
        connection.execute(sa.text("SELECT rows_destroyed('posts', CAST(:ids AS uuid[]), false)"), {"ids": [ids[0]]})
        connection.execute(sa.text("UPDATE changes SET patch = NULL WHERE feature = :id"), {"id": ids[2]})
    assert sealing.rotate(admin, home).number == 2
    assert sealing.status(admin) == {(RING, 2): 3}


def test_second_factors_are_taken_along(here: Address, admin: sa.Engine, home: Path, key: FieldKey) -> None:
    entrance = db.engine(here.url("jingwei_door"), pool=1)
    with admin.begin() as connection:
        account = accounts.make(connection, "totp")
    address = door.new_secret(entrance, account, "totp", "经纬", key)
    assert sealing.rotate(admin, home).moved == 1
    assert sealing.status(admin) == {("accounts.totp", 2): 1}
    code = pyotp.parse_uri(address).now()  # type: ignore[attr-defined]
    for held in (FieldKey(keys.field_key(home).ring), key):
        with admin.begin() as connection:
            connection.exec_driver_sql("UPDATE accounts SET totp_at = NULL, totp_step = 0")
        door.confirm(entrance, "totp", code, held)
    entrance.dispose()


def test_codes_of_requests_are_taken_along(here: Address, admin: sa.Engine, home: Path, key: FieldKey) -> None:
    web = db.engine(here.url("jingwei_web"), pool=1)
    with db.transaction(web, Caller()) as bound:
        slip = rights_requests.receive(bound, "access", "有我的什么", key, phone=number(1))
    keys.renewed(home)
    assert sealing.rotate(admin, home).moved == 3
    places = ("rights_requests.code", "rights_requests.phone", "rights_requests.subject")
    assert sealing.status(admin) == {(place, 2): 1 for place in places}
    for held in (key, keys.field_key(home)):
        with db.transaction(web, Caller(), read_only=True) as bound:
            assert rights_requests.follow(bound, slip.ticket, slip.code, held)["ticket"] == slip.ticket
    web.dispose()


def test_every_cipher_in_the_database_has_a_place(connection: sa.Connection) -> None:
    there = connection.execute(
        sa.text("SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'jingwei' AND column_name LIKE '%\\_cipher'")
    )
    assert set(there.scalars()) == {f"{place.table}.{place.field}_cipher" for place in sealing.places(metadata) if place.cipher}


def test_the_sealer_writes_ciphers_and_nothing_else(connection: sa.Connection) -> None:
    granted = connection.execute(
        sa.text("SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges WHERE grantee = 'jingwei_sealer'")
    )
    expected = {("changes", column, "SELECT") for column in ("id", "noun", "feature", "patch")} | {("changes", "patch", "UPDATE")}
    for place in sealing.places(metadata):
        expected |= {(place.table, column, right) for column in place.columns for right in ("SELECT", "UPDATE")}
        expected.add((place.table, place.key, "SELECT"))
    assert {tuple(row) for row in granted} == expected
    # Nobody who logs in may become it, but who may do anything.
    members = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND pg_has_role(oid, 'jingwei_sealer', 'MEMBER')"
    assert connection.scalars(sa.text(members)).all() == []


def test_the_dump_of_a_database_holds_no_plain_number(here: Address, admin: sa.Engine, home: Path, key: FieldKey) -> None:
    canaries = [number(77_000_001), number(77_000_002)]
    (id,) = filled(admin, key, 1)
    for canary in canaries:
        changed(admin, key, id, canary)
    url = here.url().set(drivername="postgresql").render_as_string(hide_password=False)
    dump = subprocess.run([installed()[0].folder / "pg_dump", "--inserts", url], check=True, capture_output=True).stdout
    assert str(id).encode() in dump
    for canary in canaries:
        assert canary.encode() not in dump and canary.encode().hex().encode() not in dump and canary[3:].encode() not in dump


def test_the_commands_change_and_tell(
    here: Address, admin: sa.Engine, home: Path, key: FieldKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(admin, key, 7)
    monkeypatch.setattr(cli, "address", lambda: here)
    monkeypatch.setattr(cli, "settings", lambda: cli_settings(home))
    command = CliRunner(env={"LC_ALL": "en_US.UTF-8"})
    told = command.invoke(cli.app, ["keys", "status"])
    assert told.exit_code == 0 and "Key 1 (aes-256-gcm, current): 7 values" in told.output
    told = command.invoke(cli.app, ["keys", "rotate"])
    assert told.exit_code == 0 and "7 values are under key 2 now" in told.output and "retired-1.key" in told.output
    with admin.connect() as connection:
        rows = connection.execute(sa.text("SELECT actor, feature, result FROM trail WHERE action = 'key' ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("jingwei_admin", "", "begun"), ("jingwei_admin", "2", "done: 7")]
    told = command.invoke(cli.app, ["keys", "status"])
    assert "Key 2 (aes-256-gcm, current): 7 values" in told.output and "posts.phone  2  7" in told.output and "retired-1.key" in told.output
    # Another's key file: none of these values opens.
    keys.field_key_path(home).write_bytes((home / "keys" / "retired-1.key").read_bytes())
    told = command.invoke(cli.app, ["keys", "status"])
    assert told.exit_code == 1 and "The key of 7 values is not in" in told.output


def cli_settings(home: Path) -> object:
    """What the environment says of this test."""
    from api.settings import Settings

    return Settings(home=home, database_url=None)


@pytest.fixture
def registered() -> tuple[Resource, sa.Table, sa.MetaData]:
    """A noun of which the number is kept as a fingerprint alone, in tables of its own."""
    resource = Resource(
        "cards", "证件", "只在这个测试里。",
        fields=(
            Field("name", str, "名称"),
            Field("starts_at", datetime, "起始时间"),
            Field(
                "id_number", str, "身份证号", secret=True, hashed=True, audience=Audience.WORKER,
                keeping=Keeping("核对", "consent", 30, since="starts_at"),
            ),
        ),
        element="组织",
    )
    declared = sa.MetaData(naming_convention=metadata.naming_convention)
    sa.Table("activations", declared, sa.Column("id", sa.UUID(), primary_key=True))  # what it refers to is there
    return resource, table(resource, declared), declared


def test_an_id_number_is_found_again_and_never_read(
    admin: sa.Engine, home: Path, key: FieldKey, registered: tuple[Resource, sa.Table, sa.MetaData]
) -> None:
    cards, t, declared = registered
    assert [c.name for c in t.c if c.name.startswith("id_number")] == ["id_number_hash"]
    assert "id_number" not in [field.name for field in cards.seen_by(Audience.LEADER)]
    assert "id_number" in [field.name for field in cards.writable]
    value = "990101199001011234"
    with admin.begin() as connection:
        t.create(connection)
        connection.exec_driver_sql("GRANT SELECT (id, id_number_hash), UPDATE (id_number_hash) ON cards TO jingwei_sealer")
        ids = list(connection.scalars(sa.text("SELECT uuid_v7() FROM generate_series(1, 3) ORDER BY 1")))
        for at, id in enumerate(ids):
            told = write.sealed(cards, "id_number", f"{int(value) + at}" if at else None, key, id)
            connection.execute(sa.insert(t).values({"id": id, "scope": "", **told}))
        # A loaded file comes by the same columns.
        desk = SimpleNamespace(resource=cards, key=key)
        loaded = intake.Desk._sealed(desk, cards["id_number"], pa.array([value, None]), pa.array([id.bytes for id in ids[:2]]))  # type: ignore[arg-type]
        assert {name: column.to_pylist() for name, column in loaded.items()} == {"id_number_hash": [key.fingerprint(value), None]}
        found = connection.scalars(sa.select(t.c.id).where(t.c.id_number_hash.in_(key.fingerprints(f"{int(value) + 1}")))).all()
        assert found == [ids[1]]
        text = connection.exec_driver_sql("SELECT string_agg(c::text, ' ') FROM cards AS c").scalar_one()
        assert value[:-1] not in text and value[:-1].encode().hex() not in text
    # Plain text does not get in by another door.
    with pytest.raises(sa.exc.IntegrityError, match="cards_id_number_check"), admin.begin() as connection:
        connection.execute(sa.insert(t).values({"scope": "", "id_number_hash": value.encode()}))
    assert sealing.status(admin, declared) == {("cards.id_number", 1): 2}
    assert sealing.rotate(admin, home, declared=declared).moved == 2
    assert sealing.status(admin, declared) == {("cards.id_number", 2): 2}
    with admin.connect() as connection:
        fresh = keys.field_key(home)
        for at in (1, 2):
            hashes = fresh.fingerprints(f"{int(value) + at}")
            assert connection.scalars(sa.select(t.c.id).where(t.c.id_number_hash.in_(hashes))).all() == [ids[at]]


def test_no_noun_keeps_an_id_number() -> None:
    assert [f"{r.name}.{f.name}" for r in RESOURCES.values() for f in r.all_fields if f.hashed or "id_number" in f.name] == []


def test_a_hash_alone_is_declared_as_a_secret() -> None:
    with pytest.raises(ValueError, match="so it is secret"):
        Field("id_number", str, "身份证号", hashed=True)


def test_what_is_moved_does_not_open(admin: sa.Engine, home: Path, key: FieldKey) -> None:
    ids = filled(admin, key, 2)
    with admin.begin() as connection:
        ciphers = [connection.scalar(sa.text("SELECT phone_cipher FROM posts WHERE id = :id"), {"id": id}) for id in ids]
    assert key.open(ciphers[0], f"posts|{ids[0]}|phone") == number(0)
    for about in (f"posts|{ids[1]}|phone", f"residents|{ids[0]}|phone", f"posts|{ids[0]}|reporter_phone"):
        with pytest.raises(GeoError, match="打不开"):
            key.open(ciphers[0], about)
