"""What came back, byte by byte: unpacked whatever it was packed in, and searched for whose values are in it."""

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.access.rows import Canary, Town

# Words, phones as they are, phones masked, long hexadecimals, longitudes and distances, numbers of our own, moments.
TOLD = re.compile(
    rb"Zq[0-9a-z]{4}|QQ[2-9A-Z]{8}|(?<!\d)139(?:\d{8}|\*{4}\d{4})(?!\d)|(?<![0-9a-f])[0-9a-f]{24,}|(?<![\d.])\d{1,5}\.\d{4,}|(?<![\d.,])4,?[12]\d\d,?\d{3}(?![\d.])"
    rb"|(?:2019|2099)-03-05T08:00:00\.\d{6}"
)
IDS = re.compile(rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass
class Answer:
    """One answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def bytes(self) -> bytes:
        """The whole of it as it is read in the end: headers, and the body unpacked."""
        head = "\n".join(f"{name}: {value}" for name, value in self.headers.items()).encode("utf-8", "replace")
        return head + b"\n\n" + b"\n".join(unpacked(self.body))

    @cached_property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(b"".join(unpacked(self.body)))

    @cached_property
    def text(self) -> str:
        """The body as text."""
        return b"".join(unpacked(self.body)).decode("utf-8", "replace")

    @cached_property
    def tile(self) -> "dict[str, list[Feature]]":
        """The layers of a vector tile."""
        return layers(b"".join(unpacked(self.body)))

    def canaries(self, town: Town) -> Iterator[tuple[str, Canary]]:
        """The values in it that are somebody's, each once."""
        for found in set(TOLD.findall(self.bytes)):
            said = found.decode().replace(",", "")
            for key in _keys(said):
                if canary := town.canaries.get(key):
                    yield said, canary

    def ids(self) -> set[str]:
        """The UUIDs in it."""
        return {found.decode() for found in set(IDS.findall(self.bytes))}


def _keys(said: str) -> Iterator[str]:
    yield said
    if re.fullmatch(r"[0-9a-f]{24,}", said):
        # Bytes are remembered without the first four, which say how they were made.
        yield said[8:24]
    elif re.fullmatch(r"\d+\.\d+", said):
        yield f"{float(said):.6f}"
        yield f"{float(said):.4f}"


def unpacked(content: bytes) -> Iterator[bytes]:
    """The bytes that are in some bytes: of a gzip its content, of a zip (and so of a sheet) that of every member."""
    if content[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                yield member.filename.encode()
                yield from unpacked(archive.read(member))
    elif content[:4] == b"PAR1":
        import pyarrow.parquet

        yield json.dumps(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist(), default=str).encode()
    else:
        yield content


@dataclass
class Feature:
    """One feature of a tile: its attributes, and its positions in steps of the tile."""

    attributes: dict[str, Any]
    positions: list[tuple[float, float]]  # in parts of the tile's side, from its north-west corner


def layers(content: bytes) -> dict[str, list[Feature]]:
    """The layers of a Mapbox Vector Tile (version 2), read from the bytes."""
    found: dict[str, list[Feature]] = {}
    for number, layer in _fields(content):
        assert number == 3
        name, extent, keys, values, drawn = "", 4096, [], [], []
        for part, value in _fields(layer):
            if part == 1:
                name = value.decode()
            elif part == 2:
                drawn.append(value)
            elif part == 3:
                keys.append(value.decode())
            elif part == 4:
                values.append(_value(value))
            elif part == 5:
                extent = value
        found.setdefault(name, []).extend(_feature(shape, keys, values, extent) for shape in drawn)
    return found


def _feature(content: bytes, keys: list[str], values: list[Any], extent: int) -> Feature:
    tags: list[int] = []
    commands: list[int] = []
    for part, value in _fields(content):
        if part == 2:
            tags = list(_varints(value))
        elif part == 4:
            commands = list(_varints(value))
    positions, x, y, at = [], 0, 0, 0
    while at < len(commands):
        command, count = commands[at] & 7, commands[at] >> 3
        at += 1
        for _ in range(count if command in (1, 2) else 0):
            x, y = x + _signed(commands[at]), y + _signed(commands[at + 1])
            positions.append((x / extent, y / extent))
            at += 2
    return Feature({keys[k]: values[v] for k, v in zip(tags[::2], tags[1::2], strict=True)}, positions)


def _value(content: bytes) -> Any:
    for part, value in _fields(content):
        if part == 1:
            return value.decode()
        if part == 2:
            return struct.unpack("<f", value)[0]
        if part == 3:
            return struct.unpack("<d", value)[0]
        return _signed(value) if part == 6 else bool(value) if part == 7 else value
    return None


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _varints(content: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in content:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = content[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(content):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = varint() if kind == 2 else 8 if kind == 1 else 4
        yield key >> 3, content[at : at + size]
        at += size
