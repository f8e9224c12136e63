"""The trail: append to it, read it, verify it, keep it, and hand it out.

Every sign-in, refusal, write, export, unmasking and read of a person's record is a row; writes are appended by the
database itself at commit (`geo/sql/rules/40_trail.sql`). A row has ids of records and nothing of what is in them.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import sqlalchemy as sa

from geo import anchors, chain, db
from geo.anchors import Anchors
from geo.chain import Cut, Found, Head, Kind, Row
from geo.errors import GeoError, Invalid, Unavailable
from geo.statements import run
from geo.terminal import said

# As `trail_due` has it, but asked of the table and of PostgreSQL's own functions: a chain is not verified by asking
# functions that whoever altered it could have altered too.
COLUMNS = ("id", "at", "actor", "acting_as", "action", "noun", "feature", "scope", "purpose", "result", "origin")
CHAIN = (
    "COPY (SELECT id, previous, hash, pg_catalog.convert_to(pg_catalog.jsonb_build_array(id, extract(epoch FROM at)::text,"
    f" {', '.join(COLUMNS[2:])})::text, 'UTF8') FROM jingwei.trail ORDER BY id) TO STDOUT (FORMAT binary)"
)


@dataclass(frozen=True)
class Entry:
    """What is told of an act. `result` is `done`, or what came of it; of a refusal the reason, with method and route (the
    template: a path may have anything in it) as `purpose`. Nothing personal of those whom a record is about: its id is
    enough."""

    action: str
    actor: str
    acting_as: str = ""
    noun: str = ""
    feature: str = ""
    scope: str = ""
    purpose: str = ""
    result: str = "done"
    origin: str = ""


@dataclass(frozen=True)
class Line:
    """A row of the trail, as the auditor reads it."""

    id: int
    at: datetime
    actor: str
    acting_as: str
    action: str
    noun: str
    feature: str
    scope: str
    purpose: str
    result: str
    origin: str


@dataclass(frozen=True)
class Wanted:
    """Which rows to read; `scope` is a path with all below it."""

    before: int | None = None
    most: int = 100
    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    noun: str | None = None
    feature: str | None = None
    scope: str | None = None


def append(engine: sa.Engine, entry: Entry) -> int:
    """Append a row in a transaction of its own, on the login that only appends; its number. To be called before what it
    tells of is done or answered. Raises `Unavailable` when it cannot be written: then the thing must not be done either.
    """
    try:
        with db.translated(), engine.begin() as connection:
            return int(run(connection, "trail_append", **asdict(entry)).scalar_one())
    except Unavailable:
        raise
    except GeoError as error:
        raise Unavailable(db.UNTRAILED, retry_after=1) from error


def page(connection: sa.Connection, wanted: Wanted) -> list[Line]:
    """A page of the trail, newest first; the next one is `before` the last row of this. Raises `Forbidden` without the
    ability to audit."""
    asked = asdict(wanted) | {"most": max(1, min(wanted.most, 10_000))}
    return [Line(*row) for row in run(connection, "trail_page", **asked)]


def verify(connection: sa.Connection, heads: Collection[Head] = ()) -> Found:
    """Look at the whole chain. The connection is in a REPEATABLE READ transaction that began after `heads` were read:
    then none of them can be newer than what is seen."""
    facts = run(connection, "trail_facts").one()
    return chain.examined(_rows(connection), chain.digest(facts.algorithm), Cut(facts.until, bytes(facts.hash)), heads)


def verified(engine: sa.Engine, home: Path, more: Collection[Head] = ()) -> tuple[Found, Anchors]:
    """Look at the whole chain and hold it against the anchors of this home and `more` heads; when all is well, anchor it."""
    with looking(engine) as connection:
        instance = str(run(connection, "trail_facts").one().id)
    known = anchors.read(home, instance)
    with looking(engine) as connection:
        found = verify(connection, [*known.heads, *more])
    if found.whole and found.head and known.broken is None:
        anchors.append(home, instance, found.head)
    return found, known


@contextmanager
def looking(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One snapshot, from which nothing is written."""
    told = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with db.translated(), engine.connect().execution_options(**told) as opened, opened.begin():
        yield opened


def head(connection: sa.Connection) -> tuple[str, Head] | None:
    """Whose chain it is and where it ends; None before the first row."""
    row = run(connection, "trail_end").one_or_none()
    return (str(row.instance), Head(row.id, bytes(row.hash), row.at)) if row else None


def anchored(engine: sa.Engine, home: Path) -> bool:
    """Tell the end of the chain outside the database; False when it is told already. Raises `Unavailable`."""
    with engine.begin() as connection:
        end = head(connection)
    return end is not None and anchors.append(home, *end)


def prune(connection: sa.Connection) -> int:
    """Let the rows go that are older than `instance.trail_days`, and never less than 183 days. Returns how many."""
    return int(connection.scalar(sa.select(sa.func.trail_pruned())) or 0)


def hashed(connection: sa.Connection, algorithm: str) -> None:
    """Choose what the chain is hashed with, `sha256` or `sm3`, before its first row.

    Raises `Invalid` (rule `instance_trail_begun_check`) once there are rows, `Unavailable` where the server cannot do it.
    """
    if algorithm != "sha256":
        _taught(connection, algorithm)
    run(connection, "trail_algorithm", algorithm=algorithm)


def _taught(connection: sa.Connection, algorithm: str) -> None:
    asked = sa.text("SELECT public.digest('', :algorithm)")
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public")
            connection.execute(asked, {"algorithm": algorithm})
    except sa.exc.DBAPIError as error:
        raise Unavailable(
            "数据库服务器做不了 {algorithm}(要有 pgcrypto 扩展,并且它的 OpenSSL 有这个算法):请改用 SHA-256,或换一台服务器。",
            algorithm=algorithm.upper(),
        ) from error


def resume(engine: sa.Engine, home: Path, reason: str, actor: str) -> Head:
    """After a return to a backup: what was anchored of rows that the backup does not have counts no more, and both the
    trail and the anchors say so. Returns the last head that holds.

    Raises `Invalid` when trail and anchors do not contradict each other.
    """
    with engine.begin() as connection:
        instance = str(run(connection, "trail_facts").one().id)
        known = anchors.read(home, instance).heads
        held = [h for h in known if run(connection, "trail_row_hash", id=h.id).scalar() == h.hash]
    good = max(held, key=lambda h: h.id, default=Head(0, b""))
    lost = max((h.id for h in known), default=0)
    if lost <= good.id:
        raise Invalid("留痕和锚点对得上,不需要续接。")
    append(engine, Entry("resume", actor, noun="trail", feature=str(good.id), purpose=reason, result=f"{good.id + 1}–{lost}"))
    anchors.append(home, instance, good, reason)
    return good


def export(engine: sa.Engine, target: Path) -> int:
    """Write the whole chain to a file that can be verified without the database. Returns the number of rows.

    First a line of JSON about the chain; then a row a line: the hash before it, its own, and the text that is hashed,
    parted by a space; last a line of JSON with their number and the head.
    """
    part = target.with_name(f"{target.name}.part")
    count, last = 0, Row(0, b"", b"", b"")
    try:
        with looking(engine) as connection, part.open("wb") as file:
            facts = run(connection, "trail_facts").one()
            about = {
                "trail": 1, "instance": str(facts.id), "hash": facts.algorithm, "until": facts.until, "cut": bytes(facts.hash).hex(),
                "columns": COLUMNS, "exported": datetime.now(UTC).isoformat(),
            }
            file.write(json.dumps(about).encode() + b"\n")
            for last in _rows(connection):
                file.write(b"%b %b %b\n" % (last.previous.hex().encode(), last.hash.hex().encode(), last.text))
                count += 1
            file.write(json.dumps({"rows": count, "id": last.id, "hash": last.hash.hex()}).encode() + b"\n")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count


def verified_file(source: Path, home: Path | None = None, more: Collection[Head] = ()) -> tuple[Found, Anchors]:
    """Look at an exported chain, without a database. Raises `Invalid` for a file that is none, or not the whole of one."""
    with source.open("rb") as file:
        about = _json(file.readline())
        try:
            made, instance = chain.digest(str(about["hash"])), str(about["instance"])
            cut = Cut(int(str(about["until"])), bytes.fromhex(str(about["cut"])))
        except (KeyError, ValueError) as error:
            raise Invalid("{file} 不是导出的留痕。", file=str(source)) from error
        known = anchors.read(home, instance) if home else Anchors()
        try:
            found = chain.examined(_written(file, source), made, cut, [*known.heads, *more])
        except (ValueError, LookupError, TypeError) as error:
            # Properly chained, and yet no row of a trail.
            raise Invalid("{file} 不是导出的留痕。", file=str(source)) from error
    return found, known


def sentences(found: Found, known: Anchors) -> Iterator[str]:
    """What an examination found, in the language of the terminal."""
    if found.head is None:
        yield said("留痕里还没有一条。")
    else:
        yield said("{rows} 条,到第 {id} 条,{hash}", rows=f"{found.rows:,}", id=found.head.id, hash=found.head.hash.hex())
    for told in known.resumed:
        yield said("{at} 恢复备份后从第 {id} 条之后续接:{reason}", at=told["anchored"], id=told["id"], reason=told["reason"])
    for fault in found.faults:
        yield said(FAULTS[fault.kind], id=fault.id, until=fault.until, found=fault.found)
    if known.broken is not None:
        yield said("锚点文件第 {line} 行不是原来写下的,从那里起的锚点不算数。", line=known.broken)
    elif known.heads:
        yield said("与 {count} 个锚点核对过,最近一个在第 {id} 条。", count=len(known.heads), id=known.heads[-1].id)
    else:
        yield said("没有锚点可以核对:截去末尾或整段重写,这次看不出来。")
    if found.whole and known.broken is None:
        yield said("完整。")


FAULTS = {
    Kind.CHANGED: "第 {id} 条被改过。",
    Kind.REMOVED: "第 {id} 条到第 {until} 条被删去。",
    Kind.INSERTED: "第 {id} 条到第 {until} 条是插进来的。",
    Kind.REORDERED: "第 {id} 条不在原位,现在在第 {found} 条的位置上。",
    Kind.CUT: "末尾被截去:锚点记到第 {found} 条,第 {id} 条起不见了。",
    Kind.REWRITTEN: "第 {id} 条到第 {until} 条之间有一处起被整段重写:第 {found} 条与锚点不符。",
    Kind.BACKDATED: "第 {id} 条的时间早于前一条,而那时没有拨过时钟。",
    Kind.PRUNED: "第 {id} 条到第 {until} 条不到期限就被清理,或清理没有留痕。",
}


def _rows(connection: sa.Connection) -> Iterator[Row]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.cursor().copy(CHAIN.encode()) as copy:
        copy.set_types(["int8", "bytea", "bytea", "bytea"])
        for row in copy.rows():
            yield Row(*row)


def _written(file: "Iterator[bytes]", source: Path) -> Iterator[Row]:
    """The rows of an exported chain; the file must end as it was ended."""
    count = 0
    for line in file:
        if line.startswith(b"{"):
            if _json(line).get("rows") != count or next(file, None) is not None:
                break
            return
        try:
            previous, hash, text = line.rstrip(b"\n").split(b" ", 2)
            yield Row(int(text[1 : text.index(b",")]), bytes.fromhex(previous.decode()), bytes.fromhex(hash.decode()), text)
        except ValueError:
            break
        count += 1
    raise Invalid("{file} 不完整,或写出之后被改过:在第 {line} 行。", file=str(source), line=count + 2)


def _json(line: bytes) -> dict[str, object]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
