"""The list of what was destroyed, kept outside the database: a restored backup does not know what it brings back.

One JSON object a line in `<home>/destroyed.jsonl`, appended and never rewritten: ids, no content. Whoever backs up the
database backs this file up too, apart from it and more often.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geo.errors import Unavailable
from geo.terminal import said


def path(home: Path) -> Path:
    """Where the list is."""
    return home / "destroyed.jsonl"


def append(home: Path, entry: Mapping[str, object]) -> None:
    """Add an entry, on the disk when this returns. Raises `Unavailable` when it cannot be: then nothing may be destroyed."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        new = not path(home).exists()
        with os.fdopen(os.open(path(home), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as kept:
            fcntl.flock(kept, fcntl.LOCK_EX)
            size = os.fstat(kept.fileno()).st_size
            # What a power cut left half-written stays a line of its own, which nobody can read.
            if size and os.pread(kept.fileno(), 1, size - 1) != b"\n":
                kept.write(b"\n")
            kept.write(json.dumps(entry, ensure_ascii=False, default=str).encode() + b"\n")
            kept.flush()
            os.fsync(kept.fileno())
        if new:
            folder = os.open(home, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except OSError as problem:
        sentence = "销毁清单 {path} 不能写({problem}):没有销毁任何内容。请检查磁盘和权限。"
        raise Unavailable(said(sentence, path=path(home), problem=problem.strerror)) from problem


def entries(home: Path) -> Iterator[dict[str, Any]]:
    """Every entry, oldest first. A line that was not finished is passed over: what it was for did not happen."""
    if not path(home).exists():
        return
    with path(home).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry
