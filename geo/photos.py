"""Photos of cases: pixels only, sealed beside the database, shown to those who work with the case until a person releases each.

What is sent is developed in a walled process (`geo.pictures`) and never on the disk as it came. The file's name is the SHA-256 of
what is on the disk, so that a backup can be checked without any key and no name confirms a guess at a picture; its key is kept in
the row, sealed, and destroying the key destroys the picture wherever it was copied.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from psycopg.errors import NoDataFound

from geo import vault
from geo.errors import Invalid, NotFound, TooLarge, Unavailable
from geo.keys import FieldKey
from geo.statements import run

BYTES = 10_000_000  # of one photo as sent
A_REPORT = 4
SECONDS = 20.0
# Of a photo developed: 1600 by 1600 pixels of noise are 3 MB.
DEVELOPED = 5_000_000
STRAY_SECONDS = 3600.0

Kind = Literal["near", "far", "before", "after"]
KINDS: dict[Kind, str] = {"near": "近景", "far": "远景", "before": "处置前", "after": "处置后"}
Decision = Literal["release", "withhold", "discard"]


@dataclass(frozen=True)
class Photo:
    """A picture as it will be kept: a JPEG of our own making, with nothing in it but pixels."""

    content: bytes
    width: int
    height: int

    @property
    def digest(self) -> bytes:
        """SHA-256: the same photo sent twice is the same."""
        return hashlib.sha256(self.content).digest()


def developed(sent: bytes) -> Photo:
    """What is to be seen on a photo that somebody sent. Raises `Invalid` for what is none, `TooLarge`, `Unavailable`."""
    if len(sent) > BYTES:
        raise TooLarge("一张照片最多 {most} MB。", most=BYTES // 1_000_000)
    environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "geo.pictures"]
    try:
        done = subprocess.run(command, input=sent, capture_output=True, timeout=SECONDS, env=environment, check=False, start_new_session=True)
    except subprocess.TimeoutExpired as error:
        raise Invalid("照片太复杂,处理不了。请重新拍一张。", field="photo") from error
    if done.returncode == 3:
        told: dict[str, Any] = json.loads(done.stderr)
        kind = Unavailable if told.pop("unavailable", False) else Invalid
        raise kind(told.pop("sentence"), field="photo", **told)
    head, _, content = done.stdout.partition(b"\n")
    # A decoder that was taken over says what it likes: what it says is looked at as a stranger's.
    if done.returncode or not content.startswith(b"\xff\xd8\xff") or not content.endswith(b"\xff\xd9") or len(content) > DEVELOPED:
        raise Invalid("照片读不出来,可能已损坏。请重新拍一张。", field="photo")
    measured = json.loads(head)
    return Photo(content, int(measured["width"]), int(measured["height"]))


def added_to_report(
    connection: sa.Connection, home: Path, key: FieldKey, ticket: str, hashes: Sequence[bytes], photo: Photo, kind: Kind = "near"
) -> UUID:
    """Keep a photo of who has ticket and code. Raises `NotFound` where these are not right, `Invalid` for one too many."""
    with _beside(connection, home, key, photo) as kept:
        try:
            kept.id = run(connection, "report_photo", ticket=ticket.strip().upper(), hashes=list(hashes), kind=kind, **kept.row).scalar_one()
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, NoDataFound):
                raise NotFound("回执号或查询码不对。") from error
            raise
    return kept.id


def added_to_incident(
    connection: sa.Connection, home: Path, key: FieldKey, incident: UUID, photo: Photo, kind: Kind, number: int | None = None
) -> UUID:
    """Keep a photo of whoever works with the case, of its step `number` or of none. Raises `NotFound`, `Forbidden`, `Invalid`."""
    with _beside(connection, home, key, photo) as kept:
        kept.id = run(connection, "incident_photo", incident=incident, number=number, kind=kind, **kept.row).scalar_one()
    return kept.id


@dataclass
class _Kept:
    """A photo whose file lies there: the row that is to say so, and under which id it is kept."""

    row: dict[str, Any]
    id: UUID


@contextmanager
def _beside(connection: sa.Connection, home: Path, key: FieldKey, photo: Photo) -> Iterator[_Kept]:
    """Seal the file, for a row to be written within; where none was, or the photo was known, the file goes again.

    The file before the row: one without a row is swept, a row without a file would be a photo that is lost.
    """
    id = connection.scalar(sa.select(sa.func.uuid_v7()))
    assert isinstance(id, UUID)
    name, file_key = _sealed(home, id, photo.content)
    told = {"size": len(photo.content), "width": photo.width, "height": photo.height}
    kept = _Kept({"id": id, "digest": photo.digest, "file": name, "file_key": key.seal(file_key.hex(), _about(id)), **told}, UUID(int=0))
    try:
        yield kept
    finally:
        if kept.id != id:
            path(home, name).unlink(missing_ok=True)


def _sealed(home: Path, id: UUID, content: bytes) -> tuple[str, bytes]:
    begun = home / "photos" / "begun" / str(id)
    with vault.Sealing(begun) as sealing:
        sealing.write(content)
    name = hashlib.sha256(begun.read_bytes()).hexdigest()
    path(home, name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    begun.rename(path(home, name))
    return name, sealing.key


def path(home: Path, name: str) -> Path:
    """Where a sealed photo lies."""
    return home / "photos" / name[:2] / name


def _about(id: object) -> str:
    return f"incident_photos|{id}|file_key"


@dataclass(frozen=True)
class Shown:
    """A photo to look at: its JPEG, whether everybody may, and a tag that tells it from others."""

    content: bytes
    released: bool
    tag: str
    incident: UUID


def shown(connection: sa.Connection, home: Path, key: FieldKey, id: UUID) -> Shown:
    """One photo, if the caller may see it. Raises `NotFound`, `Unavailable` when its file is not there."""
    row = run(connection, "photo", id=id).one_or_none()
    if row is None:
        raise NotFound()
    file_key = bytes.fromhex(key.open(bytes(row.file_key), _about(row.id)))
    return Shown(b"".join(vault.opened(path(home, row.file), file_key)), row.released, bytes(row.digest).hex()[:32], row.incident)


def listed(connection: sa.Connection, incident: UUID) -> list[dict[str, Any]]:
    """The photos of a case that the caller may see: `id`, `number` of the step, `kind`, measures, `at`, `by_reporter`, `released_at`."""
    return [dict(row) for row in run(connection, "photos", incident=incident).mappings()]


def decided(connection: sa.Connection, id: UUID, decision: Decision) -> UUID:
    """Release a photo to everybody, withhold it again, or give it up, which destroys it. The case it is of.

    Raises `NotFound`, `Forbidden` for those who do not answer for what is told.
    """
    try:
        incident: UUID = run(connection, "photo_decided", id=id, decision=decision).scalar_one()
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, NoDataFound):
            raise NotFound() from error
        raise
    return incident


def swept(connection: sa.Connection, home: Path, older: float = STRAY_SECONDS) -> int:
    """Take away the files that belong to no photo any more, or never came to. Returns how many."""
    before, gone = time.time() - older, 0
    for folder in sorted((home / "photos").glob("*")):
        files = {file.name: file for file in folder.iterdir() if file.stat().st_mtime < before}
        kept = set(run(connection, "photo_files_kept", names=list(files)).scalars()) if files else set()
        for name in files.keys() - kept:
            files[name].unlink(missing_ok=True)
            gone += 1
    return gone
