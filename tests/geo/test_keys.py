"""Keys are chosen once, read as they are now, renewed by number, and never weak."""

import json
import os
import stat
from os import urandom
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import make_url
from typer.testing import CliRunner

from api import cli
from api.settings import Settings
from geo import keys
from geo.errors import Conflict, GeoError, Unavailable
from geo.keys import Chosen
from geo.secrets import SUITES

PLACE = "posts|0190|phone"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The `jingwei` command, at home in this test."""
    monkeypatch.setattr(cli, "settings", lambda: Settings(home=home, database_url=os.environ.get("JINGWEI_DATABASE_URL")))
    return CliRunner()


def test_who_chooses_nothing_has_the_defaults(home: Path) -> None:
    assert keys.suite(home) == Chosen("aes-256-gcm", "sha256")
    assert not home.exists()
    assert keys.field_key(home).ring.keys[1].suite.name == "aes-256-gcm"


@pytest.mark.parametrize("cipher", SUITES)
@pytest.mark.parametrize("trail_hash", keys.TRAIL_HASHES)
def test_what_is_chosen_is_kept(home: Path, command: CliRunner, cipher: str, trail_hash: str) -> None:
    told = command.invoke(cli.app, ["init", "--cipher", cipher, "--trail-hash", trail_hash])
    assert told.exit_code == 0, told.output
    assert keys.suite(home) == Chosen(cipher, trail_hash)
    key = keys.field_key(home)
    assert {k.suite.name for k in key.ring.keys.values()} == {cipher}
    assert key.open(key.seal("10012341234", PLACE), PLACE) == "10012341234"
    assert key.lookup("100 1234 1234") in key.lookups("+10012341234")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home / "keys").iterdir()} == {0o600}
    # The same again is no other choice, and neither is nothing.
    for again in (["init"], ["init", "--cipher", cipher], ["init", "--trail-hash", trail_hash]):
        assert command.invoke(cli.app, again).exit_code == 0
    assert keys.field_key(home).ring == key.ring


@pytest.mark.parametrize("other", [{"cipher": "sm4-gcm"}, {"trail_hash": "sm3"}])
@pytest.mark.parametrize("begun", ["init", "key", "logins", "both"])
def test_another_choice_is_refused_once_begun(home: Path, begun: str, other: dict[str, str]) -> None:
    if begun == "init":
        keys.settled(home)
    if begun in ("key", "both"):
        keys.field_key(home)
    if begun in ("logins", "both"):
        keys.logins(home)  # of a database far away, which may have been migrated
    with pytest.raises(Conflict, match=r"aes-256-gcm 和 sha256 开始.*JINGWEI_HOME"):
        keys.settled(home, **other)
    assert keys.suite(home) == Chosen()


@pytest.mark.parametrize("option", ["--cipher", "--trail-hash"])
def test_an_unknown_choice_makes_nothing(home: Path, command: CliRunner, option: str) -> None:
    assert command.invoke(cli.app, ["init", option, "md5"]).exit_code == 2
    assert not home.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cipher": "rot13"}', b'{"cipher": "sm4-gcm", "trail_hash": "md5"}', b'{"x": 1}'])
def test_a_damaged_choice_is_no_choice(home: Path, content: bytes) -> None:
    keys.settled(home)
    keys.suite_path(home).write_bytes(content)
    with pytest.raises(Unavailable, match=r"suite\.json 已损坏"):
        keys.suite(home)


@pytest.mark.parametrize(
    "content",
    [
        b"", bytes(63), b"{}", b'{"current": 1, "keys": {}}', b'{"current": 1, "keys": {"1": {"suite": "rot-13", "hashing": ""}}}',
        json.dumps({"current": 1, "keys": {"1": {"suite": "sm4-gcm", "encryption": "00" * 31, "hashing": "00" * 32}}}).encode(),
        json.dumps({"current": 1, "keys": {"1": {"suite": "sm4-gcm", "hashing": "00" * 32}}}).encode(),
        json.dumps({"current": 70_000, "keys": {"70000": {"suite": "sm4-gcm", "encryption": "00" * 32, "hashing": "00" * 32}}}).encode(),
    ],
)
def test_a_damaged_key_is_no_key(home: Path, content: bytes) -> None:
    keys.field_key(home)
    keys.field_key_path(home).write_bytes(content)
    with pytest.raises(Unavailable, match=r"field\.key 已损坏"):
        keys.field_key(home)


def test_a_key_from_before_keys_had_numbers_is_the_first(home: Path) -> None:
    keys.field_key(home)
    raw = urandom(64)
    keys.field_key_path(home).write_bytes(raw)
    key = keys.field_key(home)
    nonce = urandom(12)
    old = b"\x01" + nonce + AESGCM(raw[:32]).encrypt(nonce, b"10012341234", PLACE.encode())
    assert key.open(old, PLACE) == "10012341234"
    assert key.open(key.seal("87651234", PLACE), PLACE) == "87651234"
    assert keys.renewed(home).current == 2
    assert key.open(old, PLACE) == "10012341234"
    keys.retired(home, fingerprints=False)
    # Put back as it is, the file aside opens what it sealed.
    keys.field_key_path(home).write_bytes((home / "keys" / "retired-1.key").read_bytes())
    assert keys.field_key(home).open(old, PLACE) == "10012341234"


def test_a_running_process_follows_the_file(home: Path) -> None:
    running = keys.field_key(home)
    old, hashed = running.seal("10012341234", PLACE), running.lookup("10012341234")
    assert keys.renewed(home).current == 2
    assert keys.renewed(home).current == 2  # not over yet: no third one
    assert running.seal("10012341234", PLACE)[1:3] == b"\0\2"
    assert len(running.lookups("10012341234")) == 2
    assert hashed in running.lookups("10012341234")
    assert hashed != running.lookup("10012341234")
    (aside,) = keys.retired(home, fingerprints=False)
    # What it has read before may still have to be opened; who starts now knows the new key only.
    assert running.open(old, PLACE) == "10012341234"
    assert running.lookups("10012341234") == [running.lookup("10012341234")]
    with pytest.raises(Unavailable, match="第 1 号") as refused:
        keys.field_key(home).open(old, PLACE)
    assert refused.value.facts == {"number": 1}
    assert keys.former(home) == [(1, aside)]
    assert keys.retired(home, fingerprints=False) == []
    assert keys.renewed(home).current == 3
    # A number once given out is not given again, even when an old file was put back.
    keys.field_key_path(home).write_bytes(aside.read_bytes())
    keys._replaced(home / "keys" / "retired-4.key", b"")
    assert keys.renewed(home).current == 5


def test_without_its_file_nothing_is_sealed(home: Path) -> None:
    running = keys.field_key(home)
    sealed = running.seal("10012341234", PLACE)
    keys.field_key_path(home).unlink()
    for write in (lambda: running.seal("1", PLACE), lambda: running.lookup("1"), lambda: running.fingerprint("1")):
        with pytest.raises(Unavailable, match=r"field\.key 不能读写"):
            write()
    assert running.open(sealed, PLACE) == "10012341234"


def test_a_cipher_of_elsewhere_does_not_open(home: Path, tmp_path: Path) -> None:
    key, other = keys.field_key(home), keys.field_key(tmp_path / "other")
    sealed = key.seal("10012341234", PLACE)
    for wrong in (lambda: other.open(sealed, PLACE), lambda: key.open(sealed, "posts|0191|phone"), lambda: key.open(b"x", PLACE)):
        with pytest.raises(GeoError, match="打不开"):
            wrong()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_the_file_to_who_serves(home: Path) -> None:
    keys.field_key(home)
    for path in (home / "keys", keys.field_key_path(home)):
        os.chown(path, 12_345, 12_346)
    keys.renewed(home)
    status = keys.field_key_path(home).stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12_345, 12_346, 0o600)


def test_fingerprints_keep_the_hashing_halves(home: Path) -> None:
    key = keys.field_key(home)
    first = key.fingerprint("990101199001011234")
    keys.renewed(home)
    assert key.fingerprints("990101199001011234") == [key.fingerprint("990101199001011234"), first]
    assert key.carried(first) == key.fingerprint("990101199001011234")
    keys.retired(home, fingerprints=True)
    fresh = keys.field_key(home)
    assert fresh.fingerprints("990101199001011234") == [key.carried(first)]
    assert [bool(k.encryption) for k in fresh.ring.keys.values()] == [False, True]
    assert len(fresh.lookups("10012341234")) == 1
    keys.renewed(home)
    keys.retired(home, fingerprints=True)
    assert keys.field_key(home).carried(first) == keys.field_key(home).fingerprint("990101199001011234")
    with pytest.raises(GeoError, match="打不开"):
        keys.field_key(home).carried(b"\0\x63" + bytes(32))


def test_no_key_shows_itself(home: Path) -> None:
    key = keys.field_key(home)
    told = f"{key!r} {key.ring!r} {vars(key)!r}"
    assert all(part.hex() not in told and repr(part) not in told for k in key.ring.keys.values() for part in (k.encryption, k.hashing))


def _written(home: Path, encryption: bytes, hashing: bytes) -> None:
    keys.field_key(home)
    told = {"suite": "sm4-gcm", "encryption": encryption.hex(), "hashing": hashing.hex()}
    keys.field_key_path(home).write_text(json.dumps({"current": 1, "keys": {"1": told}}))


@pytest.mark.parametrize(
    "part",
    [
        bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(0, 96, 3)), b"jingwei-secret-key-0123456789abc", b"0123456789abcdef" * 2,
        bytes(urandom(4)) * 8, bytes(urandom(16)) * 2, b"\0" * 20 + urandom(12), b"correct horse battery staple\r\n\t ",
    ],
    ids=["zeros", "ones", "counting", "by threes", "a sentence", "digits twice", "four eight times", "sixteen twice", "mostly zeros", "words"],
)
@pytest.mark.parametrize("half", [0, 1])
def test_a_field_key_that_people_made_is_refused(home: Path, part: bytes, half: int) -> None:
    _written(home, *((part, urandom(32)) if half else (urandom(32), part)))
    (told,) = keys.weaknesses(home, environ={})
    assert "jingwei keys rotate" in told
    with pytest.raises(Unavailable, match="不是随机的"):
        keys.sound(home, environ={})
    # And the way out is one.
    keys.renewed(home)
    keys.retired(home, fingerprints=True)
    keys.sound(home, environ={})


def test_a_raw_key_that_people_made_is_refused(home: Path) -> None:
    keys.field_key(home)
    keys.field_key_path(home).write_bytes(b"0123456789abcdef" * 4)
    with pytest.raises(Unavailable, match="不是随机的"):
        keys.sound(home, environ={})


@pytest.mark.parametrize(
    "password", ["short-but-r4nd0m", "jingwei_web", "postgres", "x" * 32, "passwordpasswordpassword", "jingwei_webjingwei_web", " " * 24]
)
def test_a_weak_password_of_a_login_is_refused(home: Path, password: str) -> None:
    kept = dict(keys.logins(home))
    keys.sound(home, environ={})
    keys.logins_path(home).write_text(json.dumps(kept | {"jingwei_web": password}))
    (told,) = keys.weaknesses(home, environ={})
    assert "jingwei_web" in told and "jingwei_loader" not in told and "jingwei migrate" in told
    assert password == "jingwei_web" or password not in told
    with pytest.raises(Unavailable, match="太短或太容易猜"):
        keys.sound(home, environ={})
    keys.logins_path(home).unlink()
    keys.logins(home)
    keys.sound(home, environ={})


STRONG = "v9Zr_QmT-2hXbLk8"


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("postgresql://postgres@db/x", {}),
        ("postgresql://postgres:@db/x", {}),
        ("postgresql://postgres:postgres@db/x", {}),
        ("postgresql://gis_admin:gis_admin@db/x", {}),
        ("postgresql://admin:GIS@db/x", {}),
        ("postgresql://admin:changeme@127.0.0.1:5433/x", {}),
        ("postgresql://admin:Password123@db/x", {}),
        ("postgresql://admin:woaini1314@db/x", {}),
        ("postgresql://admin@/x?host=db", {}),
        ("postgresql://admin@/x?hostaddr=192.0.2.1", {}),
        ("postgresql://admin@/x?host=/run/postgresql&host=db", {}),
        ("postgresql://admin@/x", {"PGHOST": "db"}),
        ("postgresql://admin@db/x", {"PGPASSWORD": "secret"}),
        (f"postgresql://admin:{'a' * 100}@db/x", {}),
    ],
)
def test_a_weak_password_of_the_database_is_refused(home: Path, url: str, environ: dict[str, str]) -> None:
    (told,) = keys.weaknesses(home, make_url(url), environ)
    assert "JINGWEI_DATABASE_PASSWORD_FILE" in told
    with pytest.raises(Unavailable, match="太容易猜"):
        keys.sound(home, make_url(url), environ)


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        (f"postgresql://admin:{STRONG}@db/x", {}),
        (f"postgresql://admin:{STRONG * 8}@db/x", {}),
        ("postgresql://admin@db/x", {"PGPASSWORD": STRONG}),
        ("postgresql://admin@/x", {}),
        ("postgresql://admin@/x", {"PGHOST": "/run/postgresql"}),
        ("postgresql://admin@/x?host=/run/postgresql", {}),
        ("postgresql://admin@db/x?sslcert=/etc/client.pem&sslkey=/etc/client.key", {}),
    ],
)
def test_a_password_is_strong_or_not_needed(home: Path, url: str, environ: dict[str, str]) -> None:
    keys.sound(home, make_url(url), environ)
    assert not home.exists()


@pytest.mark.parametrize("name", ["field.key", "logins.json", "retired-1.key", "field.key.bak"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(home: Path, name: str, mode: int) -> None:
    keys.field_key(home), keys.logins(home)
    kept = home / "keys" / name
    kept.touch(0o600)
    keys.sound(home, environ={})
    kept.chmod(mode)
    with pytest.raises(Unavailable, match=f"{name} 别的用户也能读:请运行 chmod -R go= {home}/keys"):
        keys.sound(home, environ={})


def test_a_folder_that_is_none_is_told(home: Path) -> None:
    home.mkdir()
    (home / "keys").write_text("")
    with pytest.raises(Unavailable, match="不能读写"):
        keys.sound(home, environ={})


@pytest.mark.parametrize("started", ["serve", "demo"])
@pytest.mark.parametrize("weak", ["url", "key", "mode"])
def test_nothing_starts_on_a_weak_secret(
    home: Path, command: CliRunner, monkeypatch: pytest.MonkeyPatch, started: str, weak: str
) -> None:
    monkeypatch.setattr("api.serving.serve", lambda *_: pytest.fail("it started"))
    monkeypatch.setattr(cli, "migrate", lambda: pytest.fail("it started"))
    if weak == "url":
        monkeypatch.setenv("JINGWEI_DATABASE_URL", "postgresql://jingwei_admin:jingwei@127.0.0.1:1/jingwei")
    elif weak == "key":
        _written(home, bytes(32), urandom(32))
    else:
        keys.field_key(home)
        keys.field_key_path(home).chmod(0o644)
    told = command.invoke(cli.app, [started])
    assert isinstance(told.exception, Unavailable)
    assert "请" in str(told.exception)
    assert not (home / "cluster").exists()
