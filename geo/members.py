"""Areas given as lists of houses: "1—8幢、10幢", "3幢2单元", "3幢1—6层".

A list is read, its names are looked up among the houses of the community, and the boundary of a grid follows from
their footprints. What is not understood or not found is told, never guessed.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Literal
from uuid import UUID

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import JSONB

from geo import numbering, statements
from geo.numbering import FITTING, HOUSE, LEVEL, NUMBER, NUMERAL, UNIT, Kind, cardinal, numeral

# Metres between the points of a footprint's outline that share out the ground; wider where there are so many houses that
# there would be more than MOST of them (a second or so of work).
STEP, MOST = 2.0, 40_000
# Borders are smoothed of corners whose triangle is less than this squared (m): points every 2 m leave the middle in steps.
SMOOTH = 1.5
LONGEST = 300  # numbers in one range; more is a slip of the pen
DEGREE = 111_320.0  # metres of latitude, near enough to space points

PARITY = r"(?:\(?(?P<parity>单|双)号?\)?)?"
UNITS = rf"(?P<unit>{NUMBER})(?:(?:{UNIT})?-(?P<unit_to>{NUMBER}))?(?:{UNIT})"
FLOORS = rf"(?P<floor>-?\d+)(?:(?:{LEVEL})?-(?P<floor_to>\d+))?(?:{LEVEL})"
TAIL = rf"(?P<tail>{NUMBER})(?:-(?P<tail_to>{NUMBER}))?"
HOUSES = re.compile(
    rf"(?P<where>.*?)(?P<low>{NUMBER})(?P<kind_of_low>{HOUSE})?(?:-(?P<high>{NUMBER}))?(?P<kind>{HOUSE})?{PARITY}"
    rf"(?:(?:{UNITS})?(?:{FLOORS})?|{TAIL})"
)
STAIRWELLS = re.compile(rf"{UNITS}(?:{FLOORS})?")
STOREYS = re.compile(r"(?P<floor>-?\d+)(?:层?-(?P<floor_to>\d+))?层")  # 5楼 alone is a house
BARE = re.compile(rf"(?P<low>{NUMBER})(?:-(?P<high>{NUMBER}))?")
WHOLE = re.compile(r"(?P<where>.+?)(?:全部楼栋|所有楼栋|全部|整体|全体)?")
SEPARATORS = re.compile(rf"[、,;。\n\t/+]+|(?<=[幢栋座楼号元层\d])(?:以及|和|及|与)|(?<=[幢栋座楼号元层)]) +|(?<=\d) +(?=[\d{NUMERAL}])")


@dataclass(frozen=True)
class Member:
    """One house of a list, or all houses of a place (`number` None), or a stairwell or some floors of one.

    `where` is the compound or street, '' when the list does not say. `kind` tells a house's number in its compound (幢)
    from one on a street (号).
    """

    text: str
    where: str = ""
    number: str | None = None
    kind: Kind = "any"
    unit: str | None = None
    floors: tuple[int, int] | None = None


@dataclass(frozen=True)
class Unresolved:
    """A part of a list that led to no house, and why."""

    path: str
    name: str
    text: str
    reason: str


@dataclass
class Derived:
    """What came of deriving: areas looked at, member rows that came or went, boundaries that changed, what was not found."""

    areas: int = 0
    members: int = 0
    boundaries: list[str] = field(default_factory=list)
    unresolved: list[Unresolved] = field(default_factory=list)


@dataclass(frozen=True)
class House:
    """A house as its community knows it."""

    id: UUID
    scope: str
    drawn: str | None  # the grid with a boundary of its own in which it stands
    places: frozenset[str]  # compound, its other names, street: what may stand before its number
    compound: str
    whole: str  # its full name
    number: str | None
    kind: Kind
    own: str  # what its name says before the number
    footprint: bytes
    units: tuple[tuple[UUID, str], ...] = ()


def parsed(text: str) -> tuple[list[Member], list[str]]:
    """The members that a list names, in its order, and the parts of it that cannot be read."""
    tokens = [token for token in SEPARATORS.split(_plain(text)) if token.strip()]
    read = [_token(token.replace(" ", "")) for token in tokens]
    _completed(read)
    members: list[Member] = []
    refused: list[str] = []
    for token in read:
        try:
            members += token.members(members)
        except ValueError:
            refused.append(token.text)
    return members, refused


def derive(connection: sa.Connection, paths: Iterable[str] | None = None) -> Derived:
    """Look up the members of every area given as a list, or of those that share a community with `paths`, and draw the
    boundaries that follow from them.

    Run again after houses, stairwells or areas came; what has not changed is not written.
    """
    told = Derived()
    rows = statements.run(connection, "areas_by_members", paths=None if paths is None else list(paths)).mappings()
    for (home, moment), together in groupby(rows, lambda row: (row["home"], row["moment"])):
        houses = _houses(connection, home, moment)
        claims: dict[str, dict[UUID, int]] = {}
        listed: dict[str, sa.RowMapping] = {}
        found: dict[str, list[Found]] = {}
        for area in together:
            told.areas += 1
            found[area["path"]] = list(_resolved(area, houses, told.unresolved))
            if area["level"] == "grid" and area["open"]:
                listed[area["path"]] = area
                claims[area["path"]] = Counter(house.id for house, *_ in found[area["path"]])
        told.members += _written(connection, found)
        shapes = _bounded(connection, home, moment, houses, claims) if claims else {}
        told.unresolved += _disputed(listed, houses, claims)
        for path, area in listed.items():
            if connection.scalar(sa.select(sa.func.area_derived(area["id"], shapes.get(path)))):
                told.boundaries.append(path)
    return told


def partitioned(
    ground: shapely.Geometry, claims: Mapping[str, Sequence[shapely.Geometry]], others: Sequence[shapely.Geometry] = ()
) -> dict[str, shapely.Geometry]:
    """Share out `ground` (degrees) among the claimants by whose house is nearest: a MultiPolygon for each that gets any.

    Every footprint is wholly its claimant's, as far as it stands on the ground; no two shapes overlap. `others` are the
    houses of nobody in `claims`: the ground nearest to them is nobody's, and so is what houses of a claimant do not
    stand on and cannot be reached from them without leaving the claimant's ground. Nearest, because a hull or a buffer
    leaves strips of nobody's ground between houses or overlaps the neighbour's, and a grid is to cover its ground.
    """
    squeeze = math.cos(math.radians(shapely.centroid(ground).y))
    owners = [*sorted(claims), None]
    built = {key: shapely.union_all([*(others if key is None else claims[key])]) for key in owners}
    for n, key in enumerate(owners):
        # Of two footprints that overlap, the first claimant has the common ground.
        for earlier in owners[:n]:
            built[key] = shapely.difference(built[key], built[earlier])
    built = {key: shape for key, shape in built.items() if not shape.is_empty}
    cells = dict(zip(built, _nearest([*built.values()], ground, squeeze), strict=True))
    shares = {}
    for key in built:
        if key is None:
            continue
        foreign = shapely.union_all([shape for other, shape in built.items() if other != key])
        own = shapely.difference(shapely.union(cells[key], built[key]), foreign)
        parts = shapely.get_parts(shapely.intersection(own, ground))
        kept = [p for p in parts if p.geom_type == "Polygon" and shapely.intersection(p, built[key]).area > 0]
        if kept:
            shares[key] = shapely.multipolygons(kept)
    return shares


def _nearest(built: Sequence[shapely.Geometry], ground: shapely.Geometry, squeeze: float) -> list[shapely.Geometry]:
    """For each group of houses, the ground nearer to it than to any other: Voronoi cells of points along the walls."""
    flat = [_scaled(shape, squeeze) for shape in built]
    step = max(STEP, sum(shape.length for shape in flat) * DEGREE / MOST) / DEGREE
    points = [shapely.get_coordinates(shapely.segmentize(shape.boundary, step)) for shape in flat]
    sites = np.concatenate(points)
    owner = np.repeat(np.arange(len(points)), [len(p) for p in points])
    # A point on a common wall belongs to the first; the walls themselves are put right afterwards.
    _, first = np.unique(np.round(sites, 9), axis=0, return_index=True)
    first.sort()
    cells = shapely.get_parts(shapely.voronoi_polygons(
        shapely.multipoints(sites[first]), extend_to=_scaled(ground, squeeze).envelope, ordered=True
    ))
    grouped = [shapely.union_all(cells[owner[first] == n]) for n in range(len(built))]
    smoothed: NDArray[np.object_] = shapely.coverage_simplify(np.array(grouped), SMOOTH / DEGREE, simplify_boundary=False)
    return [_scaled(shape, 1 / squeeze) for shape in smoothed]


def _scaled(shape: shapely.Geometry, factor: float) -> shapely.Geometry:
    return shapely.transform(shape, lambda xy: xy * (factor, 1.0))


def _bounded(
    connection: sa.Connection, home: str, moment: datetime, houses: Sequence[House], claims: Mapping[str, Mapping[UUID, int]]
) -> dict[str, bytes]:
    """The boundaries of the lists of one community, WKB by path: its ground without what drawn boundaries have taken."""
    row = statements.run(connection, "ground_of_home", home=home, moment=moment).one_or_none()
    if row is None or row.ground is None:
        return {}
    taken = shapely.union_all(shapely.from_wkb([bytes(shape) for shape in row.taken]))
    ground = shapely.difference(shapely.from_wkb(bytes(row.ground)), taken)
    owned: dict[str, list[shapely.Geometry]] = defaultdict(list)
    others: list[shapely.Geometry] = []
    for house in houses:
        if house.drawn is None:
            holders = _holders(house, claims)
            (owned[holders[0]] if holders else others).append(shapely.from_wkb(house.footprint))
    if ground.is_empty or not owned:
        return {}
    return {path: bytes(shapely.to_wkb(shape)) for path, shape in partitioned(ground, owned, others).items()}


def _holders(house: House, claims: Mapping[str, Mapping[UUID, int]]) -> list[str]:
    """The lists that name a house, that first which names most of its stairwells."""
    return sorted((path for path in claims if house.id in claims[path]), key=lambda path: (-claims[path][house.id], path))


def _disputed(
    listed: Mapping[str, sa.RowMapping], houses: Sequence[House], claims: Mapping[str, Mapping[UUID, int]]
) -> Iterator[Unresolved]:
    """Houses that stand within no list's boundary, or in that of one list only though two name them."""
    for house in houses:
        for n, path in enumerate(_holders(house, claims)):
            name = listed[path]["name"] or path
            if house.drawn is not None:
                yield Unresolved(path, name, house.whole, f"在已画边界的 {house.drawn} 内")
            elif n:
                yield Unresolved(path, name, house.whole, f"也列在 {_holders(house, claims)[0]} 名下")


def _written(connection: sa.Connection, found: Mapping[str, Sequence["Found"]]) -> int:
    """The members of a community's areas, in one statement: what lies in the houses follows once a statement."""
    wanted = [
        {"area": path, "building": str(house.id), "unit": None if unit is None else str(unit), "floor_from": low, "floor_to": high}
        for path, members in found.items() for house, unit, low, high in members
    ]
    return int(connection.scalar(sa.select(sa.func.members_written(list(found), sa.cast(wanted, JSONB)))) or 0)


def _houses(connection: sa.Connection, home: str, moment: datetime) -> list[House]:
    rows = statements.run(connection, "houses_of_home", home=home, moment=moment).all()
    units: dict[UUID, list[tuple[UUID, str]]] = defaultdict(list)
    for row in statements.run(connection, "stairwells_of_houses", houses=[row.id for row in rows]):
        units[row.building].append((row.id, numeral(re.sub(rf"(?:{UNIT})$", "", _plain(row.name)))))
    return [
        _house(row.id, row.scope, row.drawn, row.name, row.compound, row.aliases, bytes(row.geom), units[row.id])
        for row in rows
    ]


def _house(
    id: UUID, scope: str, drawn: str | None, name: str, compound: str | None, aliases: str | None, footprint: bytes,
    units: Sequence[tuple[UUID, str]],
) -> House:
    whole = _plain(name).replace(" ", "")
    called = HOUSES.fullmatch(whole)
    number, kind, own = None, "any", ""
    places = {_plain(text) for text in (compound, *re.split("[、,,;; ]", aliases or "")) if text}
    if called and not any(called[part] for part in ("high", "unit", "floor", "tail")):
        number, kind, own = numeral(called["low"]), numbering.kind(called["kind"] or called["kind_of_low"]), called["where"]
        places |= {own} - {""}
    return House(
        id, scope, drawn, frozenset(places), _plain(compound or ""), whole, number, kind, own, footprint, tuple(units)  # type: ignore[arg-type]
    )


Found = tuple[House, UUID | None, int | None, int | None]


def _resolved(area: sa.RowMapping, houses: Sequence[House], unresolved: list[Unresolved]) -> Iterator[Found]:
    """The houses, stairwells and floors that the list of an area names."""
    name = area["name"] or area["path"]
    members, refused = parsed(area["members"])
    unresolved += [Unresolved(area["path"], name, text, "读不懂") for text in refused]
    # A grid's list speaks of houses that no drawn boundary holds; a micro-grid's of those in its grid. Only what is not
    # found there is looked for in the whole community.
    if area["level"] == "micro_grid":
        near = [h for h in houses if h.scope[:15] == area["path"][:15]]
    else:
        near = [h for h in houses if h.drawn in (None, area["path"])]
    compound = _compound(members, near) or _compound(members, houses)
    for member in members:
        found = _named(member, near, compound) or _named(member, houses, compound)
        if not found or (member.number is not None and len(found) > 1):
            reason = "没有这栋楼" if not found else f"有 {len(found)} 栋楼都叫这个名字"
            unresolved.append(Unresolved(area["path"], name, member.text, reason))
            continue
        for house in found:
            low, high = member.floors or (None, None)
            if member.unit is None:
                yield house, None, low, high
            elif unit := next((id for id, number in house.units if number == member.unit), None):
                yield house, unit, low, high
            else:
                unresolved.append(Unresolved(area["path"], name, member.text, "这栋楼没有登记这个单元"))


def _compound(members: Sequence[Member], houses: Sequence[House]) -> str | None:
    """The compound that a list without names speaks of: the only one that has all the numbers."""
    wanted = {m.number for m in members if not m.where and m.number is not None}
    having: dict[str, set[str]] = defaultdict(set)
    for house in houses:
        if house.number is not None and house.kind != "door":
            having[house.compound].add(house.number)
    whole = [name for name, numbers in having.items() if wanted <= numbers]
    return whole[0] if wanted and len(whole) == 1 else None


def _named(member: Member, houses: Sequence[House], compound: str | None) -> list[House]:
    """The houses that a member may mean."""
    if member.number is None:
        same = [h for h in houses if h.whole == member.where]
        return same or [h for h in houses if member.where in h.places]
    same = [h for h in houses if h.number == member.number]
    if member.where:
        same = [h for h in same if member.where in h.places]
    else:
        same = [h for h in same if h.own in ("", h.compound)]
    fitting = next((kind for kind in FITTING[member.kind] if any(h.kind == kind for h in same)), None)
    same = [h for h in same if h.kind == fitting]
    if len(same) > 1 and not member.where and compound is not None:
        return [h for h in same if h.compound == compound]
    return same


@dataclass
class Token:
    """A part of a list between two separators, before its neighbours have told what it lacks."""

    text: str
    shape: Literal["houses", "stairwells", "storeys", "bare", "whole"]
    said: dict[str, str | None]

    @property
    def leads(self) -> Literal["house", "unit", "floor"] | None:
        """What its first number counts."""
        if self.shape == "houses":
            return "house" if self.said["kind"] or self.said["kind_of_low"] or self.said["where"] else None
        return {"stairwells": "unit", "storeys": "floor"}.get(self.shape)  # type: ignore[return-value]

    def members(self, before: Sequence[Member]) -> Iterator[Member]:
        """What it names; a stairwell or floor alone is one of the house named before. Raises `ValueError`."""
        said = self.said
        if self.shape == "whole":
            yield Member(self.text, said["where"] or "")
            return
        if self.shape == "houses":
            if said.get("tail"):
                raise ValueError(self.text)
            where = said["where"] or (before[-1].where if before and before[-1].number else "")
            kind = numbering.kind(said["kind"] or said["kind_of_low"])
            numbers = _range(said["low"], said["high"])
            if said["parity"]:
                numbers = [n for n in numbers if int(re.sub(r"\D", "", n)) % 2 == (said["parity"] == "单")]
            houses = [Member(self.text, where, number, kind) for number in numbers]
        else:
            if not before or before[-1].number is None:
                raise ValueError(self.text)
            houses = [replace(before[-1], text=self.text, unit=None if self.shape == "stairwells" else before[-1].unit, floors=None)]
        units: Sequence[str | None] = _range(said["unit"], said["unit_to"]) if said.get("unit") else [None]
        floors = None
        if said.get("floor"):
            low, high = int(said["floor"] or 0), int(said["floor_to"] or said["floor"] or 0)
            floors = (min(low, high), max(low, high))
        for house in houses:
            for unit in units:
                yield replace(house, unit=unit or house.unit, floors=floors)


def _token(text: str) -> Token:
    for shape, pattern in (("bare", BARE), ("stairwells", STAIRWELLS), ("storeys", STOREYS), ("houses", HOUSES), ("whole", WHOLE)):
        if found := pattern.fullmatch(text):
            return Token(text, shape, found.groupdict())  # type: ignore[arg-type]
    return Token(text, "whole", {"where": text})


def _completed(read: list[Token]) -> None:
    """What a bare number counts, is said by the number after it, else by the one before: 1、3、5单元, and 1—8幢、10."""
    after: Token | None = None
    for token in reversed(read):
        if token.shape == "houses" and token.said.get("tail"):
            if after is not None and after.leads in ("unit", "floor"):
                lead = "unit" if after.leads == "unit" else "floor"
                token.said |= {lead: token.said["tail"], f"{lead}_to": token.said["tail_to"], "tail": None}
        elif token.shape == "bare" and after is not None and after.leads:
            _taught(token, after)
        after = token
    before: Token | None = None
    for token in read:
        if token.shape == "bare":
            _taught(token, before)
        before = token


def _taught(token: Token, by: Token | None) -> None:
    low, high = token.said["low"], token.said["high"]
    lead = by.leads if by is not None else None
    nothing: dict[str, str | None] = {"unit": None, "unit_to": None, "floor": None, "floor_to": None}
    if lead in ("unit", "floor"):
        token.shape = "stairwells" if lead == "unit" else "storeys"
        token.said = nothing | {lead: low, f"{lead}_to": high}
    else:
        kind = (by.said["kind"] or by.said["kind_of_low"]) if by is not None and by.shape == "houses" else None
        token.shape = "houses"
        token.said = nothing | {
            "where": "", "low": low, "high": high, "kind": kind, "kind_of_low": None, "parity": None, "tail": None, "tail_to": None,
        }


def _plain(text: str) -> str:
    """As `numbering.plain`, ranges with a dash, and no name of a grid before the list."""
    told = numbering.plain(text)
    told = re.sub(rf"(?<=[\dA-Za-z幢栋座楼号元层{NUMERAL}])[至到](?=第?[\dA-Za-z{NUMERAL}])", "-", told)
    return re.sub(r"^[^:]*网格[^:]*:", "", cardinal(told)).replace(":", "").strip()


def _range(low: str | None, high: str | None) -> list[str]:
    """The numbers from one to another: 1—8, A—D, 三—五. Raises `ValueError` for what is no range."""
    one, other = numeral(low or ""), numeral(high or low or "")
    if one == other:
        return [one]
    if one.isdecimal() and other.isdecimal():
        start, end = sorted((int(one), int(other)))
        if end - start >= LONGEST:
            raise ValueError(f"{low}-{high}")
        return [str(n) for n in range(start, end + 1)]
    if len(one) == len(other) == 1 and one.isalpha() and other.isalpha():
        start, end = sorted((ord(one), ord(other)))
        return [chr(n) for n in range(start, end + 1)]
    raise ValueError(f"{low}-{high}")

