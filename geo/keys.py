"""Secrets that the first start makes and only this machine keeps: the logins' passwords and the field keys.

Both lie in `<home>/keys`, mode 0600 in a folder of mode 0700. They are never printed, logged or put on a command line.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from geo.errors import Unavailable
from geo.terminal import said

LOGINS = ("jingwei_admin", "jingwei_web", "jingwei_door", "jingwei_loader", "jingwei_trail")


@dataclass(frozen=True)
class FieldKey:
    """What turns a secret field into its cipher and its keyed hash: 32 random bytes each."""

    encryption: bytes = field(repr=False)
    hashing: bytes = field(repr=False)


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
    """The key pair of secret fields, made when there is none. Raises `Unavailable` when the file cannot be used.

    What was written with a lost key is lost: the file belongs into the backup, apart from the database's.
    """
    path = field_key_path(home)
    with _held(path):
        if not path.exists():
            _replaced(path, secrets.token_bytes(64))
        content = path.read_bytes()
    if len(content) != 64:
        raise Unavailable(said("字段密钥 {path} 已损坏:请从备份放回这个文件。", path=path))
    return FieldKey(content[:32], content[32:])


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
        sentence = "密钥 {path} 不能读写({problem}):请以原来的用户运行,或用 JINGWEI_HOME 另指一处。"
        raise Unavailable(said(sentence, path=path, problem=problem.strerror)) from problem


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
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    beside.replace(path)
    # Without this the name of a new key may be gone after a power cut, while data written with it is not.
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
