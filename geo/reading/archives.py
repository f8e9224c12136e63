"""Archives and folders: what they claim to hold is looked at before anything is written, and written under names of ours."""

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from geo.files import Layer
from geo.reading.source import Refused, chosen

UNZIPPED, RATIO, ENTRIES = 2 << 30, 200, 2_000
MARKS = {b"7z\xbc\xaf\x27\x1c": "7zip", b"Rar!\x1a\x07\0": "rar", b"Rar!\x1a\x07\1\0": "rar5"}
PACKED = (".zip", ".rar", ".7z", ".kmz", ".tar", ".gz", ".tgz", ".bz2", ".xz")
MANY = "压缩包里有多个图层,请用 --layer 指明一个:{choices}"
OUTSIDE = "压缩包里有指向包外的路径或链接,不能解开。"
NESTED = "压缩包里还有压缩包,请解开一层再传。"
BROKEN = "压缩包已损坏或不是 ZIP。"
LARGE = "压缩包解开后过大。"
LOCKED = "压缩包有密码,请去掉密码再传。"
BELONGS = {".dbf": ".shp", ".mid": ".mif"}
# The tables of a file geodatabase, by their names, which are always of this form.
GEODATABASE = re.compile(r"[a-z0-9]{3,40}(?:\.[a-z0-9_]{1,20}){0,3}")


class Member(NamedTuple):
    """A file inside: where it says it lies, and what writes its bytes to a place of ours."""

    shown: PurePosixPath
    size: int | None
    copied: Callable[[Path], None]


class Found(NamedTuple):
    """A file that can be read, taken out: what people call it, and where it lies now."""

    shown: PurePosixPath
    path: Path


def unpacked(path: Path, job: Path, layer: str | None, readable: Sequence[str]) -> tuple[Found, list[Layer]]:
    """The one readable file of an archive or folder, or the one that is called `layer`; and all that could be read.

    `readable` are the endings that make a layer; what stands beside them under the same name comes along.
    """
    out = job / "unpacked"
    out.mkdir()
    seen: list[str] = []
    found: list[Found] = []
    with _members(path) as members:
        found = list(_taken(members, out, readable, seen))
    found = _layers(found)
    if not found:
        raise Refused("压缩包里没有可以读取的文件。", files=seen[:20])
    names = _told_apart([one.shown for one in found])
    layers = [Layer(name) for name in sorted(names)]
    if layer is None:
        best = min(map(_rank, found))
        likely = [one for one in found if _rank(one) == best]
        if len(likely) == 1:
            return likely[0], layers
    elif layer not in names and len(found) == 1:
        # The layer of a file inside, when there is but one.
        return found[0], layers
    return found[names.index(chosen(layers, layer, MANY).name)], layers


def _layers(found: Sequence[Found]) -> list[Found]:
    """What is a layer by itself: not the table that belongs to a shape, nor the half of a MapInfo layer."""
    stems = {(one.path.with_suffix(""), one.path.suffix) for one in found}

    def whole(one: Found) -> bool:
        return (one.path.with_suffix(""), BELONGS.get(one.path.suffix, "-")) not in stems

    return [one for one in found if whole(one)]


def _told_apart(shown: Sequence[PurePosixPath]) -> list[str]:
    """Names for people, no longer than they must be to differ."""
    for name in (lambda one: one.stem, lambda one: str(one.with_suffix("")), str):
        if len({*map(name, shown)}) == len(shown):
            break
    return [name(one) for one in shown]


def _rank(one: Found) -> int:
    """Beside a layer, a sheet is its description, and beside a sheet a text."""
    return {".txt": 2, ".xlsx": 1, ".xls": 1, ".csv": 1, ".et": 1, ".ods": 1, ".tsv": 1, ".xlsb": 1}.get(one.path.suffix, 0)


def promised(path: Path) -> zipfile.ZipFile:
    """A ZIP whose table of contents promises nothing excessive."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Refused(BROKEN) from error
    members = archive.infolist()
    if len(members) > ENTRIES:
        raise Refused("压缩包里有 {count} 个文件,太多了。", count=len(members))
    if any(member.flag_bits & 1 for member in members):
        raise Refused(LOCKED)
    # A DBF is mostly blanks, and honest ones shrink a hundredfold.
    swollen = any(
        member.file_size > 10_000_000 and member.file_size > RATIO * max(1, member.compress_size)
        for member in members if not member.filename.lower().endswith(".dbf")
    )
    if swollen or sum(member.file_size for member in members) > UNZIPPED:
        raise Refused(LARGE)
    return archive


def _taken(members: Iterator[Member], out: Path, readable: Sequence[str], seen: list[str]) -> Iterator[Found]:
    """Members under names of ours. Parts of one layer share a stem, whatever the case; ours is a number, whatever theirs was."""
    stems: dict[str, int] = {}
    for shown, _, copied in members:
        if ignored(shown):
            continue
        ending = shown.suffix.lower()
        base = next((parent for parent in shown.parents if parent.suffix.lower() == ".gdb"), None)
        if ending in PACKED:
            raise Refused(NESTED)
        seen.append(str(shown))
        if base is not None:
            folder = out / f"m{stems.setdefault(str(base.with_suffix('')).casefold() + '/', len(stems))}.gdb"
            fresh = not folder.exists()
            folder.mkdir(exist_ok=True)
            if GEODATABASE.fullmatch(shown.name.lower()) and shown.parent == base:
                copied(folder / shown.name.lower())
            if fresh:
                yield Found(base, folder)
            continue
        target = out / f"m{stems.setdefault(str(shown.with_suffix('')).casefold(), len(stems))}{ending}"
        if not target.suffix.isascii() or len(ending) > 16 or target.exists():
            continue
        copied(target)
        if ending in readable:
            yield Found(shown, target)


def ignored(shown: PurePosixPath) -> bool:
    """What computers leave in folders for themselves."""
    return "__MACOSX" in shown.parts or shown.name.startswith(("._", "~$")) or shown.name in (".DS_Store", "Thumbs.db", "desktop.ini")


@contextmanager
def _members(path: Path) -> Iterator[Iterator[Member]]:
    if path.is_dir():
        yield _loose(path)
        return
    with path.open("rb") as file:
        head = file.read(8)
    if kind := next((kind for mark, kind in MARKS.items() if head.startswith(mark)), None):
        with _foreign(path, kind) as members:
            yield members
        return
    with promised(path) as archive:
        yield _zipped(archive)


def _loose(folder: Path) -> Iterator[Member]:
    parts = sorted(folder.rglob("*"))
    if len(parts) > ENTRIES:
        raise Refused("压缩包里有 {count} 个文件,太多了。", count=len(parts))
    for part in parts:
        if part.is_symlink() or not (part.is_file() or part.is_dir()):
            raise Refused(OUTSIDE)
        if part.is_file():
            # Copied, not linked: GDAL mends a missing .shx beside the .shp.
            yield Member(PurePosixPath(part.relative_to(folder)), part.stat().st_size, partial(_copy, part))


def _copy(part: Path, to: Path) -> None:
    shutil.copyfile(part, to)


def _zipped(archive: zipfile.ZipFile) -> Iterator[Member]:
    named = [(member, _inside(_name(member))) for member in archive.infolist()]
    if any(stat.S_ISLNK(member.external_attr >> 16) for member, _ in named):
        raise Refused(OUTSIDE)
    for member, shown in named:
        if not member.is_dir() and shown.parts:
            yield Member(shown, member.file_size, partial(_inflated, archive, member))


def _inside(name: str) -> PurePosixPath:
    """The path of a member, which must stay inside."""
    shown = PurePosixPath(name.replace("\\", "/"))
    if shown.is_absolute() or ".." in shown.parts or (shown.parts and ":" in shown.parts[0]) or "\0" in name:
        raise Refused(OUTSIDE)
    return shown


def _inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path) -> None:
    try:
        with archive.open(member) as inside:
            _poured(inside, to, member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Refused(BROKEN) from error


def _poured(inside: IO[bytes], to: Path, declared: int) -> None:
    with to.open("wb") as out:
        left = declared
        while chunk := inside.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                raise Refused("压缩包里的文件比它声明的大。")
            out.write(chunk)


def _name(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 0x800:
        return member.filename
    raw = member.filename.encode("cp437", "surrogateescape")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return member.filename


@contextmanager
def _foreign(path: Path, kind: str) -> Iterator[Iterator[Member]]:
    """RAR and 7z, by libarchive. It reads them as a stream and its headers may lie: what comes out is counted as it comes."""
    libarchive = library()
    if libarchive is None:
        raise Refused("这台服务器没有装 libarchive,读不了 .rar 和 .7z,请另存为 ZIP 再传。")
    try:
        with libarchive.file_reader(os.fspath(path), kind, "none") as archive:
            yield _streamed(archive, path.stat().st_size)
    except libarchive.ArchiveError as error:
        said = str(error).lower()
        if "passphrase" in said or "encrypt" in said:
            raise Refused(LOCKED) from error
        raise Refused("压缩包读不出来,可能已损坏、分了卷或是不支持的版本,请另存为 ZIP 再传。", reason=str(error)[:200]) from error


def library() -> Any:
    """libarchive, or nothing where this machine has none. It is looked for by name: the usual way starts a program."""
    os.environ.setdefault("LIBARCHIVE", "libarchive.so.13")
    try:
        import libarchive
    except (ImportError, OSError, TypeError, AttributeError):
        return None
    return libarchive


def _streamed(archive: Any, packed: int) -> Iterator[Member]:
    left = [min(UNZIPPED, max(10_000_000, packed * RATIO))]
    for count, entry in enumerate(archive, 1):
        if count > ENTRIES:
            raise Refused("压缩包里有 {count} 个文件,太多了。", count=count)
        if entry.issym or entry.islnk:
            raise Refused(OUTSIDE)
        shown = _inside(_text(entry))
        if entry.isdir or not shown.parts:
            continue
        if not entry.isfile:
            raise Refused(OUTSIDE)
        yield Member(shown, entry.size, partial(_drained, entry, left))


def _text(entry: Any) -> str:
    name = entry.pathname
    if isinstance(name, bytes):
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            return name.decode("gb18030", "replace")
    return str(name)


def _drained(entry: Any, left: list[int], to: Path) -> None:
    with to.open("wb") as out:
        for block in entry.get_blocks():
            left[0] -= len(block)
            if left[0] < 0:
                raise Refused(LARGE)
            out.write(block)


