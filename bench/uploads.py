"""What comes of files that others have sent or broken on purpose: each read by the real process, counted by kind and outcome.

The corpora are not ours to publish: they are looked for in `shared/data` beside or above the checkout, and only counts and
our own words leave them. Writes `docs/reference/uploads.md`.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo import files
from geo.errors import GeoError
from geo.language import translated

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "uploads.md"
# The packages that were made of real grids, each with one fault of the trade; in the order of their names.
FAULTS = (
    "GBK text, neither .cpg nor language byte", "names in GBK inside the archive", ".cpg says 936", ".cpg says UTF-8 over GBK text",
    "UTF-8 with .cpg", "no .prj, degrees", "no .shx", "no .dbf", "CGCS2000 Gauss-Krüger (EPSG:4549)",
    ".prj says WGS 84 over metres without a zone", "nested folders and __MACOSX", "two layers", "truncated .shp",
    "endings in capitals", "latitude before longitude", "a bow-tie, a null and a duplicate shape", "a code twice and one empty",
    "a path that leads out of the archive", "GeoPackage", "KML", "GeoParquet", "FlatGeobuf", "WKT in a CSV in GBK",
    "XLSX of points with Chinese headings", "UTF-8 titles cut inside a character",
)


@dataclass(frozen=True)
class Outcome:
    """What came of one file: how many rows and shapes, or the sentence of its refusal; how long it took in seconds."""

    path: Path
    rows: int = 0
    drawn: int = 0
    problems: int = 0
    repaired: int = 0
    doubtful: tuple[str, ...] = ()
    refusal: str = ""
    seconds: float = 0.0


def corpora() -> Path | None:
    """`shared/data`, where it is beside or above the checkout."""
    return next((p / "shared" / "data" for p in ROOT.parents if (p / "shared" / "data" / "fixtures").exists()), None)


def members(data: Path) -> list[Path]:
    """Every file of the corpora."""
    return sorted(p for name in ("derived_cn_uploads", "fixtures") for p in (data / name).rglob("*") if p.is_file())


def outcome(path: Path, drivers: Sequence[str], **how: object) -> Outcome:
    """Read a file to its end. Whatever is not a refusal in words of ours comes out."""
    begun = time.monotonic()
    rows = drawn = problems = repaired = 0
    try:
        with files.opened(path, drivers=drivers, **how) as (described, batches):
            for batch in batches:
                rows, problems, repaired = rows + len(batch.rows), problems + len(batch.problems), repaired + len(batch.repaired)
                if batch.lon is not None:
                    drawn += int(np.isfinite(batch.lon).sum())
                elif batch.geometry is not None:
                    drawn += sum(shape is not None for shape in batch.geometry)
            doubtful = tuple(one.because for one in described.evidence if one.doubtful)
    except GeoError as error:
        return Outcome(path, refusal=error.sentence, seconds=time.monotonic() - begun)
    return Outcome(path, rows, drawn, problems, repaired, doubtful, seconds=time.monotonic() - begun)


def run() -> None:
    """Read all, and write the page."""
    data = corpora()
    if data is None:
        print("no corpora beside this checkout")
        return
    drivers = sorted(files._known())
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda path: outcome(path, drivers), members(data)))
    PAGE.write_text("\n".join(_page(outcomes)) + "\n", "utf-8")
    print(f"{len(outcomes)} files, {sum(not o.refusal for o in outcomes)} read, slowest {max(o.seconds for o in outcomes):.1f} s → {PAGE}")


def _page(outcomes: Sequence[Outcome]) -> Iterator[str]:
    sent = [o for o in outcomes if o.path.parent.name == "derived_cn_uploads" and o.path.suffix != ".txt"]
    others = [o for o in outcomes if o not in sent]
    refused = [o for o in others if o.refusal]
    yield from (
        "<!-- Written by `python -m bench uploads`, which reads the corpora anew. -->", "", "# What comes of uploads", "",
        f"{len(outcomes)} files that others have sent or broken on purpose, each read by the real reading process: "
        f"{sum(not o.refusal for o in outcomes)} were read, {sum(bool(o.refusal) for o in outcomes)} refused with a sentence, none ended "
        f"the server's process. The slowest took {max(o.seconds for o in outcomes):.0f} s. The corpora are the tests of Fiona, geojsonhint,",
        "GeoPandas, GeoParquet, mapshaper, pyogrio, pyshp, QGIS, spData and toGeoJSON; none of their data is here.", "",
        "## Packages as bureaus send them", "", "Made of real grids, each with one fault of the trade.", "",
        "| fault | outcome | told |", "|---|---|---|",
    )
    for fault, one in zip(FAULTS, sent, strict=True):
        yield f"| {fault} | {_told(one)} | {'; '.join(_english(s) for s in one.doubtful)} |"
    yield from ("", "## By ending", "", "| ending | files | read | with rows in the work list | with shapes mended | refused |", "|---|--:|--:|--:|--:|--:|")
    for ending, some in _by(others, lambda o: o.path.suffix.lower() or "none").items():
        read = [o for o in some if not o.refusal]
        problems, mended = sum(o.problems > 0 for o in read), sum(o.repaired > 0 for o in read)
        yield f"| `{ending}` | {len(some)} | {len(read)} | {problems or ''} | {mended or ''} | {len(some) - len(read) or ''} |"
    yield from ("", "## Why files were refused", "", "| files | sentence |", "|--:|---|")
    for sentence, count in Counter(o.refusal for o in refused).most_common():
        yield f"| {count} | {_english(sentence)} |"
    yield from ("", "## What was told of files that were read", "", "| files | evidence |", "|--:|---|")
    for sentence, count in Counter(s for o in others for s in {*o.doubtful}).most_common():
        yield f"| {count} | {_english(sentence)} |"


def _told(one: Outcome) -> str:
    if one.refusal:
        return f"refused: {_english(one.refusal)}"
    return f"{one.rows} rows, {one.drawn} shapes" + (f", {one.repaired} mended" if one.repaired else "")


def _english(sentence: str) -> str:
    return re.sub(r"\{\w+\}", "…", translated(sentence, "en")).replace("|", "\\|").replace("<", "&lt;")


def _by(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> Mapping[str, list[Outcome]]:
    out: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        out[key(one)].append(one)
    return dict(sorted(out.items(), key=lambda pair: -len(pair[1])))
