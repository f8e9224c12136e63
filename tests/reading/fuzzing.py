"""`python fuzzing.py FOLDER KIND CASES SEED`: read CASES mutations of the seeds of a KIND, each in a process of its own.

One process a case that starts anew would take an hour for what is forked here in minutes from a process that has imported
all: behind the fork it is the reader as it is, wall and limits included, and before it the server's side as it is. Prints how
often which outcome came; anything but rows or a refusal in words ends it with what it was.
"""

import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
import zipfile
from collections import Counter
from pathlib import Path

NUMBERS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80", b"\xff", b"\0", b"\x01\0\0\0"]
WORDS = [
    b"NaN", b"1e999", b"-1e308", b"null", b"[[[[", b"]}", b'"type"', b'"Feature"', b"POLYGON ((", b"EMPTY", b",,,,", b'"', b"\n", b"\0", b"<", b"&x;",
    b"\xff\xfe", "㐂".encode("gb18030"), b"../", b"%s", b"99999999999999999999", b"=1+1", b"SRID=4326;", b"0103000000",
]
VALUES = [b"0", b"-1", b"1e400", b"-1e308", b"181", b"99999999999999999999", b"2147483648", b"0.000000001", b"40548122.06", b"120.5", b"30.25"]
NAMES = [b"Point", b"Polygon", b"MultiPolygon", b"GeometryCollection", b"null", b"true", b"POLYGON", b"CURVEPOLYGON", b"EMPTY", b"geometry", b"utf"]


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """A file with a few things changed, mostly near its beginning, where its headers are."""
    out = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not out:
            break
        at = int(len(out) * chance.random() ** chance.choice((1, 3)))
        end = min(len(out), at + int(64 * chance.random() ** 2) + 1)
        match chance.randrange(11):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                word = chance.choice(NUMBERS)
                out[at : at + len(word)] = word
            case 2:
                out[at:at] = chance.choice(WORDS)
            case 3:
                del out[at:end]
            case 4:
                out[at:at] = out[at:end] * chance.randrange(1, 20)
            case 5:
                out[at:end] = bytes(chance.randrange(256) for _ in range(end - at))
            case 6:
                del out[at:]
            case 7:
                out[at : at + 1] = chance.choice(WORDS)
            case _:
                # Another value where there was a number or a word, which leaves the grammar whole.
                tokens = list(re.finditer(rb"-?\d+(?:\.\d+)?|[A-Za-z]{3,}", out[at : at + 400])) or [None]
                if token := chance.choice(tokens):
                    value = chance.choice(VALUES) if token[0][:1] in b"-0123456789" else chance.choice(NAMES)
                    out[at + token.start() : at + token.end()] = value
    return bytes(out)


def inside(raw: bytes, chance: random.Random) -> bytes:
    """An archive of which one member is changed and packed again, so that what reads the member gets to see it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as to:
        victim = chance.choice(source.namelist())
        for name in source.namelist():
            content = source.read(name)
            to.writestr(name, mutated(content, chance) if name == victim else content)
    return out.getvalue()


class Forked:
    """What `subprocess.Popen` is to the server's side, by a fork of this process."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], stderr: io.BufferedWriter, **_: object) -> None:
        here, there = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                os.dup2(there, 1)
                os.dup2(stderr.fileno(), 2)
                os.close(here)
                os.chdir(cwd)
                os.environ.update(env)
                tempfile.tempdir = None
                sys.argv, sys.stdout = ["", command[-1]], os.fdopen(1, "w")
                main()
                sys.stdout.flush()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(there)
        self.stdout = os.fdopen(here, "rb")

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, 9)


def fuzzed(folder: Path, kind: str, cases: int, seed: int) -> Counter[str]:
    """Outcomes of so many mutations of the seeds of a kind, which lie in `folder/seeds`."""
    chance = random.Random(f"{kind} {seed}")
    seeds = {path.name: path.read_bytes() for path in sorted((folder / "seeds").iterdir()) if path.name.split(".", 1)[1] == kind}
    outcomes: Counter[str] = Counter()
    for _ in range(cases):
        name = chance.choice([*seeds])
        raw = seeds[name]
        change = inside if raw.startswith(b"PK") and chance.random() < 0.7 else mutated
        path = folder / "case" / name
        path.write_bytes(change(raw, chance))
        try:
            with files.opened(path, drivers=drivers, **chance.choice(({}, {}, {"crs": "EPSG:4326"}))) as (described, batches):
                rows = sum(len(batch.rows) for batch in batches)
            assert "CANARY" not in json.dumps(described.columns, default=str)
            outcomes["rows" if rows else "no rows"] += 1
        except GeoError as refusal:
            outcomes["ended" if "超出" in refusal.sentence else "crashed" if refusal.sentence.startswith("文件读不出来") and "reason" not in refusal.facts else "refused"] += 1
        except BaseException:
            (folder / "killer").write_bytes(path.read_bytes())
            raise
        path.unlink()
    return outcomes


if __name__ == "__main__":
    place, what, many, start = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    from geo import files
    from geo.errors import GeoError

    drivers = sorted(files._known())
    # What the readers import for themselves, once and for all cases; GDAL with the drivers of this kind.
    import pyarrow.parquet  # noqa: F401
    import pyproj.transformer  # noqa: F401
    import python_calamine  # noqa: F401

    from geo.reading import kinds, layers, stream  # noqa: F401
    from geo.reading.__main__ import main

    inner = {"shp.zip": ".shp", "gpkg": ".gpkg", "geojson": ".geojson", "kml": ".kml", "fgb": ".fgb", "dxf": ".dxf", "gml": ".gml"}.get(what)
    if inner:
        layers.gdal(layers.DRIVERS[inner], drivers)
    subprocess.Popen = Forked  # type: ignore[assignment,misc]
    files.SILENCE = 5.0
    tempfile.tempdir = str(place / "jobs")
    print(json.dumps(fuzzed(place, what, many, start)))
