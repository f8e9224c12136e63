"""In which house, stairwell and dwelling rows are, however their sheet says it.

A sheet names them by code, by numbers that count within one another (3幢, 2, 501), or writes a whole address under any of its
headings. Codes are sure, and so is a name that one thing alone has in a house that is known; all else is an address, and there
is one matcher for those. What is found brings along what it lies in. What is not is work for a person: nothing is guessed.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

import sqlalchemy as sa

from geo import statements
from geo.addresses import Address, Found, Hint, Matcher, parsed
from geo.language import Said
from geo.numbering import NUMBER

PARTS = ("building", "unit", "dwelling")
# Where words may stand in place of a code; a household is none of a house, but 3-2-501 under its heading tells of one.
HEADINGS = (*PARTS, "household")

BARE = re.compile(rf"(?:{NUMBER}|[甲乙丙丁])")
ROOM = re.compile(r"[A-Za-z]?\d{1,5}[A-Za-z]?")
SIDE = re.compile("[东南西北中左右]{1,2}边?[户室套]?")
STAIRED = re.compile(r"[-—–/]|单元|门|梯")

Ids = list[str | None]
Texts = Sequence[str | None]


@dataclass(frozen=True)
class Sayings:
    """What rows say, by field and then row by row: the ids that their codes stand for, and the texts that were no code.

    `near` are the codes that texts are a slip of the pen away from. `words` is a column of addresses beside these, `around` one
    of compounds. `kept` are the fields that the noun has: a stairwell may be told that it does not keep, to tell dwellings apart.
    `loose` are those of which the column was only guessed.
    """

    ids: Mapping[str, Texts]
    texts: Mapping[str, Texts]
    near: Mapping[str, str]
    words: Texts | None = None
    around: Texts | None = None
    kept: frozenset[str] = frozenset(HEADINGS)
    loose: frozenset[str] = frozenset()

    def text(self, name: str, at: int) -> str | None:
        """What a row has under the heading of a field in place of a code. Of a guessed column, what reads as none of a house is none."""
        texts = self.texts.get(name)
        text = texts[at] if texts is not None else None
        return None if text and name in self.loose and not _housed(text) else text

    def idle(self, at: int) -> Iterator[str]:
        """The fields under whose heading a row has what is none of a house."""
        return (name for name, texts in self.texts.items() if name in self.kept and texts[at] and self.text(name, at) is None)


@dataclass(frozen=True)
class Fault:
    """Why a row is work for a person, and what it may be."""

    at: int
    field: str
    reason: Said
    text: str
    suggestion: str = ""


@dataclass
class Seated:
    """Where rows are: ids by part. `unread` counts texts that lead to a house and no further, where no more is registered."""

    ids: dict[str, Ids]
    faults: list[Fault] = field(default_factory=list)
    precisions: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)


def seated(connection: sa.Connection, ready: Callable[[], Matcher], says: Sayings, rows: Iterable[int], count: int) -> Seated:
    """Where each of `rows` (positions, of `count`) is. `ready` is asked for a matcher when there are words to look up."""
    done = Seated({part: list(says.ids.get(part) or [None] * count) for part in PARTS})
    rows = list(rows)
    for at in rows:
        done.unread.update(says.idle(at))
    _implied(connection, done, says, rows)
    _named(connection, done, says, rows)
    asked = [at for at in rows if _open(done, says, at)]
    if asked:
        matcher = ready()
        texts = [_composed(matcher, done, says, at) for at in asked]
        hints = [Hint(where=(says.around[at] if says.around else None) or "", building=hint) for at, (_, hint) in zip(asked, texts, strict=True)]
        # The same house comes again and again.
        told = list(dict.fromkeys(zip((text for text, _ in texts), hints, strict=True)))
        found = dict(zip(told, matcher.matched([text for text, _ in told], [hint for _, hint in told]), strict=True))
        for at, (text, _), hint in zip(asked, texts, hints, strict=True):
            one = found[text, hint]
            head = _headed(says.text("building", at) or "")
            if one.building and head and not text.startswith(head) and _denied(matcher, one.building, head, hint):
                done.precisions[""] += 1
                done.faults.append(_torn(at, "dwelling", one, text))
            else:
                _settled(done, says, at, one)
    return done


def _open(done: Seated, says: Sayings, at: int) -> bool:
    """Whether a row says something in words that is not known yet."""
    if any(part in says.kept and says.text(part, at) and done.ids[part][at] is None for part in PARTS):
        return True
    return done.ids["building"][at] is None and bool(says.text("household", at) or (says.words and says.words[at]))


def _implied(connection: sa.Connection, done: Seated, says: Sayings, rows: Sequence[int]) -> None:
    """A dwelling by its code tells its house and stairwell, a stairwell or household its house."""
    households = says.ids.get("household") or ()
    sources = {"unit": done.ids["unit"], "dwelling": done.ids["dwelling"], "household": households}
    bare = [at for at in rows if done.ids["building"][at] is None]
    known = {name: sorted({id for at in bare if ids and (id := ids[at])}) for name, ids in sources.items()}
    if not any(known.values()):
        return
    found = {row.id: row for row in statements.run(connection, "houses_implied", **known)}
    for at in bare:
        for name in ("unit", "dwelling", "household"):
            ids = sources[name]
            if ids and (row := found.get(ids[at])):
                done.ids["building"][at] = row.building
                done.ids["unit"][at] = done.ids["unit"][at] or row.unit


def _named(connection: sa.Connection, done: Seated, says: Sayings, rows: Sequence[int]) -> None:
    """What carries exactly this name in a house that is known, where one does alone."""
    for part in ("unit", "dwelling"):
        told = {at: text for at in rows if done.ids["building"][at] and (text := says.text(part, at)) and done.ids[part][at] is None}
        if part == "dwelling":
            # Of a stairwell that is told and not found by its name, the words know more.
            told = {at: text for at, text in told.items() if done.ids["unit"][at] or not says.text("unit", at)}
        if not told:
            continue
        houses = sorted({str(done.ids["building"][at]) for at in told})
        known: dict[tuple[str | None, str | None, str], set[str]] = defaultdict(set)
        asked = {"houses": houses, "names": sorted(set(told.values()))}
        found = statements.run(connection, "units_named", **asked) if part == "unit" else statements.run(connection, "dwellings_named", **asked)
        for row in found:
            for unit in (row.unit, None):
                known[row.building, unit, row.name].add(row.id)
        for at, text in told.items():
            only = known.get((done.ids["building"][at], done.ids["unit"][at] if part == "dwelling" else None, text), set())
            if len(only) == 1:
                done.ids[part][at] = next(iter(only))


def _composed(matcher: Matcher, done: Seated, says: Sayings, at: int) -> tuple[str, UUID | None]:
    """The address that a row's columns make together; with a house that is known and has no number, what is in it and the house."""
    known = done.ids["building"][at]
    building, unit, dwelling = (says.text(part, at) for part in PARTS)
    if known:
        house = matcher.houses.get(UUID(known))
        building = house.title if house and house.number else ""
        if not building:
            return _inside(unit, dwelling), UUID(known)
    if dwelling and (not building or _stands(dwelling)):
        return (dwelling if _stands(dwelling) or not unit else _inside(unit, dwelling)), None
    if building:
        read = parsed(building)
        head = _headed(building)
        said = read.room is not None and dwelling is not None and dwelling.startswith(read.room)
        return head + _inside(None if read.unit else unit, None if said else dwelling), None
    return unit or says.text("household", at) or (says.words[at] if says.words else None) or "", None


def _headed(building: str) -> str:
    return f"{building}幢" if BARE.fullmatch(building) else building


def _denied(matcher: Matcher, house: UUID, text: str, hint: Hint) -> bool:
    """Whether one column's words are of another house than that which a row's words come to."""
    number, other = parsed(text).number, matcher.one(text, hint).building
    return (number is not None and number != matcher.houses[house].number) or other not in (None, house)


def _torn(at: int, name: str, found: Found, text: str) -> Fault:
    return Fault(at, name, Said("这里写的是{title},与楼栋一列不是同一栋。", {"title": found.title}), text, found.title)


def _inside(unit: str | None, dwelling: str | None) -> str:
    """Where in a house it is, as an address has it."""
    # A bare number is made a room's by its word, or 2单元 and 501 would be one number.
    room = f"{dwelling}室" if dwelling and ROOM.fullmatch(dwelling) else dwelling or ""
    if not unit or STAIRED.search(room):
        return room
    return (f"{unit}单元" if BARE.fullmatch(unit) else unit) + room


def _stands(text: str) -> bool:
    """Whether a text tells its house by itself, whatever another column says."""
    read = parsed(text)
    return read.number is not None and (bool(read.where) or read.kind == "house" or None not in (read.unit, read.room))


def _settled(done: Seated, says: Sayings, at: int, found: Found) -> None:
    """Take over what was found of a row, and tell what was not."""
    texts = {name: text for name in HEADINGS if name in says.kept and (text := says.text(name, at))}
    known = done.ids["building"][at]
    asked = next((name for name in texts if name in PARTS and done.ids[name][at] is None), next(iter(texts), "building"))
    text = texts.get(asked) or (says.words[at] if says.words else None) or ""
    likely = "、".join(candidate.title for candidate in found.candidates[:3])
    done.precisions[found.precision or ""] += 1
    if found.building is None:
        strange = found.compound is None and not _addressed(found.address) and asked in texts
        why = Said("不是已有的编码,也读不出地址") if strange else found.because[0]
        done.faults.append(Fault(at, asked, why, text, likely or says.near.get(text, "")))
        return
    if known and str(found.building) != known:
        done.faults.append(_torn(at, asked, found, text))
        return
    done.ids["building"][at] = str(found.building)
    for part, id in (("unit", found.unit), ("dwelling", found.dwelling)):
        done.ids[part][at] = done.ids[part][at] or (str(id) if id else None)
        if part in texts and done.ids[part][at] is None:
            short = found.missing == "unit" if part == "unit" else bool(found.missing or found.candidates or found.address.several)
            if short or part not in says.loose:
                why = found.because[-1] if len(found.because) > 1 else Said("只写到{title},再往里没有写。", {"title": found.title})
                done.faults.append(Fault(at, part, why, texts[part], likely))
                return
            done.unread[part] += 1
    if "household" in texts:
        done.unread["household"] += 1


@lru_cache(10_000)
def _housed(text: str) -> bool:
    """Whether a text may be of a house or of what is in one."""
    return bool(ROOM.fullmatch(text) or BARE.fullmatch(text) or SIDE.fullmatch(text)) or _addressed(parsed(text))


def _addressed(read: Address) -> bool:
    """Whether words are those of an address at all."""
    return read.number is not None or read.unit is not None or read.room is not None or read.side is not None
