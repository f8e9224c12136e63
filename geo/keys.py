"""Secrets that the first start makes and only this machine keeps: the logins' passwords and the keys of secret fields.

All lie in `<home>/keys`, mode 0600 in a folder of mode 0700. They are never printed, logged or put on a command line.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from threading import Lock

from cryptography.exceptions import InvalidTag
from sqlalchemy import URL

from geo.errors import Conflict, GeoError, Unavailable
from geo.secrets import SUITES, Key, carried, fingerprint, lookup, seal, sealed_by, unseal
from geo.terminal import said

LOGINS = ("jingwei_admin", "jingwei_web", "jingwei_door", "jingwei_loader", "jingwei_trail")
TRAIL_HASHES = ("sha256", "sm3")
SHORTEST_PASSWORD = 20
NOT_OPENED = "这个封存的值打不开:它被改动过,或密钥不是封存时的那一把。"
# What installers, manuals and compose files are full of; whatever else is easy to guess, zxcvbn knows.
DEFAULTS = frozenset((
    "admin", "administrator", "changeme", "change-me", "default", "docker", "example", "gis", "guest", "jingwei", "letmein",
    "passw0rd", "password", "postgis", "postgres", "postgresql", "root", "secret", "test", "welcome",
))


@dataclass(frozen=True)
class Chosen:
    """What `jingwei init` chose, once for all: how fields are sealed, how the trail is chained."""

    cipher: str = "aes-256-gcm"
    trail_hash: str = "sha256"


@dataclass(frozen=True)
class Ring:
    """The keys of a file by number, and the one to seal with; with a file of one key both are the same."""

    keys: Mapping[int, Key]
    current: int

    @cached_property
    def opening(self) -> tuple[Key, ...]:
        """The keys that open and under which hashes may be kept; the current one first."""
        others = (key for number, key in self.keys.items() if key.encryption and number != self.current)
        return (self.keys[self.current], *others)

    def chain(self, number: int) -> tuple[Key, ...]:
        """The keys that made the fingerprints of this one's time, in their order."""
        return tuple(key for n, key in sorted(self.keys.items()) if n <= number)


class FieldKey:
    """The keys of secret fields, as the file has them now: seal with the current one, open with any.

    A key that is new in the file is used from the next value on, and one that has left it still opens what this process
    has read before: keys are changed while the server runs (`geo.sealing.rotate`). Methods raise `Unavailable` when the
    file cannot be used.
    """

    def __init__(self, ring: Ring, path: Path | None = None) -> None:
        self._ring, self._path, self._turn = ring, path, Lock()
        self._known = dict(ring.keys)
        self._seen: tuple[int, ...] = ()

    @property
    def ring(self) -> Ring:
        """The keys in the file. A look at the file's times costs 2 µs, a value to seal 5."""
        if self._path is not None:
            try:
                status = self._path.stat()
            except OSError as problem:
                # With a key that is nowhere else any more, nothing may be sealed.
                raise _unusable(self._path, problem) from problem
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                with self._turn:
                    self._ring = _ring(self._path)
                    self._known |= self._ring.keys
                    self._seen = seen
        return self._ring

    def seal(self, value: str, about: str) -> bytes:
        """The cipher of `value`, bound to `about` ("table|id|column"). To be made in the transaction that stores it."""
        ring = self.ring
        return seal(value, ring.keys[ring.current], about)

    def open(self, cipher: bytes, about: str) -> str:
        """What was sealed. Raises `GeoError` when it was not sealed here, and `Unavailable` when its key is missing."""
        try:
            suite, number = sealed_by(cipher)
            if number not in self._known and self._path is not None:
                _ = self.ring
            key = self._known.get(number)
            if key is None or not key.encryption or key.suite != suite:
                sentence = "这个值是用第 {number} 号字段密钥封存的,而密钥文件里没有这一把:请从备份放回那时的密钥文件。"
                raise Unavailable(sentence, number=number)
            return unseal(cipher, key, about)
        except (InvalidTag, ValueError) as problem:
            raise GeoError(NOT_OPENED) from problem

    def lookup(self, value: str) -> bytes:
        """The keyed hash to keep beside a cipher."""
        ring = self.ring
        return lookup(value, ring.keys[ring.current])

    def lookups(self, value: str) -> list[bytes]:
        """The keyed hashes under which a typed number may be kept now, for `= ANY`: two while keys are changed."""
        return [lookup(value, key) for key in self.ring.opening]

    def fingerprint(self, value: str) -> bytes:
        """What to keep of a value that is never to be read again (`Field.hashed`)."""
        ring = self.ring
        return fingerprint(value, ring.chain(ring.current))

    def carried(self, kept: bytes) -> bytes:
        """A kept fingerprint as it is under the current key. Raises `GeoError` for one whose key is missing."""
        ring = self.ring
        try:
            return carried(kept, ring.chain(ring.current))
        except ValueError as problem:
            raise GeoError(NOT_OPENED) from problem

    def fingerprints(self, value: str) -> list[bytes]:
        """The fingerprints under which such a value may be kept now, for `= ANY`."""
        ring = self.ring
        return [fingerprint(value, ring.chain(key.number)) for key in ring.opening]


def logins(home: Path) -> Mapping[str, str]:
    """The password of each of `LOGINS`; missing ones are made. Raises `Unavailable` when the file cannot be used."""
    path = logins_path(home)
    with _held(path):
        kept = _parsed(path)
        missing = [login for login in LOGINS if login not in kept]
        if missing:
            # 32 characters of [A-Za-z0-9_-] need no quoting in SQL, in a URL or in a password file.
            kept |= {login: secrets.token_urlsafe(24) for login in missing}
            _replaced(path, json.dumps(kept, indent=1).encode())
    return kept


def field_key(home: Path) -> FieldKey:
    """The keys of secret fields; a first one is made when there is none. Raises `Unavailable` when the file cannot be used.

    What was written with a lost key is lost: the file belongs into the backup, apart from the database's.
    """
    path = field_key_path(home)
    with _held(path):
        if not path.exists():
            _replaced(path, _written(_fresh(1, suite(home).cipher)))
        ring = _ring(path)
    return FieldKey(ring, path)


def suite(home: Path) -> Chosen:
    """What `jingwei init` chose for this home; the defaults where it never ran. Raises `Unavailable` for a damaged file."""
    path = suite_path(home)
    if not path.exists():
        return Chosen()
    try:
        chosen = Chosen(**json.loads(path.read_bytes()))
        if chosen.cipher in SUITES and chosen.trail_hash in TRAIL_HASHES:
            return chosen
    except OSError as problem:
        raise _unusable(path, problem) from problem
    except (ValueError, TypeError):
        pass
    raise Unavailable(said("{path} 已损坏:请从备份放回这个文件。", path=path))


def settled(home: Path, cipher: str | None = None, trail_hash: str | None = None) -> Chosen:
    """Record the choice of this home; what is not named is as it was chosen before, else the default.

    Raises `Conflict` for another choice than the one under which things are kept already.
    """
    path = suite_path(home)
    with _held(path):
        kept = suite(home)
        chosen = Chosen(cipher or kept.cipher, trail_hash or kept.trail_hash)
        # Whoever started without `init` has taken the defaults: there may be rows by now, here or in a database far away.
        begun = path.exists() or field_key_path(home).exists() or logins_path(home).exists()
        if begun and chosen != kept:
            sentence = (
                "{home} 已经按 {cipher} 和 {trail_hash} 开始,不能再改:要用别的,请换一个 JINGWEI_HOME 和一个空的数据库,"
                "在第一次启动之前运行 jingwei init。"
            )
            raise Conflict(sentence, home=home, cipher=kept.cipher, trail_hash=kept.trail_hash)
        if not path.exists():
            _replaced(path, json.dumps(asdict(chosen), indent=1).encode())
    return chosen


def renewed(home: Path) -> Ring:
    """Put a new current key into the file, unless an earlier change of keys is not over: then the ring as it is."""
    path = field_key_path(home)
    with _held(path):
        ring = _ring(path)
        if len(ring.opening) > 1:
            return ring
        # A number that was ever given out is not given again: two keys of one number would be mistaken for each other.
        number = 1 + max(*ring.keys, *(number for number, _ in former(home)), 0)
        fresh = _fresh(number, ring.keys[ring.current].suite.name)
        ring = Ring(dict(ring.keys) | dict(fresh.keys), number)
        _replaced(path, _written(ring))
    return ring


def retired(home: Path, fingerprints: bool) -> list[Path]:
    """Take all keys but the current one out of the file, each into a file of its own beside it. Returns those files.

    Not destroyed here: backups of the database from before can be read with nothing else. With `fingerprints`, of which
    each key is a part, their hashing halves stay.
    """
    path = field_key_path(home)
    with _held(path):
        ring = _ring(path)
        aside = []
        for key in ring.opening[1:]:
            aside.append(path.with_name(f"retired-{key.number}.key"))
            _replaced(aside[-1], _written(Ring({n: k for n, k in ring.keys.items() if n <= key.number}, key.number)))
        kept = {n: Key(k.number, k.suite, b"", k.hashing) for n, k in ring.keys.items() if n != ring.current and fingerprints}
        if aside or len(kept) + 1 < len(ring.keys):
            _replaced(path, _written(Ring(kept | {ring.current: ring.keys[ring.current]}, ring.current)))
    return aside


def former(home: Path) -> list[tuple[int, Path]]:
    """Former keys that still lie beside the current one, with their numbers."""
    found = ((re.fullmatch(r"retired-(\d+)\.key", path.name), path) for path in field_key_path(home).parent.glob("retired-*.key"))
    return sorted((int(match[1]), path) for match, path in found if match)


def weaknesses(home: Path, url: URL | None = None, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What is wrong with the secrets of this home, and of the database's address: a sentence each, with what to do.

    Makes nothing, and names no secret.
    """
    folder = logins_path(home).parent
    try:
        # One with a dot is being written, private from its beginning, and may be renamed while we look.
        names = [name for name in sorted(os.listdir(folder)) if not name.startswith(".")] if folder.exists() else []
        kept = [path for path in map(folder.joinpath, names) if path.is_file()]
        exposed = [path.name for path in kept if path.stat().st_mode & 0o077]
    except OSError as problem:
        raise _unusable(folder, problem) from problem
    if exposed:
        yield said("{names} 别的用户也能读:请运行 chmod -R go= {place}。", names="、".join(exposed), place=folder)
    path = field_key_path(home)
    if path.exists() and any(_guessable(part) for key in _ring(path).opening for part in (key.encryption, key.hashing)):
        sentence = (
            "字段密钥 {path} 不是随机的,猜得出来:还没有数据就请删去它,下次启动会另做一把;已有数据请运行 jingwei keys rotate。"
        )
        yield said(sentence, path=path)
    path = logins_path(home)
    weak = [login for login, password in (_parsed(path) if path.exists() else {}).items() if _weak(password, login, SHORTEST_PASSWORD)]
    if weak:
        sentence = "{path} 里 {logins} 的口令太短或太容易猜:请删去这个文件,再运行 jingwei migrate,会重设各账号的口令。"
        yield said(sentence, path=path, logins="、".join(weak))
    if url is not None:
        yield from _address(url, environ)


def sound(home: Path, url: URL | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Raises `Unavailable` for the first weakness: nothing starts on a secret that others can guess or read."""
    for sentence in weaknesses(home, url, environ):
        raise Unavailable(sentence)


def anchor_key(home: Path) -> bytes:
    """The 32 bytes by which the trail's anchors are known as ours, made when there are none. Raises `Unavailable`."""
    path = anchor_key_path(home)
    with _held(path):
        if not path.exists():
            _replaced(path, secrets.token_bytes(32))
        content = path.read_bytes()
    if len(content) != 32:
        raise Unavailable(said("锚点密钥 {path} 已损坏:请从备份放回这个文件。", path=path))
    return content


def logins_path(home: Path) -> Path:
    return home / "keys" / "logins.json"


def field_key_path(home: Path) -> Path:
    return home / "keys" / "field.key"


def anchor_key_path(home: Path) -> Path:
    return home / "keys" / "anchor.key"


def suite_path(home: Path) -> Path:
    return home / "keys" / "suite.json"


def _fresh(number: int, cipher: str) -> Ring:
    return Ring({number: Key(number, SUITES[cipher], secrets.token_bytes(32), secrets.token_bytes(32))}, number)


def _ring(path: Path) -> Ring:
    """The keys in a file. Raises `Unavailable` when it holds none."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise _unusable(path, problem) from problem
    if len(content) == 64:
        # As it was before keys had numbers; written anew when the key is changed.
        return Ring({1: Key(1, SUITES["aes-256-gcm"], content[:32], content[32:])}, 1)
    try:
        kept = json.loads(content)
        keys = [
            Key(int(n), SUITES[told["suite"]], bytes.fromhex(told.get("encryption", "")), bytes.fromhex(told["hashing"]))
            for n, told in kept["keys"].items()
        ]
        ring = Ring({key.number: key for key in keys}, int(kept["current"]))
        sizes = {len(key.encryption) for key in keys} | {len(key.hashing) for key in keys}
        if len(ring.keys[ring.current].encryption) == 32 and sizes <= {0, 32} and all(0 < n < 1 << 16 for n in ring.keys):
            return ring
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise Unavailable(said("字段密钥 {path} 已损坏:请从备份放回这个文件。", path=path))


def _written(ring: Ring) -> bytes:
    keys = {
        str(number): {"suite": key.suite.name, "encryption": key.encryption.hex(), "hashing": key.hashing.hex()}
        for number, key in sorted(ring.keys.items())
    }
    return json.dumps({"current": ring.current, "keys": keys}, indent=1).encode()


def _guessable(part: bytes) -> bool:
    """Whether 32 bytes look like anything but random ones. Of random ones, none in 10^12 does."""
    steps = {(after - before) % 256 for before, after in pairwise(part)}
    text = all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in part)
    repeated = any(part == (part[:period] * len(part))[: len(part)] for period in range(1, len(part) // 2 + 1))
    return text or repeated or len(steps) == 1 or len(set(part)) < 16


def _weak(password: str, login: str, shortest: int) -> bool:
    plain = password.strip().casefold()
    if len(password) < shortest or not plain or plain == login.casefold() or plain in DEFAULTS:
        return True
    from zxcvbn import zxcvbn  # 40 ms and 8 MB of word lists, and only a start asks

    # It reads no more than 72 characters, and would take long for more.
    return bool(zxcvbn(password[:72], user_inputs=[login, *DEFAULTS])["score"] < 3)


def _address(url: URL, environ: Mapping[str, str]) -> Iterator[str]:
    told = url.host or url.query.get("host") or url.query.get("hostaddr") or environ.get("PGHOST", "")
    hosts = told.split(",") if isinstance(told, str) else told
    # On a socket the operating system says who it is (peer), and with a certificate the key does.
    if all(not host or host.startswith("/") for host in hosts) or "sslcert" in url.query:
        return
    password = str(url.password or environ.get("PGPASSWORD", ""))
    if _weak(password, url.username or "", 1):
        yield said(
            "JINGWEI_DATABASE_URL 里 {login} 的口令是空的、默认的或太容易猜:请在数据库里换一个随机的长口令,"
            "写进 JINGWEI_DATABASE_PASSWORD_FILE 指的文件。",
            login=url.username or "",
        )


def _unusable(path: Path, problem: OSError) -> Unavailable:
    sentence = "密钥 {path} 不能读写({problem}):请以原来的用户运行,或用 JINGWEI_HOME 另指一处。"
    return Unavailable(said(sentence, path=path, problem=problem.strerror))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    # Of two first starts, one makes the secret and both must use it: the folder itself is the lock.
    try:
        home = path.parent.parent
        if not home.exists():
            # The database runs as another OS user when we are root, and has its files in here too.
            home.mkdir(parents=True)
            home.chmod(0o711)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    except OSError as problem:
        raise _unusable(path, problem) from problem


def _parsed(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_bytes())
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(value, str) and value for value in kept.values()):
        sentence = "口令文件 {path} 已损坏:请从备份放回,或删去它,下次启动会重设各账号的口令。"
        raise Unavailable(said(sentence, path=path))
    return kept


def _replaced(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        if os.geteuid() == 0:
            # A command run by root must not take the file away from the user that serves.
            owner = path.parent.stat()
            os.fchown(target.fileno(), owner.st_uid, owner.st_gid)
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    beside.replace(path)
    # Without this the name of a new key may be gone after a power cut, while data written with it is not.
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
