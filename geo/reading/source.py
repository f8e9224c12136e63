"""A table on its way, whatever it was read from, and why it was taken as it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from geo.files import Evidence, Layer
from geo.reading.refusal import Refused as Refused

if TYPE_CHECKING:
    # Each process reads one file: what only some formats need is imported where they are read (pyproj 0.1 s).
    from pyproj import CRS

ROWS = 20_000
UNREADABLE = "文件读不出来,可能已损坏,或内容与扩展名不符。"
CUT = "文件读到一半出错,可能被截断。"
DISGUISED = "文件内容与扩展名不符。"
HEADED = "只有表头,下面一行数据也没有。"
EMPTY = "文件是空的,一行也没有。"


@dataclass
class Source:
    """Arrow batches with a geometry or position, and how they were understood."""

    parts: Iterator[pa.RecordBatch]
    count: int | None
    names: dict[str, str] = field(default_factory=dict)  # column as read → as people wrote it
    wkb: str | None = None  # name of the column of WKB
    exported: bool = False  # that WKB is GDAL's own, not a stranger's: little-endian throughout
    wkt: str | None = None
    lon: str | None = None
    lat: str | None = None
    pair: str | None = None  # both in one cell
    shapes: str | None = None  # a column of nested coordinates, which `drawn` turns into shapes
    drawn: Callable[[pa.Array], Any] | None = None
    points: bool = False  # the shapes are single points, and go out as positions
    crs: "CRS | None" = None
    stated: bool = False  # the file itself names its CRS, not only its format
    outward: bool | None = None  # whether outer rings must run clockwise (a shapefile's) or need not
    bounds: tuple[float, float, float, float] | None = None
    closed: set[int] = field(default_factory=set)  # of the batch at hand, the shapes whose ring had to be closed
    swapped: bool = False  # the file writes north first
    decode: Callable[[pa.Array], pa.Array] = lambda column: column
    evidence: list[Evidence] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    def tell(
        self, aspect: str, value: object, because: str, facts: Mapping[str, object] | None = None,
        choices: tuple[str, ...] = (), option: str | None = None, doubtful: bool = True, confirm: bool = False,
    ) -> None:
        """Add to the evidence."""
        self.evidence.append(Evidence(aspect, str(value), because, facts or {}, choices, option, doubtful, confirm))

    @property
    def positioned(self) -> list[str]:
        """The columns that say where, as people wrote them."""
        return [self.names[name] for name in (self.lon, self.lat, self.wkt, self.pair) if name]


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns that all differ, as Arrow wants them to be found; what people see is told apart elsewhere."""
    out: list[str] = []
    for number, name in enumerate(names):
        out.append(name if name not in out else f"{name}\x02{number}")
    return out


def chosen(layers: list[Layer], wanted: str | None, sentence: str) -> Layer:
    """The layer that was asked for, or the only one; refuses, with all of them, to guess."""
    if wanted is not None:
        if found := next((one for one in layers if one.name == wanted), None):
            return found
    elif len(layers) == 1:
        return layers[0]
    names = [one.name for one in layers]
    raise Refused(sentence, option="--layer", choices=names, counts=[one.count for one in layers])
