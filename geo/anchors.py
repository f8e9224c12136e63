"""Heads of the trail, kept where the database's administrator does not write: `<home>/anchors.jsonl`.

A line each, JSON, in the order in which they were told. Each carries an HMAC over itself and over that of the line
before it, with a key from the keys folder, so that none can be changed, taken out or put in between without it. Lines
cut off at the end, or the whole file gone, no file can show about itself: heads are printed too (`jingwei audit head`).
"""

import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geo.chain import Head
from geo.errors import Unavailable
from geo.keys import anchor_key
from geo.terminal import said


@dataclass(frozen=True)
class Anchors:
    """What the file holds of one instance.

    `heads` are those that count: after a backup was gone back to, those that it lost count no more. `broken` is the
    number of the first line that is not ours (from 1), `resumed` tells of every return to a backup.
    """

    heads: tuple[Head, ...] = ()
    broken: int | None = None
    resumed: tuple[Mapping[str, str | int], ...] = ()
    last: datetime | None = None


def path(home: Path) -> Path:
    """The file of a home."""
    return home / "anchors.jsonl"


def read(home: Path, instance: str) -> Anchors:
    """The anchors of one instance. Raises `Unavailable` when file or key cannot be read."""
    place = path(home)
    if not place.exists():
        return Anchors()
    key, before, heads = anchor_key(home), b"", list[Head]()
    resumed: list[Mapping[str, str | int]] = []
    last: datetime | None = None
    for number, line in enumerate(_lines(place), 1):
        told = _told(line, key, before)
        if told is None:
            return Anchors(tuple(heads), number, tuple(resumed), last)
        before = bytes.fromhex(str(told["mac"]))
        if told["instance"] != instance:
            continue  # another database was served from this home before
        last = datetime.fromisoformat(str(told["anchored"]))
        if "reason" in told:
            resumed.append(told)
            heads = [head for head in heads if head.id <= int(told["id"])]
        else:
            heads.append(Head(int(told["id"]), bytes.fromhex(str(told["hash"])), datetime.fromisoformat(str(told["at"]))))
    return Anchors(tuple(heads), None, tuple(resumed), last)


def append(home: Path, instance: str, head: Head, reason: str = "") -> bool:
    """Put a head at the end of the file, on the disk; False when it is the last one already. With a `reason`, what was told
    of rows after `head` counts no more. Raises `Unavailable` when it cannot be written."""
    place, key = path(home), anchor_key(home)
    try:
        with open(os.open(place, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            content = file.read()
            # What has no end was torn by a power cut, and never was an anchor.
            whole = content.rfind(b"\n") + 1
            last = json.loads(content[:whole].splitlines()[-1]) if whole else {}
            told: dict[str, str | int] = {"instance": instance, "id": head.id, "hash": head.hash.hex()}
            if not reason and {name: last.get(name) for name in told} == told and "reason" not in last:
                return False
            told |= {"at": (head.at or datetime.now(UTC)).isoformat(), "anchored": datetime.now(UTC).isoformat()}
            told |= {"reason": reason} if reason else {}
            told["mac"] = _mac(told, key, bytes.fromhex(last.get("mac", ""))).hex()
            file.seek(whole)
            file.truncate()
            file.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as problem:
        sentence = "锚点文件 {path} 不能续写({problem}):请检查它和所在的文件夹。"
        raise Unavailable(said(sentence, path=place, problem=problem)) from problem
    return True


def _lines(place: Path) -> list[bytes]:
    try:
        content = place.read_bytes()
    except OSError as problem:
        raise Unavailable(said("锚点文件 {path} 不能读({problem})。", path=place, problem=problem.strerror)) from problem
    return content[: content.rfind(b"\n") + 1].splitlines()


def _told(line: bytes, key: bytes, before: bytes) -> dict[str, str | int] | None:
    """What a line tells, if it is ours and stands where it was written."""
    try:
        told: dict[str, str | int] = json.loads(line)
        mac = bytes.fromhex(str(told["mac"]))
    except (ValueError, KeyError, TypeError):
        return None
    return told if hmac.compare_digest(mac, _mac(told, key, before)) else None


def _mac(told: Mapping[str, object], key: bytes, before: bytes) -> bytes:
    rest = {name: value for name, value in told.items() if name != "mac"}
    return hmac.digest(key, before + json.dumps(rest, sort_keys=True, ensure_ascii=False).encode(), hashlib.sha256)
