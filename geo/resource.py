"""The words in which a resource is declared.

A declaration is data. Its table, checks, indexes, API, OpenAPI text, upload spellings, map layer,
legend, reference page and tests are derived from it. There are no callables here on purpose:
anything with a consequence is a verb and lives in a module of its own.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Literal
from uuid import UUID

Shape = Literal["POINT", "MULTILINESTRING", "MULTIPOLYGON"]
Type = type[str] | type[int] | type[float] | type[bool] | type[datetime] | type[date] | type[UUID]

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


class Audience(IntEnum):
    """Who is looking; a larger number sees more."""

    PUBLIC = 0
    PARTNER = 1  # property managers, volunteers, merchants: the compound level of seed 000
    WORKER = 2
    LEADER = 3


class Place(StrEnum):
    """How a resource comes to its area."""

    NONE = "none"  # has no place of its own
    POINT = "point"  # by its representative point: exactly one area a level
    SHARES = "shares"  # every area it touches, with the share of each
    INHERITS = "inherits"  # that of its building, and answers to the micro-grid of its part of it


@dataclass(frozen=True)
class Choice:
    """One allowed value: the code that is stored and the title people read."""

    code: str
    title: str


def choices(**titles: str) -> tuple[Choice, ...]:
    """`choices(open="在办")` reads better in a declaration than a tuple of `Choice`."""
    return tuple(Choice(code.rstrip("_"), title) for code, title in titles.items())


# The grounds on which a person's data may be kept at all (个人信息保护法 Art 13: items 1, 3 and 4).
BASES = choices(consent="本人同意", duty="履行法定职责", emergency="应对突发事件")
# What is off the lists serves nobody any more (Art 47); so long a mistake can still be taken back.
RETIRED_DAYS = 30


@dataclass(frozen=True)
class Keeping:
    """Why a personal field is kept, on what ground, for how many days, and from which moment of its row on (Art 6, 13, 19).

    `since` is a field that holds a moment; without it the period has not begun. A row off the lists is kept
    `RETIRED_DAYS` at most. `whole`: the row is about a person, and goes with the field.
    """

    purpose: str
    basis: Literal["consent", "duty", "emergency"]
    days: int
    since: str
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.purpose or self.days < 1 or self.basis not in [base.code for base in BASES]:
            raise ValueError("what is kept has a purpose, a basis and a period")


@dataclass(frozen=True)
class Field:
    """One property: its name, type, title, and the rules it must keep."""

    name: str
    type: Type
    title: str
    required: bool = False
    choices: tuple[Choice, ...] = ()
    listed: str | None = None  # a code list of `data/codes`: values that a town edits without touching Python
    default: str | int | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    longest: int = 200
    pattern: str | None = None
    refers: str | None = None  # a resource (by id), or "area_paths" (by path)
    aliases: tuple[str, ...] = ()
    writable: bool = True
    moved: bool = False  # set by verbs, and by a load of what was done elsewhere; never by hand
    audience: Audience = Audience.PUBLIC
    secret: bool = False  # kept as masked, cipher and keyed hash; never as plain text
    hashed: bool = False  # secret, and of it the keyed hash alone: found again, read by nobody
    name_of_person: bool = False  # 张*, to everybody but those of `clear`
    clear: Audience | None = None  # who sees the name without asking: of people who hold an office, never of residents
    keeping: Keeping | None = None  # of a personal field; one about a person has that of its noun
    derived: str | None = None  # SQL over the row, computed when read; not stored
    unit: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a field name")
        if self.clear is not None and not self.name_of_person:
            raise ValueError(f"{self.name}: only a person's name is masked, so only that can be clear")
        if self.secret and self.audience < Audience.WORKER:
            raise ValueError(f"{self.name}: secret, so not for {self.audience.name}")
        if self.hashed and not self.secret:
            raise ValueError(f"{self.name}: kept as a hash, so it is secret")

    def masked_to(self, audience: Audience) -> bool:
        """Whether this audience is given the mask in place of the value."""
        return self.secret or (self.name_of_person and (self.clear is None or audience < self.clear))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the choices, in their order."""
        return tuple(choice.code for choice in self.choices)

    @property
    def stored(self) -> bool:
        """Whether the field is a column (or, when secret, three; when of that only the hash is kept, one)."""
        return self.derived is None

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every column header under which an uploaded file may carry this field."""
        return (self.name, self.title, *self.aliases)


# How sure a place is: `exact` is where it was measured; `dwelling`, `building` and `compound` are where the address was matched to
# (the middle of the house, or of the compound); of a `street` some point on it; a `region` is no place, and nobody counts it.
PRECISIONS = choices(exact="精确", dwelling="房屋", building="楼栋", compound="小区", street="街巷", region="区域")
REASONS = choices(
    outside="不在任何网格内", overlap="网格重叠", contradiction="与所填区域不符", imprecise="只定位到区域", edge="在边界上"
)


PLACED = (
    Field("precision", str, "定位精度", choices=PRECISIONS, default="exact", aliases=("geocode_status", "精度")),
    Field("stated_area", str, "所填区域", aliases=("所属区域", "所属网格", "所属社区", "网格编码", "社区名称")),
    Field("placing_reason", str, "落格说明", choices=REASONS, writable=False),
    Field("nearest_m", float, "距最近网格", writable=False, unit="m"),
)


# Of whatever keeps personal fields: the emergency they were gathered for. Without one they belong to ordinary service.
GATHERED = Field(
    "activation", UUID, "应急响应", refers="activations", audience=Audience.WORKER, aliases=("响应编号", "响应编码", "XYBM")
)

# Where in its building a row may say it lies.
SEAT = ("unit", "floor", "dwelling", "household")


@dataclass(frozen=True)
class Rule:
    """A rule over several fields: a named CHECK in the database, and the sentence for who breaks it."""

    name: str
    sql: str
    message: str


@dataclass(frozen=True)
class Style:
    """How a resource is drawn; plain data, so `geo` needs no map library.

    `by` names the field whose choices carry the palette; `shapes` tells values apart without hue.
    Zooms are Web Mercator levels at which the layer is shown. Tiles come one zoom before: of a value in `coming` from that zoom
    of theirs, of what has no side of `least` pixels (of 256 a tile) when it has one, with names from `named`, the map's zoom.
    """

    color: str = "#0B5FA5"
    by: str | None = None
    palette: tuple[tuple[str, str], ...] = ()
    shapes: tuple[tuple[str, str], ...] = ()
    fill: float = 0.3
    zooms: tuple[int, int] = (10, 21)
    order: int = 50
    shown: bool = True
    named: int | None = None
    coming: tuple[tuple[str, int], ...] = ()
    least: float = 0


@dataclass(frozen=True)
class Resource:
    """One kind of thing the server keeps."""

    name: str
    title: str
    about: str
    fields: tuple[Field, ...]
    element: Literal["人", "房", "地", "事", "物", "组织"]
    label: str = "name"
    geometry: Shape | None = None
    geometry_required: bool = True
    audience: Audience = Audience.PUBLIC
    place: Place = Place.NONE
    keeping: Keeping | None = None  # of a noun about persons: of every field that has no other
    moment: str | None = None  # the field whose time decides the area version
    coarse: str | None = None  # level whose representative point is the place for those below WORKER
    key: tuple[str, ...] = ()  # unique among the living, where all of it is given
    public_rows: str | None = None  # SQL: the rows the public may see at all
    written_by: Audience = Audience.WORKER  # who may write it, inside their scope
    # What is summed for every area, beside the number of rows: a name, and SQL over the row.
    tallied: tuple[tuple[str, str], ...] = ()
    category: str | None = None  # the field by which departments are given theirs
    led: str | None = None  # the field that names the body whose it is: that body sees it whatever its category
    owned: bool = False  # a resident may have reported it, and then follows it
    drawn_rows: str | None = None  # SQL: the rows a map shows, where not all
    rules: tuple[Rule, ...] = ()
    style: Style = Style()
    indexes: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a field is declared twice")
        if taken := {rule.name for rule in self.rules} & {*names, "geom", "version"}:
            raise ValueError(f"{self.name}: a rule and a field are both called {taken}")
        for name in (*self.key, *filter(None, (self.style.by, self.moment, self.label, self.category))):
            if name not in names:
                raise ValueError(f"{self.name}: unknown field {name!r}")
        if (self.place in (Place.POINT, Place.SHARES)) != (self.geometry is not None) and self.name != "areas":
            raise ValueError(f"{self.name}: what has a geometry has a place, and the reverse")
        if self.place is Place.INHERITS and "building" not in names:
            raise ValueError(f"{self.name}: inherits its place, so it names its building")
        if self.element == "人" and not (self.keeping and self.keeping.whole):
            raise ValueError(f"{self.name}: about persons, so its rows have a purpose, a basis and a period")
        for field in self.fields:
            kept = self.kept(field)
            if (field.secret or field.name_of_person) and kept is None:
                raise ValueError(f"{self.name}.{field.name}: personal, so it has a purpose, a basis and a period")
            if kept and (kept.since not in names or self[kept.since].type is not datetime):
                raise ValueError(f"{self.name}.{field.name}: kept since {kept.since!r}, which is no moment of it")
        if self.personal and self.audience < Audience.WORKER:
            raise ValueError(f"{self.name}: about persons, so not for {self.audience.name}")

    def __getitem__(self, name: str) -> Field:
        for field in self.all_fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name}.{name}")

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """The declared fields, and those that every personal and every placed resource has."""
        placed = PLACED if self.place in (Place.POINT, Place.SHARES) else ()
        return self.fields + ((GATHERED,) if self.keeps_personal else ()) + placed

    def kept(self, field: Field) -> Keeping | None:
        """Why and for how long a field is kept; None for what tells of no person."""
        return field.keeping or (self.keeping if field.stored else None)

    @property
    def known_by(self) -> str | None:
        """The field by which a row of a file is known again: the key, or the code of what has one."""
        return self.key[0] if self.key else next((field.name for field in self.fields if field.name == "code"), None)

    @property
    def keeps_personal(self) -> bool:
        """Whether any field tells of a person, be the row about one or not."""
        return any(self.kept(field) for field in self.fields)

    @property
    def of_area(self) -> bool:
        """Whether it has no place of its own but names the area that it is for."""
        return self.place is Place.NONE and any(field.name == "area" for field in self.fields)

    @property
    def personal(self) -> bool:
        """Whether a row is about a person, so that whoever reads it is written down."""
        return self.element == "人"

    @property
    def seat(self) -> tuple[str, ...]:
        """The columns in which a row says where in its building it lies, as `SEAT`; '' for what it does not say."""
        own = {field.name for field in self.fields}
        return tuple("id" if (self.name, name) == ("units", "unit") else name if name in own else "" for name in SEAT)

    def seen_by(self, audience: Audience) -> tuple[Field, ...]:
        """The fields this audience may read, filter and sort by. What is kept as a hash alone, nobody can read."""
        return tuple(field for field in self.all_fields if field.audience <= audience and not field.hashed)

    @property
    def writable(self) -> tuple[Field, ...]:
        """The fields a file may give."""
        return tuple(field for field in self.all_fields if field.writable and field.stored)

    @property
    def edited(self) -> tuple[Field, ...]:
        """The fields a caller may give by hand: what verbs move is moved by them alone."""
        return tuple(field for field in self.writable if not field.moved)
