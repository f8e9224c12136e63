"""What a file is: which noun its rows are, which field each column is, and what of it is not taken in.

A proposal with its evidence, for a person to look at and correct. Pure: it sees headings, a sample of values and names,
and knows neither database nor clock. Where two readings are as good as one another it says so and takes the one that
the declarations put first; what it cannot read stays with the record as it came.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from geo import secrets
from geo.catalog import LEVELS, RESOURCES
from geo.catalog.spellings import (
    BEFORE,
    BELONGING,
    CALLED,
    GIVEN,
    HEADS,
    LEVELLED,
    NOUNS,
    REFERRING,
    TAILS,
    UNITS,
)
from geo.language import Said, translated
from geo.resource import Field, Resource
from geo.values import Reader, alike, plain

SCHEMES = Path(__file__).parents[1] / "data" / "codes" / "code_schemes.json"
# Rows about people carry no columns that were not asked for.
BARE = ("residents", "households", "posts")
# Durations in a sample are read from here: what they come to does not matter.
MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
# Below this, a file is none of our nouns: it may become a layer of its own.
FITS = 0.35


class Described(Protocol):
    """What is known of a file before its rows are read (`geo.files.Described`)."""

    @property
    def columns(self) -> Mapping[str, list[object]]:
        """Columns, each with a sample of its values."""

    @property
    def position_columns(self) -> list[str]:
        """Those that hold coordinates."""

    @property
    def sample(self) -> Iterable[Any]:
        """Some of its shapes."""


@dataclass(frozen=True)
class Proposed:
    """The column that a field is read from, why, and whether nothing speaks against it."""

    column: str
    because: Said
    sure: bool


@dataclass(frozen=True)
class Given:
    """A value for every row, which the file's name or its codes say."""

    value: str
    because: Said
    sure: bool


@dataclass(frozen=True)
class Fit:
    """How well a file fits a noun, 0 to 1, and why."""

    name: str
    score: float
    because: Said


@dataclass(frozen=True)
class Scheme:
    """The code scheme that the codes of a column keep, the level of area they are of, and how many of them do, 0 to 1."""

    name: str
    level: str
    share: float


@dataclass(frozen=True)
class Proposal:
    """What a file seems to be. Columns are told once each: matched, extra, dropped, refused, or of the position."""

    resource: str | None  # for which the columns are told: as asked, else the best that fits; None: an own layer
    resources: tuple[Fit, ...]
    columns: Mapping[str, Proposed]  # by field
    extras: Mapping[str, Said]  # kept with the record, and why they are no field's
    dropped: Mapping[str, Said]  # personal, or not asked for of people
    refused: Mapping[str, Said]  # of a category that is taken in from nobody
    missing: tuple[str, ...]  # required fields with neither column nor value
    values: Mapping[str, Given] = field(default_factory=dict)  # by field, where no column is
    cells: Mapping[str, Said] = field(default_factory=dict)  # columns of which some cells are refused (`secrets.refused`)
    scheme: Scheme | None = None
    counted: bool = False  # rows are counts by area: no cell of theirs is anybody's


@dataclass(frozen=True)
class Claim:
    """A heading under which a field may come. Smaller ranks are better evidence."""

    field: str
    rank: float
    because: Said
    order: int = 0


# Ranks: how a heading came to be a field's.
ORDERED, REMEMBERED, TITLE, ALIAS, USUAL, CUT, PINYIN, LOOSE, BY_VALUE = range(9)
WEIGHTS = (1.0, 1.0, 1.0, 1.0, 0.85, 0.6, 0.6, 0.35, 0.25)
NONE: Mapping[str, str] = {}


def proposed(
    described: Described, resource: str | None, remembered: Mapping[str, str] | None = None, called: str = "", *,
    ordered: Mapping[str, str] = NONE, given: Collection[str] = (),
) -> Proposal:
    """What the file is. `resource`: the noun, where somebody said; `remembered`: field → column, as this sender's last file
    was settled; `called`: the name of the file, and of the layer in it; `ordered`: field → column, as the sender says of
    this file; `given`: fields that have a value for every row, and so no column.

    Raises `KeyError` for a noun that there is not.
    """
    columns = {name: values for name, values in described.columns.items() if name not in described.position_columns}
    counted = _counts(columns)
    refused, cells = _refused(columns, counted)
    usable = {name: values for name, values in columns.items() if name not in refused}
    shape = _shape(described)
    matches = {
        name: _matched(RESOURCES[name], usable, {REMEMBERED: remembered or NONE, ORDERED: ordered}, given)
        for name in ([resource] if resource else RESOURCES)
    }
    if resource:
        fits: tuple[Fit, ...] = (Fit(resource, 1.0, Said("按指定的资源")),)
    else:
        ranked = [_fit(RESOURCES[name], match, usable, shape, called) for name, match in matches.items()]
        fits = tuple(sorted(ranked, key=lambda fit: -fit.score))
    chosen = fits[0].name if fits[0].score >= FITS else None
    if chosen is None:
        return alone(described, fits)
    proposal = _told(RESOURCES[chosen], matches[chosen], usable, fits, called, given)
    return replace(proposal, refused=refused, cells=_kept(cells, proposal.dropped), counted=counted)


def _kept(cells: Mapping[str, Said], dropped: Mapping[str, Said]) -> dict[str, Said]:
    return {name: why for name, why in cells.items() if name not in dropped}


def alone(described: Described, fits: tuple[Fit, ...] = ()) -> Proposal:
    """The file as a layer of its own, whatever noun it may fit: every column is taken but what is refused or looks personal."""
    columns = {name: values for name, values in described.columns.items() if name not in described.position_columns}
    counted = _counts(columns)
    refused, cells = _refused(columns, counted)
    usable = {name: values for name, values in columns.items() if name not in refused}
    dropped = {name: told for name, values in usable.items() if (told := _dropped(name, values))}
    extras = {name: Said("没有合适的资源,可作为自有图层的一列") for name in usable if name not in dropped}
    return Proposal(None, fits, {}, extras, dropped, refused, (), cells=_kept(cells, dropped), counted=counted)


def left_out(title: str, values: Sequence[object], counted: bool) -> Said | None:
    """Why a column is not taken into a layer of its own, if it is not: refused whole, or personal."""
    return _refused({title: values}, counted)[0].get(title) or _dropped(title, values)


def _told(
    noun: Resource, match: "Match", columns: Mapping[str, list[object]], fits: tuple[Fit, ...], called: str, given: Collection[str],
) -> Proposal:
    taken = {proposed.column for proposed in match.columns.values()}
    extras: dict[str, Said] = {}
    dropped = dict(match.dropped)
    for name, sample in columns.items():
        if name in taken or name in dropped:
            continue
        if why := _dropped(name, sample):
            dropped[name] = why
        elif noun.name in BARE:
            dropped[name] = Said("这里只收声明过的列")
        else:
            extras[name] = match.rivals.get(name) or Said("没有字段认领,随记录保存")
    told = ["code"] if noun.name == "areas" else ["stated_area", "area", "stated_grid"]
    schemes = (scheme_of(columns[match.columns[name].column]) for name in told if name in match.columns)
    scheme = next(filter(None, schemes), None)
    values = {name: one for name, one in _given(noun, match, scheme, called).items() if name not in given}
    missing = tuple(
        declared.name for declared in noun.writable
        if declared.required and declared.default is None and declared.name not in {*match.columns, *values, *given}
    )
    return Proposal(noun.name, fits, match.columns, extras, dropped, {}, missing, values, scheme=scheme)


def _given(noun: Resource, match: "Match", scheme: Scheme | None, called: str) -> dict[str, Given]:
    """What the file's name says of all its rows, and of areas what their codes do; sure where one does not deny the other."""
    found: dict[str, Given] = {}
    text = unicodedata.normalize("NFKC", called).casefold()
    for key, words in GIVEN.items():
        name, _, of = key.partition(".")
        if name != noun.name or of in match.columns:
            continue
        word, value = next(((word, value) for word, value in words if word in text), (None, ""))
        if word is not None:
            found[of] = Given(value, Said("文件名里有“{word}”", {"word": word}), True)
        if of == "level" and scheme is not None:
            because = Said("编码的位数是“{level}”这一级的", {"level": next(c.title for c in LEVELS if c.code == scheme.level)})
            found[of] = Given(scheme.level, because, word is None or value == scheme.level)
    return found


def _refused(columns: Mapping[str, Sequence[object]], counted: bool) -> tuple[dict[str, Said], dict[str, Said]]:
    """Columns that are refused whole, and those of which some cells are: of categories that are taken in from nobody."""
    whole: dict[str, Said] = {}
    cells: dict[str, Said] = {}
    for name, values in columns.items():
        if secrets.refused_title(name) and secrets.looks_personal(name, values) is secrets.Personal.REFUSED:
            whole[name] = Said("列名属于不收的一类,整列不收")
            continue
        texts = [text for value in values if (text := plain(value))]
        found = [category for text in texts if (category := secrets.refused(text))]
        if not found or (counted and len({*texts}) <= LABELS and max(map(len, texts)) <= 15):
            continue
        facts = {"count": len(found), "categories": tuple(dict.fromkeys(found))}
        if len(found) > len(texts) * SOME:
            whole[name] = Said("样本里有 {count} 格写着不收的情况({categories}),整列不收", facts)
        else:
            cells[name] = Said("样本里有 {count} 格写着不收的情况({categories}),这些格不收", facts)
    return whole, cells


# A table that counts, by kinds of which there are so few.
LABELS = 60
# Up to this share, a column with such cells is one of remarks, and the others are taken.
SOME = 0.2
COUNT = re.compile("^(?:count|num|number|total|.*(?:数量|例数|人数|人次|数))$", re.I)
AREA = re.compile("街道|社区|镇|乡|村|^[省市区县]$|行政区|区域|province|city|district|street|community|county", re.I)
HOUSED = re.compile("楼|栋|幢|单元|室|户|门牌|地址|住址|address|building|room", re.I)


def _counts(columns: Mapping[str, Sequence[object]]) -> bool:
    """Whether rows are counts by area (so many 感染者 in a street), and no row is anybody's: counts are public."""
    titles = [unicodedata.normalize("NFKC", name).strip() for name in columns]
    counted = any(COUNT.match(title) and all(isinstance(v, int | float) or str(v).isdecimal() for v in values if v is not None)
                  for title, values in zip(titles, columns.values(), strict=True))
    return (
        counted and any(map(AREA.search, titles)) and not any(map(HOUSED.search, titles))
        and not any(secrets.personal(name, values) for name, values in columns.items())
    )


def _dropped(title: str, values: Iterable[object]) -> Said | None:
    kind = secrets.personal(title, values)
    return Said("像是个人信息({kind}),没有收", {"kind": kind.value}) if kind else None


def _misplaced(declared: Field, values: Iterable[object]) -> Said | None:
    """Why a column is left out though its heading is a field's: it holds what that field may not hold in plain text."""
    if declared.secret or declared.name_of_person:
        return None
    kind = secrets.wholly_personal(values)
    if kind is None or (kind is secrets.Personal.PHONE and declared.name.endswith("phone")):
        return None
    return Said("像是个人信息({kind}),没有收", {"kind": kind.value})


@dataclass
class Match:
    """The columns of a file as the fields of one noun."""

    columns: dict[str, Proposed] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)  # how much each of those says, by field, 0 to 1
    rivals: dict[str, Said] = field(default_factory=dict)  # columns that another was better than
    dropped: dict[str, Said] = field(default_factory=dict)


def _matched(
    noun: Resource, columns: Mapping[str, list[object]], settled: Mapping[int, Mapping[str, str]], given: Collection[str]
) -> Match:
    """Each column to the field that its heading and values speak for most; the best evidence first."""
    match = Match()
    fields = {declared.name: at for at, declared in enumerate(noun.writable) if declared.name not in given}
    claims = {column: [claim for claim in _claims(noun, column) if claim.field in fields] for column in columns}
    said = {REMEMBERED: Said("上次这样对应"), ORDERED: Said("按您的指定")}
    for rank, chosen in settled.items():
        for name, column in chosen.items():
            if column in columns and name in fields:
                claims[column] = [Claim(name, rank, said[rank]), *(claim for claim in claims[column] if claim.field != name)]
    offers: list[Offer] = []
    for at, (column, found) in enumerate(claims.items()):
        variety = len({text for value in columns[column] if (text := plain(value))})
        coded = scheme_of(columns[column]) if noun.name == "areas" else None
        for claim in found:
            share = 1.0 if claim.rank <= REMEMBERED else _readable(noun, noun[claim.field], column, columns[column])
            preference = -variety if claim.field in AREAL else -int(coded is not None) if claim.field == "code" else 0
            if share >= 0.5 or claim.rank < CUT:
                offers.append(Offer(column, claim, share, fields[claim.field], preference, at))
    full = {column: sum(plain(value) is not None for value in values) / max(1, len(values)) for column, values in columns.items()}
    fullest = {offer.claim.field: 0.0 for offer in offers}
    for offer in offers:
        fullest[offer.claim.field] = max(fullest[offer.claim.field], full[offer.column])
    offers = [replace(offer, bare=full[offer.column] < 0.1 and fullest[offer.claim.field] > 0.5) for offer in offers]
    _assigned(noun, match, sorted(offers, key=Offer.strength), columns)
    _by_values(noun, match, columns, given)
    return match


@dataclass(frozen=True)
class Offer:
    """A column for a field: by which claim, and how many of its values can be read, 0 to 1."""

    column: str
    claim: Claim
    share: float
    field_order: int
    preference: int
    column_order: int
    bare: bool = False  # hardly a row has a value, where most have one in another column for the field

    @property
    def rank(self) -> float:
        """The claim's, made worse where the values deny the heading, or there are hardly any: an empty 名称 beside a full 社区 names nothing."""
        return self.claim.rank + (0 if self.share >= 0.5 else 3) + (6 if self.bare and self.claim.rank > REMEMBERED else 0)

    def strength(self) -> tuple[float, ...]:
        """By which offers are taken in turn."""
        return self.rank, self.field_order, self.preference, self.claim.order, self.column_order


# Fields that name the area of a row: of several columns that do, the finest, which is the one with the most values. Of
# several columns of codes, one that keeps a code scheme.
AREAL = ("parent", "stated_area")


def _assigned(noun: Resource, match: Match, offers: Sequence[Offer], columns: Mapping[str, list[object]]) -> None:
    best: dict[str, float] = {}
    first: dict[str, set[str]] = {}
    for offer in offers:
        if int(offer.rank) == int(best.setdefault(offer.column, offer.rank)):
            first.setdefault(offer.column, set()).add(offer.claim.field)
    taken: set[str] = set()
    for offer in offers:
        column, claim = offer.column, offer.claim
        if column in taken or column in match.dropped:
            continue
        title = noun[claim.field].title
        if claim.field in match.columns:
            told = Said("和“{column}”都像“{title}”,取了“{column}”", {"column": match.columns[claim.field].column, "title": title})
            match.rivals.setdefault(column, told)
            continue
        if why := _misplaced(noun[claim.field], columns[column]):
            match.dropped[column] = why
            continue
        because = claim.because
        if offer.share < 0.5:
            because = Said("列名像“{title}”,但样本里只有 {percent}% 的值能识别", {"title": title, "percent": round(offer.share * 100)})
        plainly = offer.rank < CUT or (offer.rank < LOOSE and len(alike(column)) > 2)
        sure = plainly and offer.share >= 0.5 and len(first[column]) == 1
        match.columns[claim.field] = Proposed(column, because, sure)
        match.weights[claim.field] = WEIGHTS[int(claim.rank)] * (offer.share if offer.share < 0.5 else 1) / math.sqrt(_spread(column))
        taken.add(column)
        match.rivals.pop(column, None)


def _readable(noun: Resource, declared: Field, column: str, values: Sequence[object]) -> float:
    """How many of the sample's values are values of the field, 0 to 1: 1 where that needs the database, or there are none."""
    if declared.listed or declared.refers or (declared.type is str and not declared.choices):
        return 1.0
    texts = {text: value for value in values if (text := plain(value)) is not None}
    if not texts:
        return 1.0
    read = Reader(declared, noun.name, now=MOMENT, title=column).read(list(texts.values()), suggest=False)
    return 1 - len(read.wrong) / len(texts)


def _by_values(noun: Resource, match: Match, columns: Mapping[str, list[object]], given: Collection[str]) -> None:
    """Columns whose heading says nothing, by what is in them. Never a field about a person."""
    taken = {proposed.column for proposed in match.columns.values()}
    for name, values in columns.items():
        if name in taken or name in match.dropped or name in match.rivals:
            continue
        texts = sorted({text for value in values if (text := plain(value))})
        if len(texts) < 2 or len(texts) > LABELS or all(text.isdecimal() for text in texts) or secrets.personal(name, values):
            continue
        for declared in noun.writable:
            if declared.name in {*match.columns, *given} or not declared.choices or declared.secret or declared.name_of_person:
                continue
            if _readable(noun, declared, name, values) >= 0.8:
                because = Said("列里的值多是“{title}”的可选值", {"title": declared.title})
                match.columns[declared.name] = Proposed(name, because, False)
                match.weights[declared.name] = WEIGHTS[BY_VALUE]
                taken.add(name)
                break


# Headings.


def _claims(noun: Resource, column: str) -> list[Claim]:
    """The fields that a heading may be, the best evidence first; each field once."""
    heads = _heads(noun.name)
    found: dict[str, Claim] = {}
    for head, worse, because in _forms(column):
        for claim in heads.get(head, ()):
            rank = claim.rank + worse
            if claim.field not in found or rank < found[claim.field].rank:
                found[claim.field] = replace(claim, rank=rank, because=because or claim.because)
    return sorted(found.values(), key=lambda claim: (claim.rank, claim.order))


def _forms(column: str) -> Iterator[tuple[str, float, Said | None]]:
    """A heading as it is, and without what is hung on it: a number before it, a unit or a remark in brackets behind."""
    yield alike(column), 0, None
    text = unicodedata.normalize("NFKC", column).strip()
    bared = re.sub(r"[(\[【{〔][^()\[\]【】{}〔〕]*[)\]】}〕]?", "", text)
    bared = re.sub(r"^\s*[(]?[\d一二三四五六七八九十]{1,2}[.、)]\s*", "", bared).strip()
    head, _, unit = bared.rpartition("/")
    if head and unit.strip().casefold() in UNITS:
        bared = head
    if alike(bared) != alike(column):
        yield alike(bared), 0.4, Said("去掉单位和括号后,“{head}”是它的写法", {"head": bared})
    parts = [part for part in re.split(r"[/|>\n]", text) if part.strip()]
    if len(parts) > 1 and parts[-1].strip().casefold() not in UNITS:
        yield alike(parts[-1]), 0.6, Said("表头的最下一行“{head}”是它的写法", {"head": parts[-1].strip()})
    for start in BEFORE:
        if bared.startswith(start) and len(bared) > len(start) + 1:
            yield alike(bared[len(start) :]), LOOSE - ALIAS, Said("“{head}”是它的写法", {"head": bared[len(start) :]})


def prepared() -> None:
    """Know all headings before a file is there: half a second, most of it how characters are read."""
    for name in RESOURCES:
        _heads(name)


@cache
def _heads(name: str) -> dict[str, tuple[Claim, ...]]:
    """Every heading that a field of the noun may come under, with its claims, the best first."""
    noun = RESOURCES[name]
    found: dict[str, dict[str, Claim]] = {}

    def add(declared: Field, text: str, rank: float, order: int, because: Said) -> None:
        head = alike(text)
        known = found.setdefault(head, {})
        if head and (declared.name not in known or rank < known[declared.name].rank):
            known[declared.name] = Claim(declared.name, rank, because, order)

    for declared in noun.writable:
        facts = {"title": declared.title}
        exact = [*declared.spellings]
        usual = [text for text in _usual(noun, declared) if text not in exact]
        for order, text in enumerate(exact):
            add(declared, text, TITLE if order < 2 else ALIAS, order, Said("列名就是“{title}”" if order < 2 else "列名是“{title}”的别名", facts))
        for order, text in enumerate(usual):
            add(declared, text, USUAL, order, Said("列名是“{title}”的常见写法", facts))
        if declared.name in AREAL or (name, declared.name) == ("areas", "name"):
            for order, text in enumerate(LEVELLED):
                # Areas have a name before they have one above them.
                add(declared, text, LOOSE if noun.name == "areas" else USUAL, order + 50 * (declared.name != "name"), Said("列名是“{title}”的常见写法", facts))
        for order, text in enumerate([*exact, *usual]):
            worse = 0 if text in exact else 0.5
            for head in _cut(text):
                add(declared, head, CUT + worse, order, Said("列名是“{spelling}”截成十个字节后的样子", {"spelling": text}))
            for how, head in _pinyin(text):
                add(declared, head, PINYIN + worse, order, Said(how, {"spelling": text}))
    return {head: tuple(sorted(claims.values(), key=lambda claim: claim.rank)) for head, claims in found.items() if head}


def _usual(noun: Resource, declared: Field) -> list[str]:
    """What else a field is called: its title in English, with its noun in front, or by the noun that it refers to."""
    texts = [translated(declared.title, "en"), *HEADS.get(f"{noun.name}.{declared.name}", ()), *HEADS.get(declared.name, ())]
    for word in NOUNS[noun.name]:
        texts += [word + tail for tail in TAILS.get(declared.name, ())]
    if declared.refers:
        for word in NOUNS["areas" if declared.refers == "area_paths" else declared.refers]:
            texts += [before + word + tail for tail in REFERRING for before in ("", *BELONGING)]
    return list(dict.fromkeys(texts))


def _cut(text: str) -> Iterator[str]:
    """A heading cut to the ten bytes that a DBF has for it, with half a character left out."""
    for encoding in ("utf-8", "gb18030"):
        head = text.encode(encoding)[:10].decode(encoding, "ignore")
        if head != text and len(head) > 1:
            yield head


def _pinyin(text: str) -> Iterator[tuple[str, str]]:
    """A Chinese heading in Latin letters: initials, and whole syllables; with each reading of what has several."""
    if not re.fullmatch(r"[一-鿿]{2,12}", text):
        return
    # 59 MB and a fifth of a second: for the worker that reads a file, not for whoever only imports this.
    from pypinyin import Style, lazy_pinyin, pinyin

    readings = [lazy_pinyin(text)]
    each = [sorted({*syllables}) for syllables in pinyin(text, style=Style.NORMAL, heteronym=True)]
    if math.prod(map(len, each)) <= 16:
        readings += [list(reading) for reading in product(*each)]
    for reading in readings:
        yield "列名是“{spelling}”的拼音首字母", "".join(syllable[0] for syllable in reading)
        for whole in {"".join(reading), "".join(reading).replace("v", "u")}:
            yield "列名是“{spelling}”的拼音", whole


# Nouns.


def _shape(described: Described) -> str | None:
    """The kind of most of its shapes, as far as that is known: of a table with coordinates, points."""
    kinds = Counter(shape.geom_type.upper() for shape in described.sample if shape is not None)
    most = kinds.most_common(1)
    found = next((kind for kind in ("POLYGON", "LINESTRING", "POINT") if most and kind in most[0][0]), None)
    return found or ("POINT" if described.position_columns else None)


def _fit(noun: Resource, match: Match, columns: Mapping[str, list[object]], shape: str | None, called: str) -> Fit:
    """How far headings, shapes, values and the file's name speak for a noun."""
    needed = [f.name for f in noun.writable if f.required and f.default is None and f.name != "level"]
    had = [name for name in needed if name in match.columns]
    score = 0.6 * (1 - math.exp(-sum(match.weights.values()) / 1.5))
    word = _word(noun.name, called)
    like = _named_like(noun, match, columns)
    score += 0.3 * bool(word) + 0.25 * like
    score *= 0.4 + 0.6 * (len(had) / len(needed) if needed else 1)
    if noun.geometry and shape:
        score *= 1 if shape in noun.geometry else 0.2
    elif noun.geometry is None and shape:
        score *= 0.4
    return Fit(noun.name, round(min(score, 1.0), 3), _why(noun, match, word, len(columns)))


def _why(noun: Resource, match: Match, word: str | None, count: int) -> Said:
    facts = {"count": len(match.columns), "all": count, "titles": tuple(noun[name].title for name in list(match.columns)[:6])}
    if not match.columns:
        return Said("文件名里有“{word}”,列都对不上", {"word": word}) if word else Said("没有一列对得上")
    if word:
        return Said("文件名里有“{word}”;{all} 列里有 {count} 列对得上:{titles}", {"word": word, **facts})
    return Said("{all} 列里有 {count} 列对得上:{titles}", facts)


@cache
def _spread(column: str) -> int:
    """In how many nouns a heading would be a field as well as here: 名称 says little, 栋号 much."""
    return max(1, sum(any(claim.rank < CUT for claim in _claims(noun, column)) for noun in RESOURCES.values()))


def _word(name: str, called: str) -> str | None:
    """The word of a file's name that says it holds this noun: of overlapping words only the longest counts."""
    text = unicodedata.normalize("NFKC", called).casefold()
    words = sorted(((word, noun) for noun, words in CALLED.items() for word in words), key=lambda pair: -len(pair[0]))
    for word, noun in words:
        pattern = rf"(?<![a-z]){re.escape(word)}(?![a-z])" if word.isascii() else re.escape(word)
        if re.search(pattern, text):
            if noun == name:
                return word
            text = re.sub(pattern, " ", text)
    return None


# How the names of a noun end.
ENDS: dict[str, str] = {
    "areas": "(?:网格|社区|居委会|村|街道|镇|乡|区|县|微格|居民委员会|村民委员会|街道办事处|市|省|州|盟|旗)$",
    "compounds": "(?:小区|苑|花园|家园|公寓|新村|名邸|府|庭|里|城|院|大院|宿舍)$",
    "buildings": r"(?:幢|栋|号楼|座|#楼?)$",
    "units": r"(?:单元|梯)$",
    "dwellings": r"(?:室)$",
    "roads": "(?:路|街|大道|巷|弄|线|高速|道)$",
    "facilities": "(?:医院|卫生院|服务站|服务中心|学校|小学|中学|幼儿园|超市|避灾点|活动室|药店|公园)$",
    "organisations": "(?:公司|厂|店|中心|协会|队|局|所|委员会)$",
    "entrances": "(?:门|出入口|出口|入口)$",
    "zones": "(?:封控区|管控区|防范区|风险区)$",
    "checkpoints": "(?:卡口|岗)$",
    "parts": "(?:井盖|路灯|灯|栓|箱|桶|树|牌|栏)$",
}


def _named_like(noun: Resource, match: Match, columns: Mapping[str, list[object]]) -> float:
    """How many of its names end, or of codes are made, like those of the noun, 0 to 1."""
    like = 0.0
    if noun.name in ENDS and noun.label in match.columns:
        texts = [text for value in columns[match.columns[noun.label].column] if (text := plain(value))]
        like = sum(bool(re.search(ENDS[noun.name], text)) for text in texts) / len(texts) if texts else 0.0
    if noun.name == "areas" and "code" in match.columns and (scheme := scheme_of(columns[match.columns["code"].column])):
        like = max(like, 0.8 * scheme.share)
    return like


# Codes.


@cache
def _schemes() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    told = json.loads(SCHEMES.read_text(encoding="utf-8")) if SCHEMES.exists() else []
    return tuple(
        (scheme["name"], level, re.compile(pattern)) for scheme in told for level, pattern in scheme["patterns"].items()
    )


def scheme_of(values: Iterable[object]) -> Scheme | None:
    """The code scheme and level that most of the codes keep, the first of those that as many do; None where few do."""
    texts = [text for value in values if (text := plain(value))]
    if not texts:
        return None
    counted = [(sum(bool(p.fullmatch(text)) for text in texts) / len(texts), name, level) for name, level, p in _schemes()]
    share, name, level = max(counted, key=lambda found: found[0], default=(0.0, "", ""))
    return Scheme(name, level, share) if share >= 0.8 else None


