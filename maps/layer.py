"""A resource's declared `Style` as what the browser draws and what the legend shows.

Shape comes before hue: zones are told apart by hatch, outline and dash, points by the form of their symbol,
so that a grey print and a red-green-blind reader lose nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from geo.resource import Field, Place, Resource, Shape, Style

# Outlines in a box of ±10, drawn by the canvas (`Path2D`) and by the legend (`<path>`) from the same text.
SYMBOLS = {
    "circle": "M0-9A9 9 0 1 1-.01-9Z",
    "diamond": "M0-11L11 0L0 11L-11 0Z",
    "triangle": "M0-10L11 9L-11 9Z",
    "square": "M-8-8H8V8H-8Z",
    "cross": "M-3-10H3V-3H10V3H3V10H-3V3H-10V-3H-3Z",
}
PATTERNS = ("hatch", "outline", "dash")

# Tiles beyond this zoom are not asked for: at 4,096 steps a tile of zoom 16 is exact to 15 cm.
NATIVE = 16

# Zooms at which the tiles of areas go over to the next level.
AREA_STARTS = (12, 14)

# Under everything, where an area is; what no area covers stays as dark as the page's ground.
GROUND = "#FFFFFF"

# Street, community and grid lines have weights of their own, or the map reads as one net.
AREA_WIDTHS = {"district": 3.0, "street": 2.6, "community": 2.0, "grid": 1.4, "micro_grid": 0.9}


@dataclass(frozen=True)
class Look:
    """How one value is drawn. Widths and sizes in CSS pixels; a missing colour is not drawn."""

    fill: str | None = None
    opacity: float = 1.0
    stroke: str | None = None
    width: float = 1.0
    dash: tuple[int, ...] | None = None
    casing: str | None = None
    rim: float = 1.5
    hatch: str | None = None
    grows: bool = False
    symbol: str | None = None
    size: float = 0.0
    place: int = 0


@dataclass(frozen=True)
class Lettering:
    """How a layer's names are set; the lowest rank is placed first when there is no room for all."""

    from_zoom: int
    size: int
    weight: int
    color: str
    rank: int
    below: int = 0
    apart: int = 0


@dataclass(frozen=True)
class Drawing:
    """One resource as a layer of the map."""

    resource: Resource
    version: str
    look: Look
    looks: Mapping[str, Look]
    titles: Mapping[str, str]
    lettering: Lettering | None
    hidden: frozenset[str] = frozenset()
    shown: bool = True
    scope: str = ""  # the fingerprint of who is drawn their own; empty for what everybody is drawn
    counts: Mapping[str, int] = field(default_factory=dict)
    own: bool = False  # somebody's own, whose title is in no dictionary
    address: str = ""  # of its tiles, where it is not among those of the nouns: with `{z} {x} {y} {query}` to fill in

    @property
    def name(self) -> str:
        """The name of the resource, of its tiles, and of the layer in the address bar."""
        return self.resource.name

    @property
    def path(self) -> str:
        """Where its tiles are, below those of the server: everybody's, which caches share, or the reader's own."""
        return self.name if self.scope else f"public/{self.name}"

    @property
    def query(self) -> str:
        """What their addresses carry, so that each content and each scope has one of its own."""
        return f"v={self.version}&s={self.scope}" if self.scope else f"v={self.version}"

    @property
    def points(self) -> bool:
        """Whether the layer is of symbols."""
        return self.resource.geometry == "POINT"

    @property
    def gathered(self) -> bool:
        """Whether symbols that stand too near each other become one badge with a number."""
        return self.points and bool(self.resource.style.shapes)

    def told(self) -> dict[str, Any]:
        """What `L.Vectors.add` is told, as JSON."""
        style, letters = self.resource.style, self.lettering
        return {
            "name": self.name,
            "order": style.order,
            "zooms": list(style.zooms),
            "native": max(NATIVE, style.zooms[0]),
            "starts": [style.zooms[0], *(AREA_STARTS if self.name == "areas" else ())],
            "by": style.by,
            "version": self.version,
            "path": self.path,
            "query": self.query,
            "url": self.address or None,
            "on": self.shown,
            "points": self.points,
            "gathered": self.gathered,
            "ground": GROUND if self.name == "areas" else None,
            "hidden": sorted(self.hidden),
            "look": _told(self.look),
            "looks": {value: _told(look) for value, look in self.looks.items()},
            "labels": None
            if letters is None
            else {
                "from": letters.from_zoom,
                "size": letters.size,
                "weight": letters.weight,
                "color": letters.color,
                "rank": letters.rank,
                "below": letters.below,
                "apart": letters.apart,
            },
        }


def drawing(
    resource: Resource,
    titles: Mapping[str, str],
    *,
    version: str = "0",
    scope: str = "",
    shown: bool | None = None,
    hidden: frozenset[str] = frozenset(),
) -> Drawing:
    """The layer of `resource`.

    `titles` says what the values of `style.by` are called, in the order of the legend. `version` is part of
    every tile's address and changes with the content, and so is `scope`, with who looks. Raises `KeyError` for an undeclared symbol or pattern.
    """
    style = resource.style
    values = list(titles) or [value for value, _ in style.palette]
    return Drawing(
        resource,
        version,
        look=_look(resource, None, 0),
        looks={value: _look(resource, value, place) for place, value in enumerate(values, 1)},
        titles=titles,
        lettering=_lettering(resource),
        hidden=hidden,
        shown=style.shown if shown is None else shown,
        scope=scope,
    )


KINDS: Mapping[str, Shape] = {"point": "POINT", "line": "MULTILINESTRING", "polygon": "MULTIPOLYGON"}


def own(
    name: str, title: str, kind: str, color: str, opacity: float, *, address: str, version: str, scope: str, shown: bool
) -> Drawing:
    """A layer of somebody's own, drawn as a noun whose things all look alike: above the ground, below what people must see."""
    style = Style(color=color, fill=opacity, zooms=(6, 21), order=30)
    noun = Resource(name, title, "", (Field("name", str, title),), "物", geometry=KINDS[kind], place=Place.SHARES, style=style)
    drawn = drawing(noun, {}, version=version, scope=scope, shown=shown)
    return replace(drawn, address=address, own=True)


def _look(resource: Resource, value: str | None, place: int) -> Look:
    style = resource.style
    color = dict(style.palette).get(value or "", style.color)
    shape = dict(style.shapes).get(value or "")
    if resource.geometry == "POINT":
        return Look(fill=color, symbol=_symbol(shape), size=8.0 if style.shapes else 5.0, place=place)
    if resource.geometry == "MULTILINESTRING":
        return _line(color, shape, value, place)
    if style.shapes:
        # A kind that a town has added since is drawn too, by the plainest of the patterns.
        return _patterned(color, shape or "outline", style.fill, place)
    if resource.name == "areas":
        return Look(
            stroke=color, width=AREA_WIDTHS.get(value or "", 1.4), casing="#FFFFFF", rim=1.3, place=place
        )
    # A faint ground gets a faint border, or a compound would weigh more than the grid it lies in.
    border = mixed(color, "#FFFFFF", 0.35) if style.fill < 0.2 else mixed(color, "#17202B", 0.18)
    return Look(fill=color, opacity=style.fill, stroke=border, width=0.8, place=place)


def _symbol(shape: str | None) -> str:
    name = shape or "circle"
    if name not in SYMBOLS:
        raise KeyError(f"no symbol {name!r}; there are {', '.join(SYMBOLS)}")
    return name


def _line(color: str, shape: str | None, value: str | None, place: int) -> Look:
    # The white dashes on a dark line by which every map reader knows a railway.
    if shape == "dash":
        return Look(stroke="#FFFFFF", width=1.6, dash=(9, 9), casing=color, rim=1.1, place=place)
    width = {"trunk": 6.0, "street": 3.6, "lane": 1.6}.get(value or "", 3.0)
    return Look(
        stroke=color, width=width, casing=mixed(color, "#17202B", 0.16), rim=0.7, grows=True, place=place
    )


def _patterned(color: str, shape: str, opacity: float, place: int) -> Look:
    if shape not in PATTERNS:
        raise KeyError(f"no pattern {shape!r}; there are {', '.join(PATTERNS)}")
    return Look(
        fill=color,
        opacity=opacity if shape != "hatch" else opacity / 2,
        stroke=color,
        width=2.5 if shape == "outline" else 1.8,
        dash=(8, 5) if shape == "dash" else None,
        hatch=color if shape == "hatch" else None,
        casing="#FFFFFF",
        place=place,
    )


# Size and weight of a layer's names, and who goes first.
LETTERING = {
    "zones": (13, 700, 0),
    "areas": (14, 600, 1),
    "facilities": (12, 500, 2),
    "checkpoints": (12, 500, 2),
    "compounds": (12, 500, 3),
    "land_parcels": (12, 400, 4),
    "roads": (11, 400, 5),
    "buildings": (11, 400, 6),
    "organisations": (11, 400, 6),
    "entrances": (11, 400, 6),
    "parts": (11, 400, 7),
}
INK = {"land_parcels": "#4A6372", "roads": "#5C5646", "compounds": "#5C4F24", "buildings": "#46525F"}


def _lettering(resource: Resource) -> Lettering | None:
    if resource.style.named is None:
        return None
    size, weight, rank = LETTERING.get(resource.name, (11, 400, 8))
    below = 14 if resource.geometry == "POINT" else 0
    color = INK.get(resource.name, mixed(resource.style.color, "#17202B", 0.35))
    apart = 320 if resource.geometry == "MULTILINESTRING" else 0
    return Lettering(resource.style.named, size, weight, color, rank, below, apart)


def _told(look: Look) -> dict[str, Any]:
    return {name: value for name, value in vars(look).items() if value is not None}


def mixed(color: str, other: str, share: float) -> str:
    """`color` with `share` of `other` in it, both as `#RRGGBB`."""
    pairs = [(int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)
