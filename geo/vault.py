"""Files as they were sent, kept under a key of their own until they are no longer needed.

A file is sealed as it comes in, a piece at a time, so it is never on the disk as it was. Its key is kept in the database, sealed
like a phone number (`geo.keys`): without that key the file is noise, and forgetting it destroys the file wherever it was copied.
Each piece is bound to its place and to being the last or not (AES-256-GCM; the nonce is the piece's number, as the key is of this
file alone), so that a piece changed, moved or cut off is noticed.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from geo.errors import Unavailable

PIECE = 1 << 20
TAG = 16


def new_key() -> bytes:
    """The key of one file."""
    return AESGCM.generate_key(256)


class Sealing:
    """A file being sealed: `write` what comes, then leave. What was begun and not ended is taken away."""

    def __init__(self, path: Path) -> None:
        self.path, self.key = path, new_key()
        self.size, self.digest = 0, hashlib.sha256()
        self._cipher, self._held, self._number = AESGCM(self.key), bytearray(), 0
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._out: BinaryIO = path.open("xb")

    def write(self, part: bytes) -> int:
        """The next bytes; how many they are, as files say."""
        self.size += len(part)
        self.digest.update(part)
        self._held += part
        # The last piece is told from the others, so one is always held back.
        while len(self._held) > PIECE:
            self._sealed(bytes(self._held[:PIECE]), last=False)
            del self._held[:PIECE]
        return len(part)

    def flush(self) -> None:
        """Nothing: a piece is sealed when it is full."""

    def _sealed(self, piece: bytes, last: bool) -> None:
        self._out.write(self._cipher.encrypt(self._number.to_bytes(12), piece, b"last" if last else b""))
        self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._sealed(bytes(self._held), last=True)
        self._out.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)


def continued(path: Path, key: bytes, at: int, part: bytes, size: int) -> None:
    """Seal `part` of a file of `size` bytes that comes bit by bit: `at` is a whole number of pieces, and so is the part, unless it is
    the last. Written twice, it is the same file."""
    cipher = AESGCM(key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("r+b" if path.exists() else "xb") as out:
        for start in range(0, len(part), PIECE):
            number, piece = (at + start) // PIECE, part[start : start + PIECE]
            out.seek(number * (PIECE + TAG))
            out.write(cipher.encrypt(number.to_bytes(12), piece, b"last" if at + start + len(piece) == size else b""))


def opened(path: Path, key: bytes) -> Iterator[bytes]:
    """The pieces of a sealed file. Raises `Unavailable` when it is not there or not as it was sealed."""
    cipher, number, left = AESGCM(key), 0, 0
    try:
        left = path.stat().st_size
        with path.open("rb") as sealed:
            while left:
                piece = sealed.read(min(left, PIECE + TAG))
                left -= len(piece)
                yield cipher.decrypt(number.to_bytes(12), piece, b"" if left else b"last")
                number += 1
    except (OSError, InvalidTag) as problem:
        raise Unavailable("送来的文件读不出来了,请重新上传。") from problem


def restored(path: Path, key: bytes, target: Path) -> None:
    """The file as it was sent, at `target`. Raises as `opened`."""
    with target.open("xb") as out:
        for piece in opened(path, key):
            out.write(piece)
