"""Any file becomes rows of a noun, step by step: sent, read, looked at, written, and taken back if need be.

    queued → reading → ready → applying → applied → undone
                     ↘ refused        ↘ ready again, when what is there has changed meanwhile

The web server keeps the file (sealed) and a job in one transaction; the worker (`geo.receiving`) reads into a staging table and
writes from it. A sender sees all of it before anything is written, and whatever is written is one batch that can be taken back.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from geo import statements, vault
from geo.errors import Conflict, Invalid, NotFound
from geo.keys import FieldKey

State = Literal["queued", "reading", "ready", "refused", "applying", "applied", "undone", "failed"]
Step = Literal["read", "apply", "undo"]

# A name in a list, not a path: what a browser or an attacker sends of folders is left out.
LONGEST_NAME = 200


@dataclass(frozen=True)
class Upload:
    """One file and how far it has got, as its sender sees it."""

    id: UUID
    name: str
    size: int
    state: State
    at: datetime
    moved_at: datetime
    undoing: bool
    choices: Mapping[str, Any]
    noun: str | None
    done: int
    expected: int | None
    told: Mapping[str, Any]
    counts: Mapping[str, int]
    refusal: Mapping[str, Any] | None


def file_of(home: Path, id: UUID) -> Path:
    """Where a file is kept as it was sent, sealed."""
    return home / "uploads" / str(id)


def plain(name: str) -> str:
    """A file's name without folders or what no screen shows. Raises `Invalid` when nothing is left."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if c.isprintable()).strip()[-LONGEST_NAME:]
    if not shown.strip(". "):
        raise Invalid("文件没有名字。", field="file")
    return shown


def made(
    connection: sa.Connection, key: FieldKey, id: UUID, name: str, sealing: vault.Sealing, repeat: str | None, choices: Mapping[str, Any]
) -> UUID:
    """Keep that a file came, and have it read. Returns its number: of an earlier one when `repeat` says that it is the same.

    Raises `Forbidden` without the ability, `Conflict` when `repeat` was used for another file.
    """
    return _made(connection, key, id, name, sealing.size, sealing.digest.digest(), sealing.key, repeat, choices)


def _made(
    connection: sa.Connection, key: FieldKey, id: UUID, name: str, size: int, digest: bytes, file_key: bytes, repeat: str | None,
    choices: Mapping[str, Any],
) -> UUID:
    given = statements.run(
        connection, "upload_made", id=id, file=name, size=size, digest=digest, repeat=repeat,
        file_key=key.seal(file_key.hex(), f"uploads|{id}|file_key"), choices=json.dumps(choices, ensure_ascii=False),
    )
    found: UUID = given.scalar_one()
    return found


@dataclass(frozen=True)
class Partial:
    """A file of which `taken` bytes have come."""

    id: UUID
    name: str
    size: int
    taken: int


def begun(connection: sa.Connection, key: FieldKey, id: UUID, name: str, size: int) -> Partial:
    """Keep that a file begins to come, bit by bit. Raises `Forbidden` without the ability."""
    sealed = key.seal(vault.new_key().hex(), f"partial_uploads|{id}|file_key")
    statements.run(connection, "partial_begun", id=id, file=name, size=size, file_key=sealed)
    return Partial(id, name, size, 0)


def partial(connection: sa.Connection, id: UUID) -> Partial:
    """How much of one's own file has come. Raises `NotFound`."""
    row = statements.run(connection, "partial_held", id=id, locked=False).one()
    return Partial(row.id, row.name, row.size, row.taken)


def continued(
    connection: sa.Connection, key: FieldKey, home: Path, id: UUID, at: int, part: bytes, choices: Mapping[str, Any]
) -> Partial:
    """The next bytes of a file, sealed behind those that have come; the last of them make it an upload of the same number.

    Raises `NotFound`, `Conflict` (with `taken`) for a part that is not the next, `Invalid` for one that is no whole number of pieces.
    """
    row = statements.run(connection, "partial_held", id=id, locked=True).one()
    if at != row.taken:
        raise Conflict("这一段接不上:已收到 {taken} 字节,请从那里续传。", taken=row.taken)
    if not part or at + len(part) > row.size or (len(part) % vault.PIECE and at + len(part) != row.size):
        raise Invalid("每一段的长度须是 {piece} 字节的整数倍,最后一段除外。", piece=vault.PIECE)
    opened = bytes.fromhex(key.open(bytes(row.file_key_cipher), f"partial_uploads|{id}|file_key"))
    vault.continued(file_of(home, id), opened, at, part, row.size)
    done = Partial(row.id, row.name, row.size, at + len(part))
    statements.run(connection, "partial_taken", id=id, taken=done.taken)
    if done.taken == done.size:
        digest = hashlib.sha256()
        for piece in vault.opened(file_of(home, id), opened):
            digest.update(piece)
        _made(connection, key, id, done.name, done.size, digest.digest(), opened, None, choices)
    return done


def told(connection: sa.Connection, id: UUID) -> Upload:
    """One of the caller's own. Raises `NotFound`."""
    found = statements.run(connection, "uploads_told", id=id, most=1).one_or_none()
    if found is None:
        raise NotFound()
    return Upload(**found._mapping)


def listed(connection: sa.Connection, most: int = 50) -> list[Upload]:
    """The caller's own, newest first."""
    return [Upload(**row._mapping) for row in statements.run(connection, "uploads_told", id=None, most=most)]


def moved(connection: sa.Connection, id: UUID, step: Step, choices: Mapping[str, Any] | None = None) -> None:
    """Have the worker do the next step. Raises `Conflict` when the upload is not where that step begins."""
    given = None if choices is None else json.dumps(choices, ensure_ascii=False)
    statements.run(connection, "upload_moved", id=id, step=step, choices=given)


def discarded(connection: sa.Connection, id: UUID) -> None:
    """Give an upload up before it is written. Raises `Conflict` afterwards."""
    statements.run(connection, "upload_discarded", id=id)


def problems(
    connection: sa.Connection, id: UUID, field: str | None = None, reason: str | None = None, after: int = -1, most: int = 100
) -> list[dict[str, Any]]:
    """What is wrong, a line a cell: row, field, value, why, and what to do."""
    found = statements.run(connection, "upload_problems", id=id, field=field, reason=reason, after=after, most=most)
    return [dict(row._mapping) for row in found]


def rows(connection: sa.Connection, id: UUID, fate: str | None = None, after: int = -1, most: int = 50) -> list[dict[str, Any]]:
    """Staged rows in their order, each with its fate; of a changed one, `before` and `after` of each field that differs."""
    return [_differing(dict(row._mapping)) for row in statements.run(connection, "upload_rows", id=id, fate=fate, after=after, most=most)]


def tile(connection: sa.Connection, id: UUID, z: int, x: int, y: int) -> bytes:
    """What is staged, as a vector tile with one layer, `staged`."""
    return bytes(statements.run(connection, "upload_tile", id=id, z=z, x=x, y=y).scalar_one() or b"")


def _differing(row: dict[str, Any]) -> dict[str, Any]:
    fresh, before = row.pop("fresh") or {}, row.pop("before")
    shown = {name: value for name, value in fresh.items() if value is not None}
    row["values"] = shown
    if before is not None:
        row["changes"] = [
            {"field": name, "before": before.get(name), "after": value} for name, value in shown.items() if before.get(name) != value
        ]
    return row


def headings(columns: Sequence[str]) -> bytes:
    """What sheets with the same headings share, in whatever order."""
    return hashlib.sha256("\0".join(sorted(columns)).encode()).digest()
