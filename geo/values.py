"""What the cells of a column say, as the values of a field: dates, numbers, choices, codes, numbers of telephones.

A `Reader` is made for one column and asked for its distinct values, batch by batch. It understands or it refuses, with the
reason, and tells what it took for granted: nothing is guessed that another reading would contradict. Pure; the moment from
which durations count is handed in.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from geo import secrets
from geo.catalog.spellings import BOOLEANS, COUNTING, ENDINGS, MEASURES, SYNONYMS
from geo.db import TIME_ZONE
from geo.language import Said
from geo.resource import Field

ZONE = ZoneInfo(TIME_ZONE)
# The apostrophe by which an export keeps a spreadsheet from taking text for a formula (geo.exporting).
# Whatever about a code that is not passed on as it stands: blanks around it, marks of spreadsheets, digits lost, other scripts.
PLAINLY_ODD = r"^$|^\s|\s$|[\x00-\x1f\x7f']|[^\x00-\x7f]|^[-+]?\d(?:\.\d+)?[eE]\+?\d{1,3}$"
UNQUOTED = r"^'([-=+@＝])"
DURATION = re.compile(r"([-+]?)P(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?")
# Suggestions are looked for so many times a column: each costs a comparison with every title.
SUGGESTED = 100


@dataclass(frozen=True)
class Understood:
    """Distinct values as a field's values in text, by position; what could not be read, and what was taken for granted."""

    values: list[str | None]
    wrong: dict[int, Said]
    because: tuple[Said, ...] = ()
    suggestions: dict[int, str] = field(default_factory=dict)


class Odd(ValueError):
    """A cell that is no value of its field, and why: a sentence without its subject, which is the field and the value."""

    def __init__(self, sentence: str, **facts: object) -> None:
        super().__init__(sentence)
        self.reason = Said(sentence, facts)


@dataclass
class Reader:
    """One column's way of writing one field.

    `known`: what may be written for a listed or referring field, and what is stored for it (None: several have that name).
    `title`: the column's heading; it may name a unit, or that serial numbers are dates.
    """

    field: Field
    noun: str = ""
    known: Mapping[str, str | None] | None = None
    now: datetime | None = None
    title: str = ""

    def __post_init__(self) -> None:
        self.told: dict[str, Said] = {}
        self.days_first: bool | None = None
        heading = unicodedata.normalize("NFKC", self.title)
        self.dated = self.field.type in (date, datetime) and bool(re.search(r"日期|时间|date|time|rq$|sj$|_at$", heading, re.I))
        self.factor, self.unit = _heading_unit(self.field, heading)
        # A sheet's own percentages come as fractions, under a heading with a % too. One value above 1 tells them apart.
        self.percent, self.hundredths = False, _share(self.field) and "%" in heading
        self.taken = self._taken()
        self.read_one = self._chosen()

    @property
    def free(self) -> bool:
        """Whether any text is a value as it is, up to its length: nothing to understand, and whole columns go through."""
        declared = self.field
        return (
            declared.type is str and self.known is None
            and not (declared.choices or declared.listed or declared.refers or declared.pattern or self._numeral)
        )

    @property
    def verbatim(self) -> bool:
        """Whether a text is a value as it is but for what is `PLAINLY_ODD`: of a code, whose digits are only looked at."""
        return self.read_one == self._text and not (self.field.pattern or self.field.secret or self.field.name.endswith("phone"))

    @property
    def _numeral(self) -> bool:
        """Whether the text is a number that must not lose digits: of a telephone, or a code."""
        return self.field.secret or self.field.name in ("code", "number", "department_code") or self.field.name.endswith("phone")

    def read(self, values: Sequence[object], suggest: bool = True) -> Understood:
        """The distinct `values` of the column, or of a batch of it, in their order; with what may have been meant, which
        is dear to look for."""
        if self.field.type in (date, datetime):
            self._settle(values)
        elif self.hundredths and not self.percent:
            self.percent = any(_above_one(value) for value in values)
        self.told.clear()
        found: list[str | None] = []
        wrong: dict[int, Said] = {}
        suggestions: dict[int, str] = {}
        read_one = self.read_one
        for at, value in enumerate(values):
            try:
                text = plain(value)
                found.append(None if text is None else read_one(value, text))
            except (ValueError, OverflowError) as error:
                found.append(None)
                wrong[at] = error.reason if isinstance(error, Odd) else Said("不能识别")
                if suggest and len(suggestions) < SUGGESTED and (near := self._near(str(value))):
                    suggestions[at] = near
        return Understood(found, wrong, tuple(self.told.values()), suggestions)

    def _chosen(self) -> Callable[[object, str], str]:
        declared = self.field
        if self.known is not None or declared.choices:
            return self._known
        kinds: dict[object, Callable[[object, str], str]] = {
            int: self._whole, float: self._number, bool: self._ticked, datetime: self._moment, date: self._day,
        }
        return kinds.get(declared.type, self._text)

    def _say(self, sentence: str, **facts: object) -> None:
        """Tell once a batch what was taken for granted, with the first case of it."""
        if sentence not in self.told:
            self.told[sentence] = Said(sentence, {"title": self.field.title, **facts})

    # Text.

    def _text(self, value: object, text: str) -> str:
        declared = self.field
        if "\0" in text:
            raise Odd("含有空字符")
        if self._numeral:
            text = self._digits(text)
        if len(text) > declared.longest:
            raise Odd("超过 {most} 字", most=declared.longest)
        if declared.pattern and not re.fullmatch(declared.pattern, text):
            raise Odd("格式不对")
        return text

    def _digits(self, text: str) -> str:
        plainly = unicodedata.normalize("NFKC", text)
        if re.fullmatch(r"[-+]?\d(?:\.\d+)?[eE]\+?\d{1,3}", plainly):
            raise Odd("在表格软件里丢了位数,请把这一列设为文本格式后重新填写")
        if self.field.secret or self.field.name.endswith("phone"):
            if secrets.MOBILE.fullmatch(plainly):
                return secrets.normalised(plainly)
            return re.sub(r"[‐-―−]", "-", plainly) if re.fullmatch(r"[\d\s()+‐-―−-]+", plainly) else text
        return text

    # One of some.

    def _taken(self) -> dict[str, str | None]:
        """Every spelling of the values there are, as they are compared: exact ones first, then those that one value has."""
        exact: dict[str, str | None] = dict(self.known or {})
        if self.known is None:
            exact |= {c.title: c.code for c in self.field.choices} | {c.code: c.code for c in self.field.choices}
        name = self.field.name
        exact |= {k: v for k, v in SYNONYMS.get(name, {}).items() if k not in exact}
        exact |= {k: v for k, v in SYNONYMS.get(f"{self.noun}.{name}", {}).items() if k not in exact}
        self.loose: dict[str, str | None] = {}
        for text, code in exact.items():
            for spelled in {self._folded(text), text if self.field.refers else bare(text)}:
                self.loose[spelled] = code if self.loose.get(spelled, code) == code else None
        self.numbered: dict[str, str | None] = {}
        for text, code in exact.items():
            if text.isdecimal():
                short = text.lstrip("0") or "0"
                self.numbered[short] = code if self.numbered.get(short, code) == code else None
        return exact

    def _folded(self, text: str) -> str:
        """As spellings are compared. What names a house or is a code keeps its marks: 3-2 is not 32."""
        if self.field.refers or any(map(str.isdecimal, text)):
            return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()
        return alike(text)

    def _known(self, value: object, text: str) -> str:
        if "\0" in text:
            raise Odd("含有空字符")
        if text in self.taken:
            return self._one(self.taken[text])
        spelled = self._folded(text)
        if spelled in self.loose:
            return self._one(self.loose[spelled])
        if not self.field.refers and spelled == alike(text) and (short := bare(text)) in self.loose:
            code = self._one(self.loose[short])
            self._say("“{title}”的“{value}”按“{taken}”收", value=text, taken=self._titled(code))
            return code
        if spelled.isdecimal() and not self.field.refers and self.numbered.get(short := spelled.lstrip("0") or "0"):
            code = self._one(self.numbered[short])
            self._say("“{title}”的编码前面的零补齐了:{value} → {taken}", value=text, taken=code)
            return code
        parts = [part for part in re.split(r"[\s/\\>\-—_|:()]+", unicodedata.normalize("NFKC", text)) if part]
        if len(parts) == 2 and not self.field.refers:
            # 01 市政公用设施, 井盖(manhole): both halves say the same.
            codes = {self.taken.get(part) or self.loose.get(self._folded(part)) for part in parts}
            if len(codes) == 1 and codes != {None}:
                return self._one(codes.pop())
        raise Odd("对不上任何一个" if self.field.refers else "不在可选值之内")

    @staticmethod
    def _one(code: str | None) -> str:
        if code is None:
            raise Odd("对得上不止一个,请用编码")
        return code

    def _titled(self, code: str) -> str:
        return next((c.title for c in self.field.choices if c.code == code), None) or next(
            (text for text, kept in self.taken.items() if kept == code and text != code), code
        )

    def _near(self, text: str) -> str | None:
        if self.field.choices or (self.known is not None and len(self.taken) <= 500):
            titles = [c.title for c in self.field.choices] or [t for t in self.taken if not t.isascii()]
            return next(iter(get_close_matches(text, titles, 1, 0.5)), None)
        return None

    def _ticked(self, value: object, text: str) -> str:
        found = BOOLEANS.get(text.lower()) or BOOLEANS.get(alike(text))
        if found is None:
            raise Odd("不是“是”或“否”")
        return found

    # Numbers.

    def _whole(self, value: object, text: str) -> str:
        if self.field.name.endswith("_year") and isinstance(value, date):
            return _bounded(self.field, value.year)
        try:
            number = self._read(text)
        except Odd:
            if self.field.name.endswith("_year") and (year := YEAR.fullmatch(text)):
                return _bounded(self.field, int(year[1]))
            raise
        if not number.is_integer():
            raise Odd("须是整数")
        return _bounded(self.field, int(number))

    def _number(self, value: object, text: str) -> str:
        return _bounded(self.field, self._read(text))

    def _read(self, text: str) -> float:
        """A number with its separators, its unit, in full-width digits or in Chinese numerals."""
        try:
            number = float(text) if "_" not in text else None
        except ValueError:
            number = self._written(text)
            if number is not None:
                return number
        if number is None:
            raise Odd("不是数")
        return self._scaled(number)

    def _scaled(self, number: float) -> float:
        if self.percent:
            self._say("“{title}”的列名带 %,数值按百分数收")
            return _times(number, 0.01)
        if self.factor != 1:
            self._say("“{title}”的列名写明单位是{unit},已换算", unit=self.unit)
            return _times(number, self.factor)
        return number

    def _written(self, text: str) -> float | None:
        spelled = re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()
        found = NUMBER.fullmatch(spelled)
        if not found:
            return None
        digits, numerals, unit = found["digits"], found["numerals"], found["unit"]
        if digits is not None and "," in digits and not GROUPED.fullmatch(digits):
            raise Odd("逗号的位置不对")
        number = float(digits.replace(",", "")) if digits is not None else numeral(numerals)
        if number is None:
            return None
        if unit.startswith("万"):
            number, unit = number * 10_000, unit[1:]
        if not unit:
            return self._scaled(number)
        if unit == "%":
            if not _share(self.field):
                raise Odd("是百分数,这里要的是数目")
            self._say("“{title}”的百分数已化为小数:{value}", value=text)
            return _times(number, 0.01)
        if unit in COUNTING.get(self.field.name, ()):
            return number
        measures = MEASURES.get(self.field.unit or "", {})
        if unit in measures:
            if measures[unit] != 1:
                self._say("“{title}”写明单位是{unit},已换算", unit=unit)
            return _times(number, measures[unit])
        raise Odd("单位对不上")

    # Moments.

    def _settle(self, values: Iterable[object]) -> None:
        """Whether 3/5/2026 is May or March: a number above twelve proves it for the column, two that differ prove nothing."""
        first = second = False
        for value in values:
            if isinstance(value, str) and (found := SLASHED.match(value.strip())):
                first |= int(found[1]) > 12
                second |= int(found[2]) > 12
        if first != second and self.days_first is None:
            self.days_first = first
        elif first and second:
            self.days_first = None

    def _day(self, value: object, text: str) -> str:
        return self._when(value, text).date().isoformat()

    def _moment(self, value: object, text: str) -> str:
        return self._when(value, text).isoformat()

    def _when(self, value: object, text: str) -> datetime:
        """A moment as people and programs write it; a duration (ISO 8601, `-PT75H30M`) counts from this load."""
        if isinstance(value, datetime):
            return _zoned(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=ZONE)
        if (span := DURATION.fullmatch(text)) and self.now is not None and len(text) > 2:
            days, hours, minutes, seconds = (float(part or 0) for part in span.groups()[1:])
            length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            return self.now - length if span[1] == "-" else self.now + length
        found = self._date(unicodedata.normalize("NFKC", text).strip())
        if not 1800 <= found.year <= 2300:
            raise Odd("年份不合理")
        return found

    def _date(self, text: str) -> datetime:
        for pattern, made in ((WRITTEN, self._ordered), (COMPACT, self._ordered), (SLASHED, self._slashed), (NAMED, self._by_name), (TURNED, self._by_name)):
            if found := pattern.fullmatch(text):
                try:
                    return made(found)
                except Odd:
                    raise
                except ValueError as error:
                    raise Odd("不是历法上有的日子") from error
        if MONTH.fullmatch(text):
            year, month = map(int, re.findall(r"\d+", text))
            if 1 <= month <= 12:
                self._say("“{title}”只写到月的,按当月一日收:{value}", value=text)
                return datetime(year, month, 1, tzinfo=ZONE)
        if (number := NUMERIC.fullmatch(text)) is not None:
            return self._counted(float(number[0]))
        try:
            return _zoned(datetime.fromisoformat(text))
        except ValueError as error:
            raise Odd("不是可识别的时间") from error

    @staticmethod
    def _ordered(found: re.Match[str]) -> datetime:
        year = int(found["year"])
        return _at(year + 2000 if len(found["year"]) == 2 else year, int(found["month"]), int(found["day"]), found)

    def _slashed(self, found: re.Match[str]) -> datetime:
        one, other = int(found[1]), int(found[2])
        year = int(found["year"])
        if one == other:
            return _at(year, one, other, found)
        if self.days_first is None:
            if one > 12 or other > 12:
                # Each way occurs in the column, so each such row speaks for itself alone.
                return _at(year, *((other, one) if one > 12 else (one, other)), found)
            raise Odd("分不清哪个是月、哪个是日,请写成 2026-03-05 的样子")
        self._say("“{title}”里{order},整列照此收", order="日在月前" if self.days_first else "月在日前")
        return _at(year, *((other, one) if self.days_first else (one, other)), found)

    @staticmethod
    def _by_name(found: re.Match[str]) -> datetime:
        year = int(found["year"])
        return _at(year + (2000 if year < 69 else 1900) if year < 100 else year, MONTHS.index(found["name"][:3].lower()) + 1, int(found["day"]), found)

    def _counted(self, number: float) -> datetime:
        """Days since the end of 1899 as spreadsheets count them, or seconds or milliseconds since 1970."""
        if SERIALS[0] <= number <= SERIALS[1] and self.dated:
            self._say("“{title}”是表格软件的日期序号,已换成日期:{value}", value=f"{number:g}")
            return (datetime(1899, 12, 30) + timedelta(seconds=round(number * 86400))).replace(tzinfo=ZONE)
        for scale in (1, 1000):
            if 631_152_000 <= number / scale <= 4_102_444_800 and number.is_integer():
                self._say("“{title}”是从 1970 年起的秒数或毫秒数,已换成时间:{value}", value=f"{number:.0f}")
                return datetime.fromtimestamp(number / scale, UTC).astimezone(ZONE)
        raise Odd("不是可识别的时间")


def plain(value: object) -> str | None:
    """A cell as text: whole numbers without the `.0` that spreadsheets and DBF numbers bring; nothing for blank."""
    if value is None:
        return None
    if isinstance(value, float):
        if value != value:
            return None
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    text = str(value).strip()
    if text[:1] == "'":
        text = re.sub(UNQUOTED, r"\1", text)
    return text or None


def alike(text: str) -> str:
    """What two spellings of one title share: full and half width, case, blanks and brackets aside."""
    plain = re.sub(r"[\s_\-()\[\]【】〔〕<>《》·.,、:;/\\*#\"'“”‘’]+", "", unicodedata.normalize("NFKC", text))
    # An accent that stood on a blank joins the letter before it when the blank has gone.
    return plain.casefold() if plain.isascii() else unicodedata.normalize("NFKC", plain.casefold())


def bare(text: str) -> str:
    """The same without an end that adds nothing: 住宅类, 在办的."""
    spelled = alike(text)
    for ending in ENDINGS:
        if spelled.endswith(ending) and len(spelled) > len(ending) + 1:
            return spelled[: -len(ending)]
    return spelled


NUMERALS = {numeral: at for at, numeral in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "壹": 1, "贰": 2, "叁": 3, "肆": 4, "伍": 5, "陆": 6, "柒": 7, "捌": 8, "玖": 9}
PLACES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}


def numeral(text: str) -> float | None:
    """A number below ten thousand in Chinese numerals: 三, 十二, 两百零五, 二〇二六; None for another text."""
    if not text or not set(text) <= {*NUMERALS, *PLACES}:
        return None
    if not set(text) & PLACES.keys():
        return float("".join(str(NUMERALS[one]) for one in text)) if len(text) in (1, 4) else None
    total, digit, least = 0, None, 10_000
    for one in text:
        if one in NUMERALS:
            if digit:
                return None
            digit = NUMERALS[one]
        else:
            if PLACES[one] >= least or (digit is None and (total or PLACES[one] != 10)):
                return None
            least = PLACES[one]
            total += (1 if digit is None else digit) * least
            digit = None
    return float(total + (digit or 0)) if digit != 0 or not total else None


def _above_one(value: object) -> bool:
    try:
        return float(str(value)) > 1
    except ValueError:
        return False


def _bounded(declared: Field, number: float) -> str:
    if (not abs(number) < 2**31 and declared.type is int) or number != number or abs(number) == float("inf"):
        raise Odd("超出范围")
    low, high = declared.minimum, declared.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        raise Odd("超出范围")
    return str(number)


def _times(number: float, factor: float) -> float:
    """The product to twelve digits: 35 of a hundred are 0.35, not 0.35000000000000003."""
    return float(f"{number * factor:.12g}")


def _share(declared: Field) -> bool:
    return declared.type is float and declared.minimum == 0 and declared.maximum == 1


def _heading_unit(declared: Field, heading: str) -> tuple[float, str]:
    """The unit that a heading names, 面积(亩), as how many of the field's own."""
    found = re.search(r"[(\[【/]\s*([^()\[\]【】/]{1,6})\s*[)\]】]?\s*$", heading)
    unit = found[1].strip().casefold() if found else ""
    return MEASURES.get(declared.unit or "", {}).get(unit, 1.0), unit


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=ZONE)


def _at(year: int, month: int, day: int, found: re.Match[str]) -> datetime:
    """That day, at the hour that follows it in the text."""
    if found["hour"] is None:
        return datetime(year, month, day, tzinfo=ZONE)
    hour, half = int(found["hour"]), (found["half"] or found["after"] or "").lower()
    if (half in ("下午", "晚上", "傍晚", "晚", "pm") and hour < 12) or (half == "中午" and hour < 3):
        hour += 12
    elif half in ("上午", "凌晨", "早上", "早", "am") and hour == 12:
        hour = 0
    second, _, part = (found["second"] or "0").partition(".")
    clock = (int(found["minute"] or 0), int(second), int(f"{part:0<6}"[:6]))
    if hour == 24 and not any(clock):
        return datetime(year, month, day, tzinfo=_offset(found["zone"])) + timedelta(days=1)
    return datetime(year, month, day, hour, *clock, tzinfo=_offset(found["zone"]))


def _offset(zone: str | None) -> timezone | ZoneInfo:
    if not zone:
        return ZONE
    if zone in ("Z", "z"):
        return UTC
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    return timezone((1 if zone[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


HALF = "上午|下午|中午|晚上|凌晨|早上|傍晚|早|晚|[AaPp][Mm]"
WEEKDAY = r"(?:\s*\(?(?:星期|周|礼拜)[一二三四五六日天]\)?)?"
TIME = (
    rf"{WEEKDAY}(?:[T\s]*(?P<half>{HALF})?[T\s]*(?P<hour>\d{{1,2}})(?:[:时点](?:(?P<minute>\d{{1,2}})(?:[:分](?P<second>\d{{1,2}}(?:\.\d{{1,9}})?)?秒?)?)?)"
    rf"\s*(?P<after>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|z|[-+]\d{{2}}(?::?\d{{2}})?)?)?{WEEKDAY}"
)
WRITTEN = re.compile(rf"(?P<year>\d{{4}}|\d{{2}}(?=年))\s*[-/.年]\s*(?P<month>\d{{1,2}})\s*[-/.月]\s*(?P<day>\d{{1,2}})\s*[日号]?{TIME}")
COMPACT = re.compile(
    r"(?P<year>(?:18|19|20|21|22)\d{2})(?P<month>\d{2})(?P<day>\d{2})(?:[T\s]?(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2}))?(?P<half>)(?P<after>)(?P<zone>Z|[-+]\d{2}:?\d{2})?)?"
)
SLASHED = re.compile(rf"(\d{{1,2}})[-/.](\d{{1,2}})[-/.](?P<year>(?:18|19|20|21|22)\d{{2}}){TIME}")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAME = "(?P<name>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\.?)"
NAMED = re.compile(rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-\s/]*{NAME}[-\s/,]*(?P<year>\d{{4}}|\d{{2}}){TIME}")
TURNED = re.compile(rf"{NAME}[-\s]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-\s,]+(?P<year>\d{{4}}|\d{{2}}){TIME}")
YEAR = re.compile(r"((?:1[89]|2[012])\d\d)\s*[-年/.]\s*(?:\d{1,2}\s*[-月/.]?\s*(?:\d{1,2}\s*日?)?)?(?:建成?|竣工)?")
MONTH = re.compile(r"(?:18|19|20|21|22)\d{2}\s*[-/.年]\s*\d{1,2}\s*月?(?:份)?")
NUMERIC = re.compile(r"\d{4,13}(?:\.\d+)?")
# 1 January 1954 to 31 December 2119: below are years and counts, above are other numbers.
SERIALS = (19_725.0, 80_354.0)
GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
NUMBER = re.compile(r"(?:(?P<digits>[-+]?\d[\d,]*(?:\.\d+)?|[-+]?\.\d+)|(?P<numerals>[零〇一二两三四五六七八九十百千壹贰叁肆伍陆柒捌玖拾佰仟]+))(?P<unit>万?(?:[^\d,.].*)?)")
