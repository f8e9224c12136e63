"""Addresses without coordinates: `3-2-501`, 澜溪苑3幢2单元501室, 石埠老街18号, as a community writes them.

An address is read into compound, building, stairwell and dwelling, and these are looked up among what the caller may see.
A wrong match is worse than none: what fits twice, does not fit, or fits only by sound, is a candidate for a person to
choose, never an answer. What a person chose is kept, and answers the same words from then on.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from geo import db, numbering, statements
from geo.errors import Invalid
from geo.language import Said
from geo.numbering import FITTING, NUMBER, NUMERAL, Kind, cardinal, numeral
from geo.secrets import PLACES, SURNAMES

Precision = Literal["dwelling", "building", "compound"]
Part = Literal["compound", "building", "unit", "dwelling"]

STEMS = "甲乙丙丁"
NUM = rf"(?:{NUMBER}|[{STEMS}])"
# Where a number may begin: 五一3幢 is house 3, and 十五楼 is not 五楼.
EDGE = rf"(?:(?<![\dA-Za-z])(?=[\dA-Za-z])|(?<![{NUMERAL}])(?=[{NUMERAL}])|(?=[{STEMS}]))"
GAP = r"[\s,-]*"
SHOP = "商铺|门面|店铺|店面|铺|店|车库|车位|车棚|井|线|公交"
TAIL = (
    rf"(?:{GAP}(?:(?P<unit>{NUM})\s?(?:单元|门洞|门(?![面口店卫前市诊])|梯(?![间口])|号楼)"
    rf"|(?P<stair>\d{{1,2}}|[A-Za-z{STEMS}]|[{NUMERAL}]{{1,2}})-(?=[-\dA-Za-z{NUMERAL}负])))?"
    rf"(?:[\s,-]*?(?:(?P<floor>(?:负|地下|-)?{NUM})\s?(?:层|楼(?![梯道上下栋]))|(?P<below>[Bb]\d)层?(?![\d-])))?"
    rf"(?:{GAP}(?:(?P<room>(?:(?:[A-Za-z]-?)?\d{{1,5}}[A-Za-z]?(?:-\d{{1,2}})?|[{NUMERAL}]{{3,5}})(?![\dA-Za-z]|-\d)"
    rf"|[{NUMERAL}]{{1,3}}(?=室|户))(?!\s?(?:层|单元|口|人|岁|年|月|平|元|个|家|幢|栋|座))\s?(?P<suffix>室|户|号(?!楼)房?|房(?!屋)|套)?"
    r"|(?P<side>[东南西北中左右]{1,2}边?)(?:户|室|套|首|手|间)))?"
)
WORDED = re.compile(
    rf"(?P<where>.*?){EDGE}(?:(?P<number>{NUM})\s?(?P<kind>号楼|幢|栋|座)"
    rf"|(?<!单元)(?<!门)(?<!梯)(?<!-)(?P<storey>{NUM})\s?楼(?![上下道梯顶宇盘层])){TAIL}"
)
DASHED = re.compile(rf"(?P<where>.*?){EDGE}(?P<number>\d{{1,3}}[A-Za-z]?|[A-Za-z]\d{{0,2}}|[{STEMS}]|[{NUMERAL}]{{1,3}})(?=-){TAIL}")
DOOR = re.compile(rf"(?P<where>.*?){EDGE}(?P<number>\d{{1,5}}[A-Za-z]?(?:-\d{{1,3}})?|[{NUMERAL}]{{1,5}})号(?!楼|{SHOP})(?:大?院)?{TAIL}")
STAIRS = re.compile(rf"(?P<where>.*?){EDGE}(?={NUM}\s?(?:单元|门洞)){TAIL}")
ROOM = re.compile(r"(?P<where>.*?)(?<![\dA-Za-z-])(?P<room>\d{3,4}[A-Za-z]?)(?:室|户|号房)?")
FLOOR = re.compile(rf"(?P<where>.*?){EDGE}(?P<floor>{NUM})\s?(?:层|楼){GAP}(?:(?P<room>\d{{3,4}}[A-Za-z]?)(?:室|户)?)?")

REST = re.compile(r"(?:\d+号?)?(?:底商|商铺|门面|店铺|店面|沿街|地下室|车库|车位|车棚|储藏室|储藏间|阁楼|架空层|天台|楼顶)(?:\d+号?)?")
NEAR = re.compile(r"附近|旁|对面|周边|一带|[东南西北]侧|路口|交叉口|后面|前面")
# Three or more numbers with one sign between them: 3/2/501, 3.2.501, 3 2 501; and 一 for a dash, which looks like one.
SLASHED = re.compile(r"(?<![\d.])(\d{1,3})([./_\\ ])(\d{1,2})\2(\d{3,4})(?![\d.])")
LONG = re.compile(r"(?<!\d)\d[\d -]{6,}\d")  # a telephone number and what follows it
LABEL = re.compile(r"^.*?(?:地址|住址|位置|地点)\s*:\s*|^(?:现?住|位于|坐落于?|在)(?=.{2})")
STREET = re.compile(rf"(?P<street>.*(?:路|街|弄|巷|道|里|胡同|段|村))(?P<number>\d+[A-Za-z]?(?:-\d+)?|[{NUMERAL}]+)号(?:大?院)?")
ZONE = re.compile(rf"([{NUMERAL}]+)(?=期|区|号院|组团|弄)")
BREAK = re.compile(r"[\s,;、。:()\[\]【】<>《》“”\"'/|.·-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says. `where` is the compound or street, '' when it does not say; `rest` a part that is no dwelling.

    Numbers are as `numbering.numeral` has them. `others` are other ways to read the same words, less likely first to last:
    2-501 is room 501 of house 2, or of stairwell 2 of a house that goes without saying. No word after the address is kept:
    it may be somebody's name.
    """

    where: str = ""
    number: str | None = None
    kind: Kind = "any"
    unit: str | None = None
    floor: int | None = None
    room: str | None = None
    side: str | None = None
    rest: str = ""
    near: bool = False
    several: bool = False
    unread: bool = False
    others: tuple["Address", ...] = ()
    whole: str = field(default="", repr=False, compare=False)

    @property
    def text(self) -> str:
        """The address in one spelling: of it, and of nothing else, an alias is made."""
        parts = [self.where, self.house, f"{self.unit}单元" if self.unit else ""]
        if self.room:
            parts.append(f"{self.room}室")
        elif self.floor is not None:
            parts.append(f"{self.floor}层")
        return "".join([*parts, self.side or "", self.rest])

    @property
    def house(self) -> str:
        """Its number with the word for what it numbers."""
        return "" if self.number is None else f"{self.number}{'号' if self.kind == 'door' else '幢'}"


def parsed(text: str) -> Address:
    """What an address says, by the words alone."""
    told = _plain(text)
    return replace(_read(told), whole=told)


def _plain(text: str) -> str:
    told = cardinal(numbering.plain(text)).strip()
    told = re.sub(r"(?<=[\dA-Za-z])一(?=[\dA-Za-z])", "-", told)
    told = LABEL.sub("", LONG.sub(_cut, SLASHED.sub(r"\1-\3-\4", told)))
    return re.sub(r"\s+", " ", told).strip(" ,;。")


def _cut(found: re.Match[str]) -> str:
    """Nothing in place of a telephone number; 12-1204-1 and 3 2 501 stay."""
    digits = re.sub(r"\D", "", found[0])
    return found[0] if len(digits) < 9 and re.search(r"[ -]", found[0]) else " "


def _read(told: str) -> Address:
    if found := WORDED.match(told):
        read = _said(found, told)
        if not found["storey"]:
            return read
        # 楼 counts houses and floors: 石埠老街18号3楼.
        door = DOOR.match(told)
        others = [_said(door, told)] if door else []
        floor = FLOOR.match(told)
        if floor and floor["where"] == found["where"] and not door:
            others.append(Address(_where(floor["where"]), floor=_floor(floor["floor"]), room=_room(floor["room"])))
        return replace(read, others=(*others,))
    if (found := DASHED.match(told)) and any(found[part] for part in ("unit", "stair", "room", "floor", "side")):
        return _dashed(_said(found, told), found)
    for pattern in (DOOR, STAIRS):
        if found := pattern.match(told):
            return _said(found, told)
    if found := ROOM.fullmatch(told):
        return Address(_where(found["where"]), room=_room(found["room"]), floor=_storey(_room(found["room"])))
    near = NEAR.search(told, 2)
    told = told[: near.start()] if near else told
    rest = REST.search(told)
    return Address(_where(told[: rest.start()] if rest else told), rest=rest[0] if rest else "", near=bool(near))


def _dashed(read: Address, found: re.Match[str]) -> Address:
    """Of numbers with dashes alone, the other ways to read them."""
    if found["unit"] or found["stair"] or read.room is None:
        return read
    if len(read.room) > 2:
        return replace(read, others=(replace(read, number=None, unit=read.number),))
    # 3-2 is a house and its stairwell before it is a house and room 2.
    stairs = replace(read, unit=read.room, room=None, floor=None)
    if found["suffix"] == "号" and read.where:
        # 18-2号 on a street is a house beside 18号, not in it.
        door = replace(read, number=f"{read.number}-{read.room}", kind="door", room=None, floor=None)
        return replace(door, others=(replace(stairs, kind="house"), replace(read, kind="house")))
    return replace(stairs, others=(read,))


def _said(found: re.Match[str], told: str) -> Address:
    said = found.groupdict()
    number = said.get("number") or said.get("storey")
    kind = numbering.kind("楼" if said.get("storey") else said.get("kind") or ("号" if found.re is DOOR else None))
    after = told[found.end() :]
    room, rest = said["room"], ""
    if shop := REST.match(after.lstrip(" ,-")):
        rest = shop[0]
        if said["suffix"] == "号" or (room and not said["suffix"] and after[:1] not in " ,-"):
            # 12号商铺 is no room 12.
            rest, room = f"{room}号{rest}", None
    floor = said["floor"] or said["below"]
    room = _room(room)
    return Address(
        _where(said["where"]), numeral(number) if number else None, kind, _number(said["unit"] or said["stair"]),
        _floor(floor) if floor else _storey(room), room, said["side"], rest,
        several=bool(re.match(r"\s*[、/和及与]\s*\d", after)), unread=bool(re.match(r"-?\d|-[A-Za-z]", after)),
        near=bool(NEAR.match(after.lstrip(" ,的"))),
    )  # fmt: skip


def _number(text: str | None) -> str | None:
    return numeral(text) if text else None


def _room(text: str | None) -> str | None:
    if not text:
        return None
    if all(c in NUMERAL for c in text) and not any(c in "十百" for c in text):
        return "".join(str(numbering.DIGITS[c]) for c in text).lstrip("0") or None
    return numeral(text)


def _floor(text: str) -> int | None:
    below = re.match(r"负|地下|-|[Bb]", text)
    number = numeral(text[below.end() :] if below else text)
    if not number.isdecimal():
        return None
    return -int(number) if below else int(number)


def _storey(room: str | None) -> int | None:
    """The floor that a room number tells: 501 is on 5, 1204 on 12."""
    found = re.fullmatch(r"(\d{1,2})\d\d[A-Z]?(?:-\d+)?", room or "")
    return int(found[1]) if found else None


def _where(text: str) -> str:
    return text.strip(" ,;、。:-/")


def keyed(text: str) -> str:
    """A name as names are compared: no spaces and signs, capitals, 三期 as 3期."""
    return BREAK.sub("", ZONE.sub(lambda found: numeral(found[1]), numbering.plain(text))).upper()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an address may mean: how far it goes, and its name in full."""

    precision: Precision
    compound: UUID | None
    building: UUID | None
    unit: UUID | None
    dwelling: UUID | None
    title: str
    scope: str
    because: Said


@dataclass(frozen=True, slots=True)
class Found:
    """What came of an address.

    `precision` None is no match: work for a person, who finds in `candidates` (best first) what it may be. `missing` is the
    first part that the address names and that is not there. Ids above the precision are given with it; a compound without
    a precision is one whose house is not known, and no place.
    """

    address: Address
    because: tuple[Said, ...]
    compound: UUID | None = None
    building: UUID | None = None
    unit: UUID | None = None
    dwelling: UUID | None = None
    precision: Precision | None = None
    title: str = ""
    scope: str = ""
    missing: Part | None = None
    candidates: tuple[Candidate, ...] = ()

    def said(self, translated: Callable[[str], str] = str) -> str:
        """Why, in the language of `translated`."""
        return " ".join(because.said(translated) for because in self.because)


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody may say of words that led nowhere: that, as far as a part of them, they mean a place."""

    words: str
    part: Part
    target: UUID
    title: str


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known of a row beside its address: the compound or house of the whole file, or of another column."""

    compound: UUID | None = None
    building: UUID | None = None
    where: str = ""  # a name in a column of its own
    area: str = ""  # the path of an area


How = Literal["name", "alias", "short", "street", "hint", "only", "kept"]
Sort = Literal["compound", "row", "house", "area"]
Names = dict[str, set[tuple[Sort, UUID | str]]]
Named = dict[How, Names]


@dataclass(frozen=True, slots=True)
class House:
    """A building, by its number in its compound, on its street or under a name of its own."""

    id: UUID
    compound: UUID | None
    scope: str
    title: str
    number: str | None
    kind: Kind
    floors: int | None
    address: str


@dataclass(frozen=True, slots=True)
class Place:
    """What a name stands for: a compound, a row of houses with a name of its own, one house, or an area."""

    sort: Sort
    id: UUID | str
    how: How = "name"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the words before a number stand for, and the areas that they name besides."""

    places: tuple[Place, ...] = ()
    areas: tuple[str, ...] = ()
    torn: bool = False  # two compounds are named
    like: tuple[tuple[Place, Said], ...] = ()  # what sounds or is written almost like it


@dataclass(slots=True)
class Rooms:
    """What is registered of the inside of a house. Ids are kept as they come: most are never asked for."""

    stairs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # number → ids
    titles: dict[str, str] = field(default_factory=dict)  # id → name of a stairwell
    ids: Sequence[str] = ()
    units: Sequence[str | None] = ()
    names: Sequence[str] = ()
    numbered: dict[str, list[int]] = field(default_factory=dict)  # room → positions


@dataclass(frozen=True, slots=True)
class Meaning:
    """One way to understand an address: which compound or house it is, and what speaks against it."""

    read: Address
    how: How
    compound: UUID | None = None
    house: House | None = None
    missing: Part | None = None
    fault: Said | None = None
    unit: str | None = None
    dwelling: int | None = None  # its position among the dwellings of the house
    count: int = 0  # dwellings that would do
    kept: tuple[UUID | None, UUID | None] = (None, None)  # the stairwell and dwelling that a person has said
    lane: UUID | str = ""  # in which row of houses the number was looked for

    @property
    def key(self) -> UUID | None:
        """The house it comes to, else the compound."""
        return self.house.id if self.house else self.compound


# What a compound's name may go without, where no other name is left by that.
SUFFIX = re.compile("(?:小区|花园|花苑|家园|雅苑|雅居|公寓|公馆|新村|新城|新苑|宿舍|人家|苑|园|里|府)$")
PHASE = re.compile(r"(?:\d+期|\d+区|[东南西北中]区)$")
COMMITTEE = re.compile("(?:社区)?(?:居民委员会|居委会|居委|村委会)?")
STEM = re.compile("(?:社区|街道|镇|乡|村|网格)$")
# What stands before a name and only says where that is. 小区 and 东区 are names themselves; of a street or a community
# none but those known is taken, as a compound of this name may be in another one too.
GENERAL = re.compile("(?:[^省市区县镇乡]{2,8}(?:省|自治区))?(?:[^省市区县镇乡]{1,8}市)?(?:[^省市区县镇乡]{1,8}(?<![小社园新东西南北])(?:区|县))?")
ALONG = re.compile(rf".{{1,12}}?(?:路|街|弄|巷|大道|道|胡同)(?:(?:\d+|[{NUMERAL}]+)(?:-\d+)?(?:号|弄)(?:大?院)?)?")
NAMED = re.compile(rf"(?P<own>.*?)(?P<number>{NUMBER})(?P<kind>号楼|号院|幢|栋|座|楼|号)?")
DWELLING = re.compile(r"(?:.*[-单元门幢栋])?(?P<room>[A-Z]?\d{1,5}[A-Z]?)(?:室|户|号|房)?")

HEADED = re.compile("(?:详细|家庭|居住|现|现居住?|房屋|房产|所在|事发|服务)?(?:地址|住址)|房屋|住房|楼栋房号|楼栋单元房号|位置描述|事发位置|门牌号?|房号|户室|ADDRESS(?:TEXT)?")
STAIRED = re.compile("所在单元|单元(?:号|名称)?|楼道|门洞|DYH?|UNIT")
AROUND = re.compile("(?:所属|所在)?小区(?:名称?)?|楼盘|COMPOUND")

HOW: Mapping[How, str] = {
    "name": "写的就是{title}。",
    "alias": "按别名认作{title}。",
    "short": "名称没有写全,只有{title}可以这样叫。",
    "street": "按街路门牌认作{title}。",
    "hint": "按已选的小区或楼栋认作{title}。",
    "only": "这里只有一个小区,认作{title}。",
    "kept": "按以前的更正认作{title}。",
}
LIKE = Said("名称只是读音或写法相近,请核对。")
LONGER = Said("名称前后还有别的字,请核对。")
UNSURE = (LIKE, LONGER)
ENDS = "0123456789号幢栋座楼院-#ABCDEF"  # what a house's name ends with after its street
MANY = 12  # candidates told
HELD = 200_000  # dwellings kept in memory, some 300 bytes each, before those of the next rows are read
AT_ONCE = 5_000  # addresses whose houses are entered together


class Matcher:
    """Looks addresses up among the compounds, buildings, stairwells and dwellings that the caller of a transaction may see.

    Good for as long as the transaction is. Compounds and buildings are read once; what is in a building, when one is met.
    """

    def __init__(self, connection: sa.Connection, within: Sequence[str] | None, about: str | None) -> None:
        self.connection = connection
        self.titles: dict[UUID, str] = {}  # of compounds
        self.scopes: dict[UUID, str] = {}
        self.houses: dict[UUID, House] = {}
        self.names: dict[str, tuple[Place, ...]] = {}
        self.areas: dict[str, list[str]] = defaultdict(list)
        self.numbered: dict[UUID | str, dict[str, list[House]]] = defaultdict(lambda: defaultdict(list))
        self.doors: dict[tuple[str, str], list[Place]] = defaultdict(list)
        self.streets: set[str] = set()
        self.rooms: dict[UUID, Rooms] = {}
        self.vague: dict[str, list[Place]] = defaultdict(list)  # short for several
        self.kept: dict[str, list[tuple[UUID, UUID | None, UUID | None]]] = defaultdict(list)
        self.resolved: dict[str, Resolved] = {}
        self._likes: dict[str, list[Place]] | None = None
        self.inside = bool(connection.scalar(sa.text("SELECT has_any_column_privilege('dwellings', 'SELECT')")))
        self._filled(within, about)

    @classmethod
    def ready(cls, connection: sa.Connection, within: str | Sequence[str] | None = None, about: str | None = None) -> "Matcher":
        """A matcher over what the caller bound to `connection` sees, in the areas `within` (paths; '' or None everywhere).

        With `about` it is for that one text: of the houses only those are read that it may speak of.
        """
        return cls(connection, None if within is None else [within] if isinstance(within, str) else list(within), about)

    def one(self, text: str, hint: Hint | None = None) -> Found:
        """What comes of one address."""
        return self.matched([text], None if hint is None else [hint])[0]

    def matched(self, texts: Sequence[str | None], hints: Sequence[Hint] | Hint | None = None) -> list[Found]:
        """What comes of each address, in their order. `hints`: one for each, or one for all."""
        told = [hints] * len(texts) if isinstance(hints, Hint) else hints or [Hint()] * len(texts)
        found: list[Found] = []
        for at in range(0, len(texts), AT_ONCE):
            read = [parsed(text or "") for text in texts[at : at + AT_ONCE]]
            meant = [self._meanings(address, hint) for address, hint in zip(read, told[at : at + AT_ONCE], strict=True)]
            if self.inside:
                self._entered({m.house.id for meanings in meant for m in meanings if m.house})
            found += [self._found(address, meanings) for address, meanings in zip(read, meant, strict=True)]
        return found

    def suggested(self, texts: Iterable[str | None]) -> list[tuple[UUID, str, float]]:
        """Which compound a file speaks of whose addresses name none: id, title and the share of them whose house it has,
        the likeliest first. To be chosen by a person: three compounds in four have a house 3."""
        asked = Counter(
            (read.number, read.kind, read.floor or 0) for read in map(parsed, filter(None, texts)) if read.number and not read.where
        )
        shares = []
        for id, title in self.titles.items():
            place = Place("compound", id)
            met = sum(
                count for (number, kind, floor), count in asked.items()
                if any((house.floors or floor) >= floor for house in self._numbered(place, Address(number=number, kind=kind)))
            )
            if met:
                shares.append((id, title, met / asked.total()))
        return sorted(shares, key=lambda share: (-share[2], share[1]))[:MANY]

    def _filled(self, within: Sequence[str] | None, about: str | None) -> None:
        named: Named = {how: defaultdict(set) for how in ("name", "alias", "short")}
        own: dict[UUID, set[str]] = {}
        for row in statements.run(self.connection, "names_addressed"):
            if row.sort == "area":
                name = keyed(row.name)
                self.areas[name].append(row.scope)
                if STEM.search(name):
                    named["alias"][name].add(("area", row.scope))
                    if len(stem := STEM.sub("", name)) > 1:
                        self.areas[stem].append(row.scope)
            else:
                own[row.id] = self._called(row, named)
        aliases = statements.run(self.connection, "aliases_addressed", within=within).all()
        narrow: dict[str, object] = {"told": None, "compounds": None, "houses": None}
        if about is not None:
            self._named(named)
            told = keyed(_plain(about))
            met = [row for row in aliases if row.text[:2] in told]
            narrow = {
                "told": _plain(about), "houses": [row.building for row in met if row.building],
                "compounds": self._concerned(about) + [row.compound for row in met if row.compound],
            }
        for row in statements.run(self.connection, "buildings_addressed", within=within, ends=ENDS, **narrow):
            self._housed(row, own, named["name"])
        self._named(named)
        self._learned(aliases)

    def _named(self, named: Named) -> None:
        """What each name stands for: a name before an alias, and an alias before what is short for one."""
        self.vague.clear()
        self.resolved.clear()
        self._likes = None
        for how, names in reversed(named.items()):
            for name, meant in names.items():
                if how == "short" and len(meant) > 1:
                    self.vague[name] = [Place(sort, id, how) for sort, id in meant]
                else:
                    self.names[name] = tuple(Place(sort, id, how) for sort, id in sorted(meant, key=str))

    def _concerned(self, about: str) -> list[UUID]:
        """The compounds that a text may speak of."""
        read = parsed(about)
        told = [self._resolve(one.where) for one in (read, *read.others)] + [self._resolve(read.whole)]
        places = [place for one in told for place in (*one.places, *(like for like, _ in one.like))]
        streets = [self._by_door(keyed(one.where), one.number) for one in (read, *read.others) if one.number]
        return [place.id for place in (*places, *(place for met in streets for place in met)) if isinstance(place.id, UUID)]

    def _called(self, row: sa.Row[tuple[Any, ...]], named: Named) -> set[str]:
        """The names of a compound."""
        self.titles[row.id], self.scopes[row.id] = row.name, row.scope
        called = {keyed(row.name)}
        named["name"][keyed(row.name)].add(("compound", row.id))
        for alias in re.split("[、,,;; /]", row.aliases or ""):
            if keyed(alias):
                called.add(keyed(alias))
                named["alias"][keyed(alias)].add(("compound", row.id))
        for name in called:
            for short in {SUFFIX.sub("", name), f"{name}小区"} - {name}:
                if len(short) > 1:
                    named["short"][short].add(("compound", row.id))
        self._addressed(row.address, Place("compound", row.id, "street"))
        return called

    def _learned(self, aliases: Sequence[sa.Row[tuple[Any, ...]]]) -> None:
        """What people have said before that words mean."""
        compounds: dict[str, set[UUID]] = defaultdict(set)
        for row in aliases:
            if row.building is None:
                compounds[row.text].add(row.compound)
            elif row.building in self.houses:
                self.kept[row.text].append((row.building, row.unit, row.dwelling))
        for text, ids in compounds.items():
            self.names[text] = tuple(Place("compound", id, "kept") for id in ids)

    def _housed(self, row: sa.Row[tuple[Any, ...]], own: Mapping[UUID, set[str]], named: Names) -> None:
        name, before, number, kind = _house_called(row.name)
        title = self.titles.get(row.compound, "")
        full = row.name if not title or row.name.startswith(title) else f"{title}{row.name}"
        house = House(row.id, row.compound, row.scope, full, number, kind, row.floors, row.address or "")
        self.houses[row.id] = house
        self._addressed(row.address, Place("house", row.id, "street"))
        if number is None:
            named[keyed(name)].add(("house", row.id))
            if title:
                named[keyed(title + name)].add(("house", row.id))
        elif row.compound in own and before in {"", *own[row.compound]}:
            self.numbered[row.compound][number].append(house)
        elif before:
            lane = f"{row.compound or ''} {before}"
            self.numbered[lane][number].append(house)
            for called_so in {before, keyed(title + before)}:
                named[called_so].add(("row", lane))

    def _addressed(self, address: str | None, place: Place) -> None:
        if found := STREET.fullmatch(keyed(cardinal(address or ""))):
            self.doors[found["street"], numeral(found["number"])].append(place)
            self.streets.add(found["street"])

    def _entered(self, houses: set[UUID]) -> None:
        """Read what is registered in buildings met for the first time."""
        fresh = houses - self.rooms.keys()
        if not fresh:
            return
        if sum(len(rooms.ids) for rooms in self.rooms.values()) > HELD:
            self.rooms.clear()
            fresh = houses
        self.rooms |= {house: Rooms() for house in fresh}
        for row in statements.run(self.connection, "stairwells_addressed", houses=list(fresh)):
            rooms = self.rooms[row.building]
            rooms.titles = dict(zip(row.ids, row.names, strict=True))
            for id, name in rooms.titles.items():
                rooms.stairs[_stair(name)].append(id)
        for row in statements.run(self.connection, "dwellings_addressed", houses=list(fresh)):
            rooms = self.rooms[row.building]
            rooms.ids, rooms.units, rooms.names = row.ids, row.units, row.names
            for at, (name, floor) in enumerate(zip(row.names, row.floors, strict=True)):
                rooms.numbered.setdefault(_roomy(name, floor), []).append(at)

    def _meanings(self, address: Address, hint: Hint) -> list[Meaning]:
        """Every way to understand an address, as far as the house."""
        known = self._resolve(hint.where) if hint.where else Resolved()
        fixed: set[UUID | str] = {hint.compound} if hint.compound else {place.id for place in known.places if place.sort == "compound"}
        if hint.where and not hint.compound and not address.where and address.number:
            address = replace(address, where=hint.where, others=tuple(replace(o, where=hint.where) for o in address.others if o.number))
        told: list[Meaning] = []
        whole = self._suffix(keyed(address.whole)) if address.rest or address.kind == "door" or address.number is None else None
        for place in whole[0] if whole else ():
            if place.sort == "house":
                told.append(self._house(address, self.houses[place.id], place.how, whole[1]))  # type: ignore[index]
        if told:
            return told
        for read in (address, *address.others):
            # Stairwell 3 of 澜溪苑 is no other way to understand 澜溪苑3-501, as its house does not go without saying.
            if read is address or read.number or not read.where:
                told += self._means(read, hint, fixed)
        if whole and not any(meaning.fault is None for meaning in told):
            # 望海路100号澜溪苑, where nobody has registered that number.
            compounds = [place for place in whole[0] if place.sort == "compound"]
            told = [*self._at(Address(), compounds, whole[1])] or told
        return told

    def worded(self, read: Address, part: Part, hint: Hint) -> str:
        """The words of an address as far as a part of it, as an alias has them; '' where the compound is not told."""
        where = self._bare(read.where) or (keyed(self.titles[hint.compound]) if hint.compound in self.titles else "")
        if not where or part == "compound":
            return where
        if part == "building":
            return where + read.house
        return replace(read, where=where, room=read.room if part == "dwelling" else None, side=read.side if part == "dwelling" else None).text

    def _bare(self, where: str) -> str:
        """The words for a place, without the street and community around it."""
        told = keyed(where)
        rest = told[GENERAL.match(told).end() :]  # type: ignore[union-attr]
        while at := next((at for at in range(len(rest) - 2, 1, -1) if rest[:at] in self.areas and STEM.search(rest[:at])), 0):
            told = rest = rest[at:]
            rest = told = rest[COMMITTEE.match(rest).end() :] or rest  # type: ignore[union-attr]
        return told

    def _said(self, read: Address, hint: Hint) -> list[Meaning]:
        """What a person has said that these words mean."""
        if not self.kept:
            return []
        for part in ("dwelling", "unit", "building"):
            if found := self.kept.get(self.worded(read, part, hint)):
                return [
                    Meaning(read, "kept", self.houses[house].compound, self.houses[house], kept=(unit, dwelling))
                    if unit or dwelling else self._house(read, self.houses[house], "kept", ())
                    for house, unit, dwelling in found
                ]
        return []

    def _means(self, read: Address, hint: Hint, fixed: set[UUID | str]) -> Iterator[Meaning]:
        if said := self._said(read, hint):
            yield from said
            return
        if not read.where:
            if read.number is None:
                if hint.building in self.houses and (read.unit or read.room or read.side):
                    yield self._house(read, self.houses[hint.building], "hint", ())
                return
            places = tuple(Place("compound", id, "hint") for id in fixed)
            if not places and len(self.titles) == 1:
                places = (Place("compound", next(iter(self.titles)), "only"),)
            areas = tuple(filter(None, [hint.area]))
            if not places:
                for id in self.titles:
                    for house in self._numbered(Place("compound", id), read):
                        yield self._house(read, house, "name", areas, Said("没有写小区。"))
                return
        else:
            resolved = self._resolve(read.where)
            places, areas = resolved.places, (*resolved.areas, *filter(None, [hint.area]))
            fault = Said("写的小区或街路名不止一个,互相对不上。") if resolved.torn else None
            compounds = {place.id for place in places if place.sort == "compound"}
            if fixed and compounds and not compounds & fixed:
                fault = Said("与已选的小区不是同一个。")
            elif fixed & compounds:
                places = tuple(place for place in places if place.id in fixed or place.sort != "compound")
            if fault:
                for meaning in self._at(read, places, areas):
                    yield replace(meaning, fault=meaning.fault or fault)
                return
            if read.number and read.kind != "house":
                # A house is called by its own name before it is called by its street.
                told = [*self._at(read, places, areas), *self._on_street(read, areas)]
                # What is found by its address is not missed by its name.
                yield from [m for m in told if m.missing != "building" or m.fault is None] or told
                if told:
                    return
            if not places:
                like = [replace(m, fault=m.fault or why) for place, why in resolved.like for m in self._at(read, (place,), areas)]
                yield from [m for m in like if m.missing != "building"] or like
                return
        yield from self._at(read, places, areas)

    def _at(self, read: Address, places: Iterable[Place], areas: Sequence[str]) -> Iterator[Meaning]:
        for place in places:
            if place.sort == "area":
                continue
            if read.number is None:
                if place.sort == "house":
                    yield self._house(read, self.houses[place.id], place.how, areas)  # type: ignore[index]
                elif place.sort == "compound":
                    missing: Part | None = "building" if read.unit or read.room else None
                    yield self._checked(Meaning(read, place.how, place.id, missing=missing), areas)  # type: ignore[arg-type]
                continue
            houses = self._numbered(place, read)
            for house in houses:
                yield self._house(read, house, place.how, areas)
            if not houses and place.sort in ("compound", "row"):
                compound = place.id if isinstance(place.id, UUID) else None
                title = self.titles[compound] if compound else str(place.id).split(" ", 1)[1]
                absent = Said("{title}查不到{house}。", {"title": title, "house": read.house})
                yield Meaning(read, place.how, compound, missing="building", fault=absent, lane=place.id)

    def _on_street(self, read: Address, areas: Sequence[str]) -> Iterator[Meaning]:
        """What has the number on a street, by its address."""
        told = keyed(read.where)
        for at in range(len(told) - 1):
            if told[at:] in self.streets:
                clear, more = self._explained(told[:at])
                if clear:
                    for place in self.doors.get((told[at:], read.number or ""), ()):
                        yield from self._at(replace(read, number=None), (place,), (*areas, *more))
                    return

    def _numbered(self, place: Place, read: Address) -> list[House]:
        same = self.numbered[place.id].get(read.number or "", []) if place.id in self.numbered else []
        fitting = next((kind for kind in FITTING[read.kind] if any(house.kind == kind for house in same)), None)
        return [house for house in same if house.kind == fitting]

    def _house(self, read: Address, house: House, how: How, areas: Sequence[str], fault: Said | None = None) -> Meaning:
        if fault is None and house.floors and (read.floor or 0) > house.floors:
            fault = Said("{title}只有 {floors} 层,没有 {floor} 层。", {"title": house.title, "floors": house.floors, "floor": read.floor})
        return self._checked(Meaning(read, how, house.compound, house, fault=fault), areas)

    def _checked(self, meaning: Meaning, areas: Sequence[str]) -> Meaning:
        """Against the areas that the address names."""
        scope = meaning.house.scope if meaning.house else self.scopes[meaning.compound]  # type: ignore[index]
        if meaning.fault is None and areas and not all(scope.startswith(area) or area.startswith(scope) for area in areas):
            return replace(meaning, fault=Said("{title}不在所写的街道或社区里。", {"title": self._titled(meaning)}))
        return meaning

    def _resolve(self, where: str) -> Resolved:
        """What the words before a number stand for. The same words come again and again in a file."""
        if where not in self.resolved:
            self.resolved[where] = self._resolving(where)
        return self.resolved[where]

    def _resolving(self, where: str) -> Resolved:
        main: tuple[Place, ...] = ()
        street: tuple[Place, ...] = ()
        areas: list[str] = []
        torn = strange = False
        parts = [part for text in BREAK.split(where) if (part := keyed(text))]
        for part in reversed(parts):
            if found := self._suffix(part):
                places, more = found
                areas += more
                if all(place.sort == "area" for place in places):
                    areas += [str(place.id) for place in places]
                elif main:
                    torn = torn or not {place.id for place in places} & {place.id for place in main}
                else:
                    main = places
            elif door := STREET.fullmatch(part):
                street = street or tuple(place for place in self._by_door(door["street"], numeral(door["number"])) if place.sort == "compound")
            elif main or street:
                strange = True
            else:
                # What stands right before the number is the name; one further off is another's.
                break
        if (not main and not street) or (strange and all(place.how == "short" for place in main)):
            likes = (self._like(part) for part in reversed(parts) if not STREET.fullmatch(part))
            return Resolved((), tuple(areas), torn, next((like for like in likes if like), ()))
        return Resolved(main or street, tuple(areas), torn)

    def _by_door(self, street: str, number: str) -> list[Place]:
        for at in range(len(street) - 1):
            if street[at:] in self.streets and self._explained(street[:at])[0]:
                return self.doors.get((street[at:], number), [])
        return []

    def _suffix(self, told: str) -> tuple[tuple[Place, ...], list[str]] | None:
        """The longest known name at the end, if what stands before it only says where that is; and the areas named there.

        东澜溪苑 is not 澜溪苑.
        """
        for at in range(len(told) - 1):
            if (places := self.names.get(told[at:])) is not None:
                clear, areas = self._explained(told[:at])
                if clear:
                    return places, areas
        return None

    def _explained(self, told: str) -> tuple[bool, list[str]]:
        areas: list[str] = []
        if not told:
            return True, areas
        for general in (GENERAL.match(told), None):
            rest = told[general.end() :] if general else told
            areas = []
            while rest and not ALONG.fullmatch(rest):
                at = next((at for at in range(len(rest), 1, -1) if rest[:at] in self.areas), 0)
                if not at:
                    break
                # Of areas that share a name each would do; that they nest is checked with what is found.
                areas += self.areas[rest[:at]] if len(self.areas[rest[:at]]) == 1 else []
                rest = rest[at:]
                rest = rest[COMMITTEE.match(rest).end() :]  # type: ignore[union-attr]
            if not rest or ALONG.fullmatch(rest):
                return True, areas
        return False, []

    def _like(self, told: str) -> tuple[tuple[Place, Said], ...]:
        """What sounds the same or differs in one character, else what is part of it: for a person to choose from."""
        if self._likes is None:
            self._likes = defaultdict(list)
            for name, places in self.names.items():
                real = [place for place in places if place.sort != "area"]
                for key in (_sound(name), *_neighbours(name)):
                    self._likes[key] += real
        found: dict[UUID | str, tuple[Place, Said]] = {place.id: (place, LIKE) for place in self.vague.get(told, ())}
        for at in range(max(1, len(told) - 1)):
            core = told[at:]
            if at and not self._explained(told[:at])[0]:
                continue
            for key in (_sound(core), *_neighbours(core)):
                for place in self._likes.get(key, ()):
                    found.setdefault(place.id, (place, LIKE))
            if found:
                return tuple(found.values())[:MANY]
        for core in (told, PHASE.sub("", told)):
            tail = next((core[at:] for at in range(len(core) - 1) if core[at:] in self.names), "")
            for place in self.names.get(tail, ()):
                if place.sort != "area":
                    found.setdefault(place.id, (place, LONGER))
        return tuple(found.values())[:MANY]

    def _found(self, address: Address, meanings: Sequence[Meaning]) -> Found:
        told = [self._roomed(meaning) for meaning in meanings]
        sound = [meaning for meaning in told if meaning.fault is None]
        pool = [meaning for meaning in sound if meaning.missing in (None, "building")] or sound
        if address.near and pool:
            return self._open(address, told, Said("写的是附近,不是那里面。"))
        if address.unread:
            return self._open(address, (), Said("号码读不懂:数目比楼栋、单元、室要多。"))
        if not pool:
            return self._open(address, told, self._why(address, told))
        if len({meaning.key for meaning in pool}) == 1:
            return self._told(address, pool)
        compounds = {meaning.compound for meaning in pool}
        if len(compounds) == 1 and None not in compounds and any(meaning.house is None for meaning in pool):
            return self._told(address, [meaning for meaning in pool if meaning.house is None], told)
        return self._open(address, pool, Said("有 {count} 处都对得上。", {"count": len({meaning.key for meaning in pool})}))

    def _why(self, address: Address, told: Sequence[Meaning]) -> Said:
        if faults := [meaning.fault for meaning in told if meaning.fault]:
            return faults[0]
        if not address.where and address.number is None:
            return Said("没有写小区和楼栋号。" if address.room or address.unit or address.rest else "读不出地址。")
        if not address.where:
            return Said("没有写小区。")
        if address.number is None and self._resolve(address.where).places:
            return Said("没有写门牌号或楼栋号。")
        return Said("写的小区或街路名对不上任何一个。")

    def _told(self, address: Address, pool: Sequence[Meaning], others: Sequence[Meaning] = ()) -> Found:
        dwellings = {meaning.dwelling: meaning for meaning in pool if meaning.dwelling is not None}
        chosen = next(iter(dwellings.values())) if len(dwellings) == 1 and not address.several else None
        best = chosen or replace(pool[0], dwelling=None)
        if len({meaning.unit for meaning in pool}) > 1 and not chosen:
            best = replace(best, unit=None)
        title = self._titled(best)
        why = [Said(HOW[best.how], {"title": title})]
        if best.house and not chosen and (limit := self._limit(address, best, len(dwellings))):
            why.append(limit)
        if best.house is None and best.missing:
            why.append(Said("没有写楼栋号,只到小区。"))
        choices = [m for m in others if m.house] or (self._choices(best) if best.house and best.count > 1 else ())
        unit, dwelling = self._ids(best)
        return Found(
            address, tuple(why), best.compound, best.house.id if best.house else None, unit, dwelling,
            _precision(best), title, self._scope(best), best.missing, self._candidates(choices),
        )  # fmt: skip

    def _ids(self, meaning: Meaning) -> tuple[UUID | None, UUID | None]:
        """Stairwell and dwelling."""
        dwelling = None
        if meaning.house and meaning.dwelling is not None:
            dwelling = UUID(self.rooms[meaning.house.id].ids[meaning.dwelling])
        return UUID(meaning.unit) if meaning.unit else None, dwelling

    def _limit(self, address: Address, best: Meaning, dwellings: int) -> Said | None:
        """Why it is the house and not the dwelling."""
        read = best.read
        if address.several:
            return Said("写了不止一户,只到楼栋。")
        if best.missing == "unit":
            return Said("这栋楼没有登记 {unit} 单元,只到楼栋。", {"unit": read.unit})
        if best.missing == "dwelling":
            return Said("这栋楼没有登记这一室,只到楼栋。")
        if best.count > 1 or dwellings > 1:
            return Said("这栋楼有 {count} 套都对得上,只到楼栋。", {"count": max(best.count, dwellings)})
        if (read.room or read.side) and self.inside:
            return Said("这栋楼没有登记房屋,只到楼栋。")
        return None

    def _open(self, address: Address, meanings: Sequence[Meaning], why: Said) -> Found:
        """No match: what it may be, best first."""
        compounds = {meaning.compound for meaning in meanings if meaning.fault not in UNSURE}
        only = next(iter(compounds)) if len(compounds) == 1 else None
        missing: Part | None = next((meaning.missing for meaning in meanings if meaning.missing), None)
        if not (address.where or only) or all(meaning.fault in UNSURE for meaning in meanings):
            missing = "compound"
        nearby = [m for meaning in meanings if meaning.missing == "building" for m in self._beside(meaning)]
        return Found(address, (why,), only, missing=missing, candidates=self._candidates([*meanings, *nearby]))

    def _beside(self, meaning: Meaning) -> Iterator[Meaning]:
        """Houses whose number is a slip of the pen away from one that is not there."""
        number = meaning.read.number or ""
        own = number.split("-")[0]
        near = {*_neighbours(number, 2), own}
        for other, houses in sorted(self.numbered.get(meaning.lane, {}).items(), key=lambda told: (told[0] != own, len(told[0]), told[0])):
            if other != number and (near & {*_neighbours(other, 2)} or sorted(other) == sorted(number)):
                yield from (self._roomed(replace(meaning, house=house, missing=None)) for house in houses)

    def _choices(self, meaning: Meaning) -> Iterator[Meaning]:
        """The dwellings of a house that would do."""
        assert meaning.house is not None
        rooms = self.rooms[meaning.house.id]
        for at in self._dwellings(meaning, rooms):
            yield replace(meaning, dwelling=at, unit=rooms.units[at])

    def _candidates(self, meanings: Iterable[Meaning]) -> tuple[Candidate, ...]:
        told: dict[tuple[UUID | None, UUID | None], tuple[tuple[bool, ...], Candidate]] = {}
        for meaning in meanings:
            if meaning.key is None:
                continue
            why = meaning.fault or Said(HOW[meaning.how], {"title": self._titled(meaning)})
            unit, dwelling = self._ids(meaning)
            rank = (meaning.house is None, meaning.fault is not None, meaning.missing is not None)
            told.setdefault((meaning.key, dwelling), (rank, Candidate(
                _precision(meaning), meaning.compound, meaning.house.id if meaning.house else None, unit, dwelling,
                self._titled(meaning), self._scope(meaning), why,
            )))  # fmt: skip
        twice = {title for title, count in Counter(one.title for _, one in told.values()).items() if count > 1}
        every = [(rank, replace(one, title=self._apart(one)) if one.title in twice else one) for rank, one in told.values()]
        return tuple(one for _, one in sorted(every, key=lambda ranked: ranked[0])[:MANY])

    def _apart(self, one: Candidate) -> str:
        """Two houses of one name are told apart by their addresses."""
        house = self.houses.get(one.building) if one.building else None
        return f"{one.title}({house.address})" if house and house.address else one.title

    def _roomed(self, meaning: Meaning) -> Meaning:
        """The stairwell and the dwelling in the house that was found, as far as they are registered."""
        read, house = meaning.read, meaning.house
        rooms = self.rooms.get(house.id) if house and self.inside else None
        if rooms is None:
            return meaning
        if any(meaning.kept):
            unit, dwelling = (str(id) if id else None for id in meaning.kept)
            return replace(meaning, unit=unit, dwelling=rooms.ids.index(dwelling) if dwelling in rooms.ids else None)
        unit = None
        if read.unit and rooms.stairs:
            units = rooms.stairs.get(read.unit, [])
            if not units:
                return replace(meaning, missing="unit")
            unit = units[0] if len(units) == 1 else None
        meaning = replace(meaning, unit=unit) if unit else meaning
        if not (read.room or read.side) or not rooms.ids:
            return meaning
        fitting = self._dwellings(meaning, rooms)
        if len(fitting) == 1:
            return replace(meaning, dwelling=fitting[0], unit=rooms.units[fitting[0]] or unit, count=1)
        return replace(meaning, missing=None if fitting else "dwelling", count=len(fitting))

    @staticmethod
    def _dwellings(meaning: Meaning, rooms: Rooms) -> list[int]:
        read = meaning.read
        key = read.room or f"{'' if read.floor is None else read.floor}{(read.side or '').removesuffix('边')}"
        return [at for at in rooms.numbered.get(key, ()) if not meaning.unit or rooms.units[at] in (meaning.unit, None)]

    def _titled(self, meaning: Meaning) -> str:
        if meaning.house is None:
            return self.titles[meaning.compound] if meaning.compound else ""
        parts = [meaning.house.title]
        rooms = self.rooms.get(meaning.house.id)
        if rooms and meaning.unit:
            parts.append(rooms.titles[meaning.unit])
        if rooms and meaning.dwelling is not None:
            name = rooms.names[meaning.dwelling]
            parts.append(f"{name}室" if name.isalnum() and name.isascii() else name)
        return "".join(parts)

    def _scope(self, meaning: Meaning) -> str:
        return meaning.house.scope if meaning.house else self.scopes[meaning.compound] if meaning.compound else ""


def _precision(meaning: Meaning) -> Precision:
    return "dwelling" if meaning.dwelling is not None else "building" if meaning.house else "compound"


@lru_cache(10_000)
def _house_called(name: str) -> tuple[str, str, str | None, Kind]:
    """A building's name in one spelling, and of it what stands before the number, the number and what that counts."""
    told = cardinal(numbering.plain(name)).replace(" ", "")
    if found := NAMED.fullmatch(told):
        return told, keyed(found["own"]), numeral(found["number"]), numbering.kind(found["kind"])
    return told, "", None, "any"


@lru_cache(10_000)
def _stair(name: str) -> str:
    """The number of a stairwell, of its name."""
    return numeral(re.sub(rf"(?:{numbering.UNIT})$", "", cardinal(numbering.plain(name)).replace(" ", "")))


@lru_cache(10_000)
def _roomy(name: str, floor: int | None) -> str:
    """What a dwelling is found by: the number of its room, else its floor and side."""
    told = cardinal(numbering.plain(name)).replace(" ", "").upper()
    if found := DWELLING.fullmatch(told):
        return numeral(found["room"])
    return f"{'' if floor is None else floor}{re.sub('户|室|套|边', '', told[-3:])}"


def _sound(name: str) -> str:
    """How a name sounds, without tones."""
    # Imported here: its dictionary costs 30 MB, which a file that is written well need not pay.
    from pypinyin import lazy_pinyin

    return "".join(lazy_pinyin(name))


def _neighbours(name: str, least: int = 3) -> Iterator[str]:
    """A name, and it with any one character left out: two names that share one of these are a slip of the pen apart."""
    yield name
    if len(name) >= least:
        yield from (name[:at] + name[at + 1 :] for at in range(len(name)))


def headed(columns: Iterable[str]) -> tuple[str | None, str | None]:
    """Of a file's columns, that which says in words where something is, and that which says in which compound."""
    told = {re.sub(r"[\s_():]+", "", keyed(column)): column for column in columns}
    words = next((column for heading, column in told.items() if HEADED.fullmatch(heading)), None)
    return words, next((column for heading, column in told.items() if AROUND.fullmatch(heading)), None)


def staired(columns: Iterable[str]) -> str | None:
    """Of a file's columns, that which says in which stairwell."""
    return next((column for column in columns if STAIRED.fullmatch(re.sub(r"[\s_():]+", "", keyed(column)))), None)


def searched(connection: sa.Connection, text: str, within: str | None = None) -> Found:
    """What comes of one address, for the caller bound to `connection`: of a field of search, or the words of a ticket."""
    return Matcher.ready(connection, within, about=text).one(text)


def points(connection: sa.Connection, found: Iterable[Found | Candidate]) -> dict[UUID, tuple[float, float]]:
    """A point inside each house and compound found, lon and lat in degrees, by its id."""
    told = [*found]
    houses, compounds = {one.building for one in told} - {None}, {one.compound for one in told} - {None}
    rows = statements.run(connection, "points_addressed", houses=[*houses], compounds=[*compounds])
    return {row.id: (row.lon, row.lat) for row in rows}


def called(connection: sa.Connection, ids: Iterable[str]) -> dict[str, str]:
    """What people call compounds, buildings, stairwells and dwellings, by id: those that the caller may see."""
    told = sorted({*ids})
    found = [*statements.run(connection, "houses_titled", ids=told)]
    if connection.scalar(sa.text("SELECT has_any_column_privilege('dwellings', 'SELECT')")):
        found += statements.run(connection, "dwellings_titled", ids=told)
    return {str(row.id): row.title for row in found}


def areas(connection: sa.Connection, found: Iterable[Found | Candidate]) -> dict[str, str]:
    """The names of the areas in which places lie, by path."""
    return {row.path: row.title for row in statements.run(connection, "areas_titled", paths=sorted({one.scope for one in found}))}


def meant(found: Found | Candidate) -> tuple[Part, UUID] | None:
    """The place that was found, as far in as it goes."""
    parts: tuple[tuple[Part, UUID | None], ...] = (
        ("dwelling", found.dwelling), ("unit", found.unit), ("building", found.building), ("compound", found.compound),
    )
    return next(((part, id) for part, id in parts if id), None) if found.precision else None


def offered(matcher: Matcher, found: Found) -> list[Offer]:
    """What may be said of an address for which nothing was found, the likeliest first: no more of its words than what is strange in them."""
    told: dict[UUID, Offer] = {}
    for one in found.candidates:
        place = meant(one)
        if found.missing == "compound" and one.compound:
            place = "compound", one.compound
        elif found.missing == "building" and one.building:
            place = "building", one.building
        if place is None:
            continue
        part, target = place
        words = matcher.worded(found.address, part, Hint())
        title = matcher.titles[target] if part == "compound" else matcher.houses[target].title if part == "building" else one.title
        if len(words) > 1:
            told.setdefault(target, Offer(words, part, target, title))
    return list(told.values())


def titled(connection: sa.Connection, asked: str = "", most: int = 500) -> list[dict[str, Any]]:
    """What people have said that words mean, the latest first, with the name of the place and its area; of those in which `asked` occurs."""
    known = aliases(connection)[::-1]
    if not known:
        return []
    titles = statements.run(connection, "aliases_titled", ids=[row["id"] for row in known])
    named = {row.id: row for row in titles}
    rows = [{**row, "title": named[row["id"]].title, "area": named[row["id"]].area} for row in known]
    return [row for row in rows if asked in row["text"] or asked in row["title"]][:most]


def aliases(connection: sa.Connection) -> list[sa.RowMapping]:
    """What people have said that words mean, where the caller answers for it."""
    return [*statements.run(connection, "aliases_addressed", within=None).mappings()]


def aliased(
    matcher: Matcher, text: str, part: Part, target: UUID, source: str = "", hint: Hint | None = None
) -> tuple[UUID, str]:
    """Keep that the words of an address, as far as `part` of it, mean `target`: the id of what is kept, and the words.

    The same words mean it from the next matcher on, to whoever answers for the place. Raises `Invalid` for words that name no
    compound or street, seem to name a person, or are the name of another place; `NotFound` for a target that is not there for the
    caller, `Forbidden` for who may not write.
    """
    read = parsed(text)
    words = matcher.worded(read, part, hint or Hint())
    if len(words) < 2:
        raise Invalid("地址里没有小区或街路名:请先选定小区,再记下这种写法。", field="text")
    if _personal(matcher._bare(read.where)):
        raise Invalid("“{words}”像是人名,不能记。确是地名的,请写进小区的别名。", field="text", words=matcher._bare(read.where))
    known = [place for place in matcher.names.get(words, ()) if place.how == "name"]
    if known and target not in [place.id for place in known]:
        raise Invalid("“{words}”本来就是一处地方的名称,不能改指别处。", field="text", words=words)
    with db.translated():
        kept = statements.run(matcher.connection, "alias_kept", words=words, part=part, target=target, source=source[:200]).scalar_one()
    return kept, words


def unaliased(connection: sa.Connection, alias: UUID) -> None:
    """Keep an alias no longer. Raises `NotFound` for one that is not the caller's to end."""
    with db.translated():
        statements.run(connection, "alias_ended", alias=alias)


def _personal(words: str) -> bool:
    """Whether words seem to be the name of a person, alone or before a title or a home."""
    bare = re.sub("(?:先生|女士|家|老师|师傅|阿姨|叔叔|奶奶|爷爷|户|业主|房东|租客)+$", "", words)
    return bare != words or (2 <= len(bare) <= 4 and bare[0] in SURNAMES and not bare.endswith(PLACES) and not re.search(r"[^一-鿿]", bare))
