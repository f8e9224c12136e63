"""Shapefiles: parts gathered and checked, and text decoded by what it turns out to be written in."""

import contextlib
import re
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from geo.reading import layers
from geo.reading.source import CUT, Refused, Source

SIDECARS = (".shp", ".dbf", ".shx", ".prj", ".cpg")
SAID = {"936": "gb18030", "cp936": "gb18030", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030", "utf-8": "utf-8",
        "utf8": "utf-8", "65001": "utf-8", "ansi 936": "gb18030", "big5": "big5", "950": "big5", "cp950": "big5", "iso-8859-1": "utf-8"}
ENCODINGS = ("utf-8", "gb18030", "big5")


class Taken(NamedTuple):
    """An encoding, why it was taken (a sentence and its facts), and whether that was a conclusion."""

    name: str
    because: str
    facts: Mapping[str, object]
    doubtful: bool


def shapefile(path: Path, job: Path, order: Mapping[str, Any]) -> Source:
    """A shapefile, or a DBF alone, with whatever of its parts lies beside it."""
    path = _gathered(path, job)
    indexed = path.suffix == ".dbf" or path.with_suffix(".shx").exists()
    source = layers.opened(path, order, "ISO-8859-1")
    source.layers = []
    source.outward = True
    dbf = path.with_suffix(".dbf")
    if not indexed:
        source.tell("geometry", "shx", "没有 .shx,已由 .shp 重建")
    if not dbf.exists():
        source.tell("names", "", "没有 .dbf,只有图形没有属性")
        source.names = {}
        return source
    taken = _encoding(path, dbf, order.get("encoding"))

    def decode(column: pa.Array) -> pa.Array:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return column
        # Codes and numbers, most of what there is, are the same in every encoding.
        if pc.all(pc.string_is_ascii(column), skip_nulls=True).as_py() is not False:
            return pc.ascii_trim(column, characters="\0 ")
        encoded = column.dictionary_encode()
        texts = [None if t is None else _redecoded(t, taken.name) for t in encoded.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(encoded.indices)

    source.decode = decode
    source.names = {name: _redecoded(shown, taken.name) for name, shown in source.names.items()}
    source.tell("encoding", taken.name, taken.because, taken.facts, ENCODINGS, "encoding", taken.doubtful)
    cut = [_redecoded(name, taken.name) for name in source.names if not _whole(name, taken.name)]
    if cut:
        source.tell("names", "、".join(cut), "列名在 10 个字节处被截断,断在字中间的字已去掉:{columns}", {"columns": cut})
    return source


def _gathered(path: Path, job: Path) -> Path:
    """The parts side by side under ASCII names, whatever the case of their endings."""
    out = job / "layer"
    out.mkdir()
    for part in path.parent.iterdir():
        ending = part.suffix.lower()
        if part.stem.casefold() == path.stem.casefold() and ending in SIDECARS and part.is_file() and not (out / f"layer{ending}").exists():
            # In a folder of its own: GDAL mends a missing .shx beside the .shp. What was unpacked is ours already.
            target = out / f"layer{ending}"
            if not (part.is_relative_to(job) and _linked(part, target)):
                shutil.copyfile(part, target)
    _complete(out)
    main = out / f"layer{path.suffix.lower()}"
    if main.suffix == ".shp":
        with main.open("rb") as file:
            if file.read(4) != b"\0\0\x27\x0a":
                raise Refused("这不是 Shapefile,或文件已损坏。")
        _indexed(main)
    return main


def _linked(part: Path, target: Path) -> bool:
    with contextlib.suppress(OSError):
        target.hardlink_to(part)
        return True
    return False


def _indexed(shp: Path) -> None:
    """Leave out an index that is none: GDAL then makes one from the shapes."""
    shx = shp.with_suffix(".shx")
    if shx.exists():
        with shx.open("rb") as file:
            head = file.read(100)
        if len(head) < 100 or head[:4] != b"\0\0\x27\x0a":
            shx.unlink()


def _complete(out: Path) -> None:
    """Refuse parts that are shorter than their headers say: an upload or a copy that broke off."""
    for ending, stated in ((".shp", lambda head: 2 * struct.unpack(">i", head[24:28])[0]), (".dbf", _dbf_length)):
        part = out / f"layer{ending}"
        if not part.exists():
            continue
        with part.open("rb") as file:
            head = file.read(32)
        # The last byte of a DBF, an end mark, is often not written.
        if len(head) == 32 and part.stat().st_size < stated(head) - 1:
            raise Refused(CUT, reason=f"{ending}: {part.stat().st_size} < {stated(head)}")


def _dbf_length(head: bytes) -> int:
    records, header, record = struct.unpack("<IHH", head[4:12])
    return int(header + records * record)


def _redecoded(text: str, encoding: str) -> str:
    # GDAL was told ISO-8859-1, so each character is one byte of the file. A name cut inside a character loses only that.
    return text.encode("latin-1", "ignore").decode(encoding, "ignore").strip("\0 ")


def _whole(text: str, encoding: str) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        text.encode("latin-1", "ignore").decode(encoding)
        return True
    return False


def _decodes(text: bytes, encoding: str) -> bool:
    """Whether bytes are text, if need be without a last character that the width of the column has cut."""
    for cut in range(min(4, len(text))):
        try:
            text[: len(text) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
        return True
    return False


def _broken(texts: Sequence[bytes], encoding: str) -> int:
    """How many are no text. No character of these encodings has a line feed in it, so all are text when they are together."""
    with contextlib.suppress(UnicodeDecodeError):
        b"\n".join(texts).decode(encoding)
        return 0
    return sum(not _decodes(text, encoding) for text in texts)


def _encoding(path: Path, dbf: Path, wanted: str | None) -> Taken:
    with dbf.open("rb") as file:
        raw = file.read(4 << 20).ljust(32, b"\0")
    if wanted:
        try:
            "".encode(wanted)
        except LookupError as error:
            raise Refused("不认识编码 {encoding}。", encoding=wanted, option="--encoding") from error
        return Taken(wanted, "文字编码 {encoding},由您指定", {"encoding": wanted.upper()}, doubtful=False)
    cpg = path.with_suffix(".cpg")
    said = SAID.get(cpg.read_bytes()[:200].decode("latin-1").strip().lower()[:40]) if cpg.exists() else None
    length = struct.unpack("<H", raw[8:10])[0]
    names = [raw[at : at + 11].split(b"\0")[0] for at in range(32, length - 1, 32)]
    texts = [part for part in (*names, *re.split(rb"[\0 ]+", raw[length:])) if not part.isascii()][:5000]
    broken = {encoding: _broken(texts, encoding) for encoding in ENCODINGS}
    facts: dict[str, object] = {
        "count": len(texts), "shown": _shown(texts, "utf-8"),
        "readings": {encoding: {"broken": count, "shown": _shown(texts, encoding)} for encoding, count in broken.items()},
    }

    def taken(encoding: str, because: str, doubtful: bool = True, **more: object) -> Taken:
        told = {**facts, "encoding": encoding.upper(), "shown": _shown(texts, encoding), **more}
        return Taken(encoding, because, told, doubtful)

    if said and broken[said] * 20 <= len(texts):
        return taken(said, "文字编码 {encoding}:.cpg 说明", doubtful=False)
    if not texts:
        return taken(said or "utf-8", "文字编码 {encoding}:内容全是 ASCII", doubtful=False)
    if not said and raw[29] in (0x4D, 0x7A) and broken["gb18030"] * 20 <= len(texts):
        return taken("gb18030", "文字编码 {encoding}:语言标志字节为 936", doubtful=False)
    if broken["utf-8"] * 20 <= len(texts):
        return taken("utf-8", "文字编码 {encoding}:按 UTF-8 试读 {count} 处无误", doubtful=said is not None)
    because = "文字编码 {encoding}:.cpg 说明与内容不符,按 GB18030 试读,{right}/{count} 处无误,如“{shown}”"
    if said is None:
        because = "文字编码 {encoding}:没有 .cpg,按 GB18030 试读,{right}/{count} 处无误,如“{shown}”"
    return taken("gb18030", because, right=len(texts) - broken["gb18030"])


def _shown(texts: Sequence[bytes], encoding: str) -> list[str]:
    return list(dict.fromkeys(text.decode(encoding, "replace")[:20] for text in texts[:40]))[:5]
