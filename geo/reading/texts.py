"""Delimited text, also pasted from a sheet, and lists that a chat group made by adding to each other's lines."""

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from geo.files import PROBLEM, ROW
from geo.reading import grids
from geo.reading.archives import UNZIPPED
from geo.reading.source import CUT, DISGUISED, EMPTY, HEADED, ROWS, UNREADABLE, Refused, Source
from geo.reading.values import plain

ENCODINGS = ("utf-8", "gb18030", "big5", "utf-16")
RECORDED = 64 << 20  # bytes of JSON that is no GeoJSON: all of it is held
LISTED = 4 << 20  # bytes: no chat makes a longer list
LOOSE = "找不到表格:各行的格数不一样。请存成每行格数相同的 CSV 或 XLSX 再传。"
# "1. 张三 3-2-501 2人", also with other marks behind the number, and without any.
ENTRY = re.compile(r"\s*(?:#?接龙\s*)?(\d{1,4})\s*[.、,:)\uff0e\uff0c\uff1a\uff09]\s*(\S.*?)\s*|\s*(\d{1,4})\s+(\S.*?)\s*")
ADDRESS = re.compile(
    r"\d{1,4}(?:[-#\u2014\uff0d]\d{1,4}){1,3}(?:室)?|.*\d+\s*(?:号楼|栋|幢|座|单元|号).*|.*\d{3,4}室"
)
PHONE, PERSONS = re.compile(r"1\d{10}"), re.compile(r"(\d{1,3})\s*[人口个位]")
PERSON = re.compile(r"[\u4e00-\u9fff·]{2,4}")


def delimited(path: Path, order: Mapping[str, Any]) -> Source:
    """A delimited text, read block by block: rows of another length than the heading's are kept apart, not dropped."""
    wanted = order.get("encoding")
    used = wanted or text_encoding(path)
    count = _counted(path, used.removesuffix("-sig"))
    with _text(path, used) as text:
        head = text.read(1 << 16)
    if not head.strip():
        raise Refused(EMPTY)
    if path.suffix.lower() == ".txt" and path.stat().st_size <= LISTED and (listed := _list(path, used)):
        return listed
    # A Mac of long ago ended lines with a carriage return.
    head = io.StringIO(head, newline=None).read()
    first_line = head.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max("\t,;|", key=lambda mark: (first_line.count(mark), head.count(mark)))
    # A broken last record must not decide where the header is.
    try:
        rows = [row for row, _ in zip(csv.reader(io.StringIO(head), delimiter=delimiter), range(grids.LOOKED), strict=False)]
    except csv.Error as error:
        raise Refused(LOOSE, reason=str(error)) from error
    found = grids.heading(rows, (), order.get("header"))
    source = Source(iter(()), None)
    titles = dict(enumerate(grids.named([title.strip() for title in found.titles], source)))
    names = [f"c{number}" for number in titles]
    bent: list[tuple[int, str]] = []

    def kept_apart(row: Any) -> str:
        bent.append((row.number, row.text))
        return "skip"

    try:
        reader = pyarrow.csv.open_csv(
            _bytes(path) if used.startswith("utf-8") else _Recoded(_bytes(path), used),
            # Without threads, because only so a row that is kept apart has its number.
            pyarrow.csv.ReadOptions(
                block_size=4 << 20, skip_rows=found.first, column_names=names, skip_rows_after_names=found.last - found.first + 1,
                use_threads=False,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=count.quoted, invalid_row_handler=kept_apart, ignore_empty_lines=False
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        raise Refused(HEADED if count.lines <= found.last + 1 else CUT, reason=str(error)[:300]) from error
    if path.suffix.lower() == ".txt" and _prose(head, found.titles):
        raise Refused(LOOSE)
    source.count = max(0, count.lines - found.last - 1)
    source.names = {name: titles[number] for number, name in enumerate(names)}
    _encoded(source, used, wanted, head)
    grids.headed(found, source)
    parts = _straightened(reader, bent, names, found.last + 1, delimiter)
    return _amended(source, parts, order)


def _prose(head: str, titles: Sequence[str]) -> bool:
    """Whether a text is a letter rather than a table: titles do not end in a full stop."""
    return "。" in "".join(titles) or (len(titles) == 1 and head.count("。") * 4 >= head.count("\n"))


def _amended(source: Source, parts: Iterator[pa.RecordBatch], order: Mapping[str, Any]) -> Source:
    """The source with its numbers of houses put back, its sums left out, judged by its first rows."""
    names = [*source.names]
    # Up to the first batch of rows and what was kept apart of the same block.
    ahead = list(itertools.islice(parts, 2))
    if ahead:
        bent = sum(len(part) - part.column(PROBLEM).null_count for part in ahead)
        if bent * 2 > sum(map(len, ahead)):
            raise Refused(LOOSE)
        look = ahead[0].slice(0, ROWS)
        columns = [look.column(name).to_pylist() for name in names]
        sums = sum(map(grids.total, zip(*columns, strict=True))) if columns else 0
        profile = {number: grids.Column(source.names[name]) for number, name in enumerate(names)}
        for number, cells in enumerate(columns):
            for cell in cells:
                profile[number].look(cell)
        houses, lost = grids.amended(profile, source, order.get("dates"), order.get("numbers"))
        grids.totalled(sums, source)
        for number in sorted(lost):
            del source.names[names[number]]
        source.parts = (_restored(part, names, [names[number] for number in houses]) for part in itertools.chain(ahead, parts))
    return source


def _restored(part: pa.RecordBatch, names: Sequence[str], houses: Sequence[str]) -> pa.RecordBatch:
    for name in houses:
        at = part.schema.get_field_index(name)
        cells = [grids.housed(cell) or cell for cell in part.column(at).to_pylist()]
        part = part.set_column(at, name, pa.array(cells, pa.string()))
    # Sums say so in the first cell of theirs that holds anything, which is one of the first few.
    suspect = np.zeros(part.num_rows, bool)
    for name in names[:4]:
        marked = pc.match_substring_regex(part.column(name), r"^\s*(本页|本表|累计)?\s*[合总小共]\s*计")
        suspect |= pc.fill_null(marked, False).to_numpy(zero_copy_only=False)
    for at in np.flatnonzero(suspect).tolist():
        suspect[at] = grids.total([part.column(name)[at].as_py() for name in names])
    return part.filter(pa.array(~suspect)) if suspect.any() else part


def _encoded(source: Source, used: str, wanted: str | None, head: str) -> None:
    """Tell the encoding, with what it makes of the first words that are not ASCII."""
    shown = list(dict.fromkeys(re.findall(r"[^\x00-\x7f]{2,12}", head)))[:6]
    facts: dict[str, object] = {"encoding": used.upper(), "shown": shown}
    if wanted:
        source.tell("encoding", used, "文字编码 {encoding},由您指定", facts, ENCODINGS, "encoding", doubtful=False)
    elif used.startswith(("utf-8", "utf-16")):
        source.tell("encoding", used.removesuffix("-sig"), "文字编码 {encoding}:全文读通", facts, ENCODINGS, "encoding", doubtful=False)
    else:
        sentence = "文字编码 {encoding}:按 UTF-8 读不通,按它读出来的字如“{shown}”" if shown else "文字编码 {encoding}:按 UTF-8 读不通"
        source.tell("encoding", used, sentence, facts, ENCODINGS, "encoding")


def _list(path: Path, encoding: str) -> Source | None:
    """A list of a chat group as a table of addresses, persons and the rest; nothing where the text is none."""
    with _text(path, encoding) as text:
        lines = [line.strip("\r\n") for line in text]
    told = [line for line in lines if line.strip()]
    entries = [(number, found) for number, line in enumerate(lines, 1) if len(line) < 500 and "\t" not in line and (found := ENTRY.fullmatch(line))]
    numbers = [int(found[1] or found[3]) for _, found in entries]
    # Numbers that count up; whoever deleted an entry left a hole.
    rising = sum(b > a for a, b in itertools.pairwise(numbers))
    if len(entries) < 2 or len(entries) * 2 < len(told) or rising < len(numbers) - 1 - len(numbers) // 10:
        return None
    if sum(bool(found[1]) for _, found in entries) * 2 < len(entries) and not any("接龙" in line for line in told):
        return None
    rows = [_entry(found[2] or found[4]) for _, found in entries]
    titles = [title for title in ("地址", "姓名", "电话", "人数", "备注") if any(title in row for row in rows)]
    columns = [pa.array([row.get(title) for row in rows], pa.string()) for title in titles]
    batch = pa.record_batch([*columns, pa.array(numbers, pa.int64())], names=[*titles, ROW])
    source = Source(iter([batch]), len(rows), {title: title for title in titles})
    above = [line.strip() for line in lines[: entries[0][0] - 1] if line.strip()]
    facts = {"count": len(rows), "others": len(told) - len(entries), "above": above[:5]}
    source.tell("header", "接龙", "这是接龙:{count} 条,按地址、姓名、电话、人数拆成了列;另有 {others} 行不是接龙,没有收", facts)
    if len({*numbers}) < len(numbers):
        raise Refused("接龙里有重复的序号,请核对后再传。", numbers=sorted(n for n in {*numbers} if numbers.count(n) > 1)[:20])
    return source


def records(path: Path, order: Mapping[str, Any]) -> Source:
    """A JSON array of flat objects, as interfaces answer, or one object a line without any shape."""
    if path.stat().st_size > RECORDED:
        raise Refused("JSON 表格超过 {megabytes} MB,请另存为 CSV 再传。", megabytes=RECORDED >> 20)
    with _text(path, order.get("encoding") or text_encoding(path)) as text:
        try:
            told = json.load(text)
        except (ValueError, RecursionError) as error:
            raise Refused(UNREADABLE, reason=str(error)[:200]) from error
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    if not rows or len(rows) < len(told):
        raise Refused(DISGUISED)
    titles = list(dict.fromkeys(str(title) for row in rows for title in row))[:500]
    source = Source(iter(()), len(rows), {title: title for title in titles})

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            yield pa.record_batch([pa.array([_cell(row.get(title)) for row in part], pa.string()) for title in titles], names=titles)

    source.parts = batches()
    return source


def _cell(value: object) -> str | None:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else plain(value)


def _entry(text: str) -> dict[str, str]:
    """The parts of one line by what they look like; what looks like nothing is a remark."""
    out: dict[str, str] = {}
    rest = []
    for part in filter(None, re.split(r"[\s,、;/|+\uff0c\uff1b]+", text)):
        kind = next(
            (title for title, looks in (("电话", PHONE), ("人数", PERSONS), ("地址", ADDRESS)) if title not in out and looks.fullmatch(part)),
            "姓名" if "姓名" not in out and PERSON.fullmatch(part) else "",
        )
        if kind == "人数":
            part = part[: len(part) - 1].strip()
        if kind:
            out[kind] = part
        else:
            rest.append(part)
    if rest:
        out["备注"] = " ".join(rest)
    return out


def _straightened(
    reader: Any, bent: list[tuple[int, str]], names: Sequence[str], above: int, delimiter: str
) -> Iterator[pa.RecordBatch]:
    """The rows with their numbers in the file, counted from below the header; bent ones with what is wrong with them."""
    number = 1
    while True:
        try:
            block = reader.read_next_batch()
        except StopIteration:
            break
        except (pa.ArrowInvalid, UnicodeError, OSError, EOFError) as error:
            raise Refused(CUT, reason=str(error)[:300]) from error
        taken, bent[:] = list(bent), []
        rows = np.arange(number, number + block.num_rows + len(taken))
        number += len(rows)
        if taken:
            rows = np.setdiff1d(rows, [at - above for at, _ in taken])[: block.num_rows]
        block = block.append_column(ROW, pa.array(rows)).append_column(PROBLEM, pa.nulls(block.num_rows, pa.string()))
        filled = ~np.logical_and.reduce([column.is_null().to_numpy(False) for column in block.columns[: len(names)]])
        yield from pa.table(block.filter(pa.array(filled)) if not filled.all() else block).to_batches(ROWS)
        if taken:
            yield _bent(taken, names, above, delimiter, block.schema)


def _bent(
    taken: Sequence[tuple[int, str]], names: Sequence[str], above: int, delimiter: str, schema: pa.Schema
) -> pa.RecordBatch:
    cells = [next(csv.reader([text.replace("\0", "")], delimiter=delimiter), []) for _, text in taken]
    columns = [[row[at] if at < len(row) else None for row in cells] for at in range(len(names))]
    why = [f"这一行有 {len(row)} 格,表头有 {len(names)} 格" for row in cells]
    return pa.record_batch([*columns, [at - above for at, _ in taken], why], schema=schema)


class _Recoded(io.RawIOBase):
    """Text of another encoding, as UTF-8."""

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.raw, self.left = raw, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self.left) < size and (chunk := self.raw.read(1 << 20)):
            self.left += self.decoder.decode(chunk).encode()
        told, self.left = self.left[:size], self.left[size:]
        return told


def _bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _text(path: Path, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(cast(Any, _bytes(path)), "utf-8-sig" if encoding == "utf-8" else encoding, "replace", newline="")


class _Count(NamedTuple):
    lines: int
    quoted: bool


@cache
def _counted(path: Path, encoding: str) -> _Count:
    """How many lines there are, when all of the file can be read in this encoding; refuses when not."""
    lines, returns, quoted, size, last = 0, 0, False, 0, b"\n"
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        with _bytes(path) as raw:
            while chunk := raw.read(1 << 20):
                size += len(chunk)
                if size > UNZIPPED:
                    raise Refused("压缩包解开后过大。")
                decoder.decode(chunk)
                returns += chunk.count(b"\r")
                lines, quoted, last = lines + chunk.count(b"\n"), quoted or b'"' in chunk, chunk
            decoder.decode(b"", final=True)
    except (UnicodeError, LookupError) as error:
        raise Refused("按 {encoding} 读不通,请用 --encoding 指明编码。", encoding=encoding, option="--encoding") from error
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(CUT, reason=str(error)[:300]) from error
    return _Count((lines or returns) + (last[-1:] not in b"\r\n"), quoted)


def text_encoding(path: Path) -> str:
    """UTF-8 where all of it is, else what its mark says, else GB18030, which holds GBK and GB 2312."""
    try:
        with _bytes(path) as raw:
            mark = raw.read(4)
        if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        _counted(path, "utf-8")
        return "utf-8-sig" if mark.startswith(codecs.BOM_UTF8) else "utf-8"
    except OSError as error:
        raise Refused(CUT, reason=str(error)[:300]) from error
    except Refused as refusal:
        if not isinstance(refusal.__cause__, UnicodeError):
            raise
        return "gb18030"


