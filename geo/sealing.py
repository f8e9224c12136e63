"""Changing the keys of secret fields while the server runs, and telling which value is under which key.

A place of ciphers is found by the names of its columns in the declared tables, so that none is forgotten: `x_cipher` of
`table`, bound to "table|key of the row|x", and the keyed hash `x_hash` where there is one. What is kept as a hash alone
(`Field.hashed`) is carried from key to key.
"""

import contextlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

import geo.identity  # noqa: F401  its tables hold ciphers too
from geo import db, keys, secrets
from geo.errors import Conflict, Forbidden, GeoError, Unavailable
from geo.keys import FieldKey
from geo.spine import CHANGES
from geo.statements import run
from geo.tables import metadata

# A batch holds its rows for a tenth of a second; who waits for one of them gives up after two.
BATCH = 1_000
# What is sealed just before the transaction that stores it: seconds that such a one may take to begin.
SOON = 1.0
# Of the values that cannot be opened, as many are named.
TOLD = 5

Told = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Sealed:
    """Where one secret field is kept: as cipher and keyed hash, as cipher alone, or as hash alone."""

    table: str
    field: str
    key: str = "id"  # the column that tells its rows apart
    cipher: bool = True
    hash: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that another key writes anew; the first one tells which key it was."""
        kinds = {"cipher": self.cipher, "hash": self.hash}
        return tuple(f"{self.field}_{kind}" for kind, there in kinds.items() if there)

    @property
    def head(self) -> int:
        """The bytes that tell the key: of a cipher its suite too, of a fingerprint its number alone."""
        return 3 if self.cipher else 2

    def about(self, row: object) -> str:
        """What the cipher of a row is bound to."""
        return f"{self.table}|{row}|{self.field}"


@dataclass
class Change:
    """A change of keys: the values that were to come under the new key, those that have, and those that no key opens."""

    number: int
    total: int = 0
    moved: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    aside: list[Path] = field(default_factory=list)


def places(declared: sa.MetaData) -> tuple[Sealed, ...]:
    """Every place of ciphers or fingerprints in these tables."""
    found = []
    for name, table in sorted(declared.tables.items()):
        for column in table.c:
            fingerprint = bool(column.info.get("fingerprint"))
            if column.name.endswith("_cipher") or fingerprint:
                (key,) = table.primary_key.columns
                secret = column.name.rpartition("_")[0]
                found.append(Sealed(name, secret, key.name, not fingerprint, f"{secret}_hash" in table.c))
    return tuple(found)


def rotate(
    engine: sa.Engine, home: Path, told: Told = lambda *_: None, patience: float = 3600.0, declared: sa.MetaData = metadata
) -> Change:
    """Make a new key, put every value under it, and take the old one out of use. Reads and writes go on meanwhile.

    `engine` is the administrator's. Interrupted, it goes on where it was when it runs again. Raises `Conflict` when
    somebody else is at it or a value cannot be opened (the old key then stays in use), `Forbidden` for a login that may
    not, `Unavailable` when others do not finish within `patience` seconds.
    """
    with db.translated(), engine.connect() as connection, _alone(connection):
        change = Change(keys.renewed(home).current)
        key, deadline = keys.field_key(home), time.monotonic() + patience
        # From here on every process sees both keys. One that looked before may still write, or look up, under the old.
        _over(connection, deadline, told)
        change.total = left = _left(connection, key, declared)
        while left > len(change.lost):
            for place in places(declared):
                _resealed(connection, declared.tables[place.table], place, key, change, told)
            _rewritten(connection, declared, key, change, told)
            before, left = left, _left(connection, key, declared)
            if left == before:
                # Somebody holds the rest of the rows.
                _patient(deadline, "有的行一直被别的事务占着,还没有换完:请等它们结束,再运行一次 jingwei keys rotate。")
        if change.lost:
            raise Conflict(
                "{count} 个值打不开,旧密钥仍留着:{shown}。请从备份放回封存它们的密钥,或重新填写、销毁这些记录,再运行一次。",
                count=len(change.lost), shown=sorted(change.lost)[:TOLD],
            )
        change.aside = keys.retired(home, fingerprints=any(not place.cipher for place in places(declared)))
    return change


def status(engine: sa.Engine, declared: sa.MetaData = metadata) -> Counter[tuple[str, int]]:
    """How many values each place and the journal keep under which key: ("posts.phone", 2) → 12. 0 is no key of ours."""
    counted: Counter[tuple[str, int]] = Counter()
    with db.translated(), engine.connect() as connection, _sealer(connection):
        for place in places(declared):
            first = place.columns[0]
            kept: sa.ColumnElement[str] = sa.func.encode(sa.func.substring(declared.tables[place.table].c[first], 1, place.head), "hex")
            held: sa.ColumnElement[str] = sa.func.substr(CHANGES.c.patch[first].astext, 3, 2 * place.head)
            for name, head, source in (
                (f"{place.table}.{place.field}", kept, sa.true()),
                (f"changes.{place.table}.{place.field}", held, CHANGES.c.noun == place.table),
            ):
                if place.cipher:
                    # Before keys had numbers, what follows the first byte was random already.
                    unnumbered = secrets.UNNUMBERED.hex()
                    head = sa.case((sa.func.left(head, 2) == unnumbered, unnumbered), else_=head)
                query = sa.select(head.label("head"), sa.func.count()).where(source, head.is_not(None))
                for found, count in connection.execute(query.group_by("head")):
                    counted[name, _number(found, place)] += count
    return counted


def _number(head: str, place: Sealed) -> int:
    """The number of the key that these first bytes tell; 0 when they are none of ours."""
    try:
        told = bytes.fromhex(head)
        return secrets.sealed_by(told + bytes(secrets.NONCE + secrets.TAG))[1] if place.cipher else int.from_bytes(told)
    except ValueError:
        return 0


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    with connection.begin():
        if not run(connection, "sealer_able").scalar_one():
            raise Forbidden("换密钥要以数据库的超级用户运行:它要看见别的会话何时开始。")
        if not run(connection, "sealer_alone").scalar_one():
            raise Conflict("已有一个 jingwei keys rotate 在运行:请等它结束。")
    try:
        yield
    finally:
        # With a lost connection the lock is gone too.
        with contextlib.suppress(sa.exc.DBAPIError), connection.begin():
            run(connection, "sealer_ended")


@contextmanager
def _sealer(connection: sa.Connection) -> Iterator[None]:
    """One transaction of the role whose writes are neither versions nor changes."""
    with connection.begin():
        connection.exec_driver_sql("SET LOCAL ROLE jingwei_sealer")
        yield


def _over(connection: sa.Connection, deadline: float, told: Told) -> None:
    """Wait for what began before now, or soon after, in the sessions of those who hold the keys."""
    time.sleep(SOON)
    with connection.begin():
        moment, login = connection.execute(sa.text("SELECT clock_timestamp(), session_user")).one()
    while True:
        with connection.begin():
            left = run(connection, "unfinished", moment=moment, logins=[*keys.LOGINS, login]).scalar_one()
        if not left:
            return
        told("", 0, None)
        _patient(deadline, "有早先开始的事务(例如一次导入)还没有结束:请等它们结束,再运行一次 jingwei keys rotate。")


def _patient(deadline: float, sentence: str) -> None:
    if time.monotonic() > deadline:
        raise Unavailable(sentence)
    time.sleep(0.2)


def _left(connection: sa.Connection, key: FieldKey, declared: sa.MetaData) -> int:
    """How many values are not under the current key."""
    with _sealer(connection):
        counts = [
            sa.select(sa.func.count()).where(condition).scalar_subquery()
            for place in places(declared)
            for condition in (_stale(declared.tables[place.table], place, key), _stale_before(place, key))
        ]
        return sum(connection.execute(sa.select(*counts)).one()) if counts else 0


def _stale(table: sa.Table, place: Sealed, key: FieldKey) -> sa.ColumnElement[bool]:
    return sa.func.substring(table.c[place.columns[0]], 1, place.head) != _head(place, key)


def _stale_before(place: Sealed, key: FieldKey) -> sa.ColumnElement[bool]:
    """The same of what the journal says that a row held before, where bytes are text: `\\x02…`."""
    head = "\\x" + _head(place, key).hex()
    text = CHANGES.c.patch[place.columns[0]].astext
    return sa.and_(CHANGES.c.noun == place.table, sa.func.left(text, len(head)) != head)


def _head(place: Sealed, key: FieldKey) -> bytes:
    """How a value under the current key begins."""
    ring = key.ring
    return ring.keys[ring.current].head[-place.head :]


def _resealed(connection: sa.Connection, table: sa.Table, place: Sealed, key: FieldKey, change: Change, told: Told) -> None:
    """One pass over the rows of a place, a batch a transaction. Rows that somebody holds are left for the next pass, so
    that nobody waits for another in a circle."""
    own, value = table.c[place.key], table.c[place.columns[0]]
    written = ", ".join(f"{column} = fresh.{column}" for column in place.columns)
    arrays = ", ".join(f"CAST(:{column} AS bytea[])" for column in place.columns)
    update = sa.text(
        f"UPDATE {place.table} AS t SET {written}"
        f" FROM unnest(CAST(:rows AS {own.type}[]), {arrays}) AS fresh (row, {', '.join(place.columns)})"
        f" WHERE t.{place.key} = fresh.row"
    )
    after: sa.ColumnElement[bool] = sa.true()
    while True:
        with _sealer(connection):
            query = sa.select(own, value).where(after, _stale(table, place, key)).order_by(own).limit(BATCH)
            rows = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).all()
            if not rows:
                return
            fresh = {row: _anew(place, row, bytes(kept), key, change, f"{place.table}.{place.field} {row}") for row, kept in rows}
            good = {row: columns for row, columns in fresh.items() if columns}
            values = {column: [columns[column] for columns in good.values()] for column in place.columns}
            connection.execute(update, {"rows": list(good), **values})
        after = own > rows[-1][0]
        change.moved += len(good)
        told(place.table, change.moved, change.total)


def _rewritten(connection: sa.Connection, declared: sa.MetaData, key: FieldKey, change: Change, told: Told) -> None:
    """The same for what the journal holds: it is needed to undo, and to tell how things were."""
    of = defaultdict(list)
    for place in places(declared):
        of[place.table].append(place)
    update = sa.text(
        "UPDATE changes SET patch = changes.patch || CAST(fresh.patch AS jsonb)"
        " FROM unnest(CAST(:rows AS bigint[]), CAST(:patches AS text[])) AS fresh (row, patch) WHERE changes.id = fresh.row"
    )
    columns = (CHANGES.c.id, CHANGES.c.noun, CHANGES.c.feature, CHANGES.c.patch)
    stale = sa.or_(sa.false(), *[_stale_before(place, key) for place in places(declared)])
    last = 0
    while True:
        with _sealer(connection):
            query = sa.select(*columns).where(CHANGES.c.id > last, stale).order_by(CHANGES.c.id).limit(BATCH)
            rows = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).all()
            if not rows:
                return
            fresh: dict[int, dict[str, str]] = {}
            moved = 0
            for row in rows:
                for place in of[row.noun]:
                    kept = row.patch.get(place.columns[0])
                    if kept is None or _bytes(kept).startswith(_head(place, key)):
                        continue
                    anew = _anew(place, row.feature, _bytes(kept), key, change, f"changes {row.id} ({place.field})")
                    moved += bool(anew)
                    # Only what changed is in a patch: a number written again as it was has a new cipher and the old hash.
                    fresh.setdefault(row.id, {}).update({c: f"\\x{told.hex()}" for c, told in anew.items() if row.patch.get(c)})
            connection.execute(update, {"rows": list(fresh), "patches": [json.dumps(patch) for patch in fresh.values()]})
        last = rows[-1].id
        change.moved += moved
        told("changes", change.moved, change.total)


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("\\x"))
    except ValueError:
        return b""


def _anew(place: Sealed, row: object, kept: bytes, key: FieldKey, change: Change, name: str) -> dict[str, bytes]:
    """The columns of a value under the current key. Nothing for one that cannot be opened: it is noted under its name."""
    try:
        if not place.cipher:
            return {place.columns[0]: key.carried(kept)}
        value = key.open(kept, place.about(row))
    except GeoError as problem:
        change.lost[name] = problem.sentence
        return {}
    made = (key.seal(value, place.about(row)), key.lookup(value))
    return dict(zip(place.columns, made, strict=False))
