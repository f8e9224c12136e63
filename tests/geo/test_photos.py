"""What is kept of a photo: its pixels, sealed, for as long as it is needed; and what is not taken for one."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from geo import photos, pictures, retention
from geo.errors import Invalid, NotFound, TooLarge
from geo.keys import FieldKey
from geo.reading.refusal import Refused
from tests import town
from tests.conftest import Within

SECRET = b"GPSLatitude of somebody's home"


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", colour: object = (200, 30, 30), **how: object) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **how)  # type: ignore[arg-type]
    return out.getvalue()


def located() -> bytes:
    """A photo as a phone makes it: lying on its side, with a place, a device and a comment."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker of phones"
    exif.get_ifd(0x8825)[2] = (29.0, 48.0, 1.0)
    return picture(size=(64, 48), exif=exif, comment=SECRET)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_only_pixels_are_kept_and_upright() -> None:
    sent = located()
    assert SECRET in sent and b"Maker of phones" in sent
    photo = photos.developed(sent)
    shown = opened(photo.content)
    assert (photo.width, photo.height) == shown.size == (48, 64)
    assert not shown.getexif() and not {*shown.info} - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert SECRET not in photo.content and b"Exif" not in photo.content and b"Maker" not in photo.content
    red, green, blue = shown.convert("RGB").getpixel((20, 20))  # type: ignore[misc]
    assert red > 180 and green < 60 and blue < 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_is_large_is_made_smaller(kind: str) -> None:
    content, width, height = pictures.developed(picture(kind, (2000, 1500)))
    assert (width, height) == (1600, 1200) and opened(content).format == "JPEG"


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0)), ("P", 0), ("L", 255), ("I;16", 0), ("1", 1)])
def test_pictures_of_every_mode_become_plain(mode: str, colour: object) -> None:
    content, *_ = pictures.developed(picture("PNG", mode=mode, colour=colour))
    shown = opened(content)
    assert shown.mode == "RGB"
    if mode in ("RGBA", "LA"):
        assert shown.getpixel((5, 5)) == (255, 255, 255)


def bomb() -> bytes:
    """Forty kilobytes that claim 900 million pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000, 9)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A text in a PNG that unpacks to a gigabyte."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    plain = picture("PNG")
    packed = b"k\0\0" + zlib.compress(b"\0" * 70_000_000, 1)
    return plain[:33] + chunk(b"zTXt", packed) + plain[33:]


def archive() -> bytes:
    out = io.BytesIO(picture())
    with zipfile.ZipFile(out, "a") as made:
        made.writestr("run.sh", "echo")
    return out.getvalue()


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb of pixels": (bomb, "像素太多"),
    "a bomb of text": (text_bomb, "读不出来"),
    "an archive behind a photo": (archive, "夹带"),
    "a script in a comment": (lambda: picture(comment=b"<script>alert(1)</script>"), "夹带"),
    "a page in a comment": (lambda: picture(comment=b"<HTML ><body onload=x>"), "夹带"),
    "PHP in a comment": (lambda: picture(comment=b"<?php system($_GET[0]); ?>"), "夹带"),
    "a document that begins as a photo": (lambda: picture()[:20] + b"%PDF-1.7\n" + picture()[20:], "夹带"),
    "half a photo": (lambda: picture(size=(800, 600))[: len(picture(size=(800, 600))) // 2], "读不出来"),
    "only a head": (lambda: b"\xff\xd8\xff\xe0", "读不出来"),
    "noise behind a head": (lambda: b"\xff\xd8\xff" + bytes(range(256)) * 50, "读不出来"),
    "a page": (lambda: b"<!doctype html><script>alert(1)</script>", "只收"),
    "a drawing with a script": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "只收"),
    "a program": (lambda: b"MZ" + b"\0" * 500, "只收"),
    "a GIF": (lambda: picture("GIF"), "只收"),
    "a TIFF": (lambda: picture("TIFF"), "只收"),
    "a PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "只收"),
    "nothing": (lambda: b"", "只收"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_no_photo_is_refused_in_words(name: str) -> None:
    made, said = ATTACKS[name]
    with pytest.raises(Refused, match=said):
        pictures.developed(made())


def test_a_film_behind_a_photo_is_left_out() -> None:
    film = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
    content, *_ = pictures.developed(picture() + film)
    assert film[:200] not in content


def test_the_process_says_no_in_the_same_words() -> None:
    with pytest.raises(Invalid, match="夹带"):
        photos.developed(archive())
    with pytest.raises(TooLarge):
        photos.developed(b"\xff\xd8\xff" + b"\0" * photos.BYTES)


# What is kept, and for how long


@pytest.fixture
def case(connection: sa.Connection) -> str:
    """A case in grid A that was reported."""
    x, y = town.at(0.5, 0.5)
    made = connection.execute(
        sa.text("INSERT INTO incidents (title, number, channel, geom) VALUES ('井盖破损', 'R260101-AAAAAA', 'public', ST_SetSRID(ST_Point(:x, :y), 4326)) RETURNING id"),
        {"x": x, "y": y},
    ).scalar_one()
    connection.execute(sa.text("INSERT INTO receipts (ticket, code_hash, incident) VALUES ('R260101-AAAAAA', '\\x01', :id)"), {"id": made})
    return str(made)


def added(connection: sa.Connection, home: Path, key: FieldKey, colour: tuple[int, int, int] = (1, 2, 3)) -> object:
    content, width, height = pictures.developed(picture(colour=colour))
    return photos.added_to_report(connection, home, key, "r260101-aaaaaa", [b"\x01"], photos.Photo(content, width, height))


def test_it_lies_sealed_beside_the_database(connection: sa.Connection, case: str, key: FieldKey, tmp_path: Path) -> None:
    id = added(connection, tmp_path, key)
    (file,) = [one for one in (tmp_path / "photos").rglob("*") if one.is_file()]
    content = file.read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.name and b"JFIF" not in content
    assert not list((tmp_path / "photos" / "begun").iterdir())
    row = connection.execute(sa.text("SELECT * FROM incident_photos")).one()
    assert (row.file, str(row.incident), row.actor, row.released_at) == (file.name, case, "", None)
    shown = photos.shown(connection, tmp_path, key, row.id)
    assert opened(shown.content).size == (64, 48) and hashlib.sha256(shown.content).digest() == row.digest
    # The same photo again is the same, and leaves no second file.
    assert added(connection, tmp_path, key) == id
    assert [one for one in (tmp_path / "photos").rglob("*") if one.is_file()] == [file]


def test_of_a_report_there_are_four(connection: sa.Connection, case: str, key: FieldKey, tmp_path: Path) -> None:
    for n in range(4):
        added(connection, tmp_path, key, (50 * n, 0, 0))
    with pytest.raises(sa.exc.DBAPIError, match="incident_photos_most_check"):
        added(connection, tmp_path, key, (0, 200, 0))


def closed(connection: sa.Connection, case: str, days: int) -> None:
    connection.execute(
        sa.text("UPDATE incidents SET closed_at = now() - make_interval(days => :days), reported_at = now() - interval '400 days' WHERE id = :id"),
        {"id": case, "days": days},
    )
    connection.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
    connection.execute(sa.text("UPDATE incidents SET state = 'closed', steps = NULL WHERE id = :id"), {"id": case})


@pytest.mark.parametrize(("days", "released", "kept"), [(29, False, True), (31, False, False), (31, True, True), (179, True, True), (181, True, False)])
def test_it_is_destroyed_when_its_time_is_over(
    connection: sa.Connection, case: str, key: FieldKey, tmp_path: Path, days: int, released: bool, kept: bool
) -> None:
    added(connection, tmp_path, key)
    if released:
        connection.execute(sa.text("UPDATE incident_photos SET released_at = now(), released_by = 'x'"))
    closed(connection, case, days)
    for line in retention.due(connection):
        if line.noun == "incident_photos":
            retention.carried_out(connection, tmp_path, line)
    row = connection.execute(sa.text("SELECT num_nonnulls(digest, file, file_key_cipher) AS held, id FROM incident_photos")).one()
    assert row.held == (3 if kept else 0)
    assert photos.swept(connection, tmp_path, older=-1) == (0 if kept else 1)
    if not kept:
        with pytest.raises(NotFound):
            photos.shown(connection, tmp_path, key, row.id)


def test_it_goes_with_how_to_reach_who_sent_it(connection: sa.Connection, case: str, key: FieldKey, tmp_path: Path) -> None:
    added(connection, tmp_path, key)
    connection.execute(sa.text("SELECT traces_struck('incidents', ARRAY[CAST(:id AS uuid)], ARRAY['title'])"), {"id": case})
    assert connection.scalar(sa.text("SELECT count(file) FROM incident_photos")) == 1
    connection.execute(sa.text("SELECT traces_struck('incidents', ARRAY[CAST(:id AS uuid)], ARRAY['reporter_phone_masked', 'reporter_phone_cipher'])"), {"id": case})
    assert connection.scalar(sa.text("SELECT count(file) FROM incident_photos")) == 0


def test_a_sweep_leaves_what_is_just_being_written(web: Within, tmp_path: Path) -> None:
    stray = photos.path(tmp_path, "ab" + "0" * 62)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    with web.begin() as connection:
        assert photos.swept(connection, tmp_path) == 0 and stray.exists()
        assert photos.swept(connection, tmp_path, older=-1) == 1 and not stray.exists()
