"""How houses, stairwells, floors and rooms are numbered: the one grammar of lists (`members`) and of addresses."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

Kind = Literal["house", "door", "any"]

# What a number may be the number of, best first: a house on a street is never meant by 幢.
FITTING: Mapping[Kind, tuple[Kind, ...]] = {
    "house": ("house", "any"), "door": ("door", "any", "house"), "any": ("house", "any", "door"),
}

NUMERAL = "〇零一二两三四五六七八九十百"
NUMBER = rf"(?:\d+[A-Za-z]?|[A-Za-z]\d*|[{NUMERAL}]+)"
HOUSE = "号楼|号院|幢|栋|座|楼|号"
UNIT = "单元|门洞|门|梯"
LEVEL = "层|楼"

DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
ORDINAL = re.compile(rf"第(?={NUMBER}(?:{HOUSE}|{UNIT}|{LEVEL}|-))")


def plain(text: str) -> str:
    """Full-width as half-width, one kind of dash, 3# as 3号楼."""
    told = unicodedata.normalize("NFKC", text)
    told = re.sub(r"\s*[—–−―‐‑~-]+\s*", "-", told)
    return re.sub(r"#楼?", "号楼", told)


def cardinal(text: str) -> str:
    """第三幢 as 三幢; 第三中学 stays."""
    return ORDINAL.sub("", text)


def kind(suffix: str | None) -> Kind:
    """What a number with this word after it is the number of."""
    return "any" if suffix is None else "door" if suffix == "号" else "house"


def numeral(text: str) -> str:
    """A number as we compare it: no leading zeros, capitals, 二十三 as 23."""
    if text and all(c in NUMERAL for c in text):
        if not any(c in "十百" for c in text):
            return str(int("".join(str(DIGITS[c]) for c in text)))
        total, digit = 0, 0
        for c in text:
            if c in "十百":
                total, digit = total + (digit or 1) * (10 if c == "十" else 100), 0
            else:
                digit = DIGITS[c]
        return str(total + digit)
    return (text.lstrip("0") or text[-1:]).upper()
