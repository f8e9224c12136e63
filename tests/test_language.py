"""Every sentence that is Chinese in the code has its English, and no sentence is filled in before it is looked up."""

import ast
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from geo import errors
from geo.catalog import ACTIONS, CODE_LISTS, LEVELS, RESOURCES, workflow
from geo.catalog.purposes import PURPOSES
from geo.catalog.roles import ROLES
from geo.errors import GeoError
from geo.grading import FACTORS, GRADES, SERVICES
from geo.indicators import INDICATORS
from geo.language import translated
from geo.resource import BASES
from geo.retention import BESIDE

ROOT = Path(__file__).parents[1]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SPOKEN = re.compile(r"""\b_\(\s*(?:"([^"]*)"|'([^']*)')""")
SOURCES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in ("geo", "api", "maps")
    for path in (ROOT / package).rglob("*.py")
}

# Chinese that is no sentence of ours: what people write in their files, and comments on tables. Names of what holds it,
# or the text itself; `None` is a whole module. Filled-in notes of one load are kept with it as they are, and stay so.
READ: dict[str, set[str] | None] = {
    "geo/spine.py": None,
    "geo/identity.py": None,
    "geo/disclosure.py": None,
    "geo/casework.py": None,
    "geo/exchanges.py": {
        "HOTLINE_TICKETS", "THINGS", "DATASTREAMS", "OBSERVATION_RULES", "FOREIGN_REQUESTS", "WEBHOOKS", "WEBHOOK_DELIVERIES",
    },
    "geo/hotline.py": {"HEADS", "SPELLED", "RESULT_HEADS", "results", "MOMENT"},
    "geo/observations.py": {"NAMES", "VALUES"},
    "geo/grading.py": None,  # found as declared
    "geo/indicators.py": {"INDICATORS"},  # their titles are found as declared; formulas are for the Chinese reference
    "geo/catalog/roles.py": {"ROLES"},
    "geo/enrolling.py": {"HEADS"},
    "geo/intake.py": {"BOOLEANS", "SPELLED", "日"},
    "geo/addresses.py": {
        "STEMS", "GAP", "SHOP", "TAIL", "ROOM", "STREET", "SUFFIX", "COMMITTEE", "STEM", "GENERAL", "NAMED", "Address", "_plain", "_said",
        "_read", "_dashed", "_floor", "_room", "_called", "_roomy", "_titled", "_dwellings", "_personal", "_where", "ENDS", "HEADED", "AROUND",
    },
    "geo/matching.py": {"ENDS"},
    "geo/members.py": {
        "PARITY", "STOREYS", "WHOLE", "SEPARATORS", "Token", "_completed", "_plain", "_range",
    },
    "geo/numbering.py": None,
    "geo/placing.py": {"_named"},
    "geo/reading/grids.py": {"TOTAL", "HOUSED", "DATED", "SHOWN", "YEAR", "_text"},
    "geo/reading/places.py": {"LONS", "LATS", "WKTS", "PAIRS"},
    "geo/reading/sheets.py": {"BESIDE", "SHEET"},
    "geo/reading/stream.py": {"列"},
    "geo/reading/texts.py": {"ENTRY", "ADDRESS", "PERSONS", "PERSON", "_entry", "地址", "姓名", "电话", "人数", "备注", "接龙"},
    "geo/reading/values.py": {"plain"},
    "geo/resource.py": {"choices", "Resource", "PLACED", "GATHERED"},  # those are found through the resources that have them
    "geo/retention.py": {"TRACES"},
    "geo/sheets.py": None,
    "geo/templates.py": {"example"},
    "geo/timekeeping.py": None,
    "geo/workdays.py": {"HEADS", "WORKS"},
    "geo/limits.py": {"FIELDS", "DIGITS", "NUMERAL", "UNITS", "_number", "BESIDE", "WITHIN", "_span", "_kind"},
    "geo/secrets.py": {"GAP", "TITLES", "SURNAMES", "PLACES", "DOUBLE", "NAMING", "HINT"},
    "geo/values.py": {"NUMERALS", "PLACES", "_at", "年", "万"},
    "api/reference.py": None,
    "api/app.py": None,
    "api/cli.py": {"app"},
    "api/docs.py": None,
}


def declared() -> Iterator[str]:
    """What the declarations say: of nouns, fields, choices, rules, and what is told of a personal field."""
    yield from (choice.title for choice in (*LEVELS, *BASES, *ACTIONS))
    yield from (*workflow.ACTIONS.values(), *workflow.TASK_WORDS.values())
    yield from (indicator.title for indicator in INDICATORS.values())
    yield from (text for b in BESIDE for text in (b.title, b.keeping.purpose))
    yield from (text for factor in FACTORS.values() for text in (factor.title, factor.about))
    yield from (one.title for one in (*GRADES, *SERVICES.values()))
    yield from (role.title for role in ROLES.values())
    yield from (purpose.title for purpose in PURPOSES)
    for resource in RESOURCES.values():
        yield from (resource.title, resource.about, resource.element)
        yield from (rule.message for rule in resource.rules)
        for field in resource.all_fields:
            yield field.title
            yield from (choice.title for choice in field.choices)
            yield from filter(None, (field.unit,))
            yield from (kept.purpose for kept in (field.keeping, resource.keeping) if kept)


def written(name: str) -> Iterator[str]:
    """The strings of a module that a person may come to read: all Chinese ones that are no docstring and no data."""
    skipped = READ.get(name, set())
    if skipped is None or name.startswith(("geo/catalog/", "geo/migrations/")):
        return
    yield from _strings(SOURCES[name], skipped)


def _strings(node: ast.AST, skipped: set[str]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or _name(child) in skipped or _docstring(child):
            continue
        # What has a bar or a bracket in it is a pattern.
        if isinstance(child, ast.Constant) and isinstance(child.value, str) and not {*"|["} & {*child.value} and child.value not in skipped:
            yield child.value
        yield from _strings(child, skipped)


def _name(node: ast.AST) -> str | None:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def templates() -> Iterator[str]:
    """What the pages say through `_`."""
    for page in (ROOT / "maps" / "templates").glob("*.html"):
        yield from (one or other for one, other in SPOKEN.findall(page.read_text(encoding="utf-8")))


def msgids() -> set[str]:
    """Every Chinese sentence that the program may say."""
    said = {*declared(), *templates()}
    said |= {kind.__doc__ or "" for kind in [GeoError, *GeoError.__subclasses__()] if kind.__module__ == errors.__name__}
    for name in SOURCES:
        said |= set(written(name))
    return {sentence for sentence in said if CHINESE.search(sentence)}


@pytest.fixture(scope="module")
def english() -> dict[str, str]:
    with (ROOT / "geo" / "languages" / "en.po").open("rb") as source:
        return {str(message.id): str(message.string) for message in read_po(source, abort_invalid=True) if message.id}


def test_every_sentence_has_its_english(english: dict[str, str]) -> None:
    assert sorted(msgids() - {sentence for sentence, told in english.items() if told}) == []


def test_no_translation_is_left_of_a_sentence_that_is_gone(english: dict[str, str]) -> None:
    assert sorted(set(english) - msgids()) == []


def test_a_translation_names_the_facts_of_its_sentence(english: dict[str, str]) -> None:
    facts = re.compile(r"{(\w+)[^}]*}")
    assert [s for s, told in english.items() if set(facts.findall(s)) != set(facts.findall(told))] == []


def test_english_is_english(english: dict[str, str]) -> None:
    assert [told for told in english.values() if CHINESE.search(told)] == []


def test_code_lists_are_in_two_languages() -> None:
    for name in CODE_LISTS:
        with (ROOT / "data" / "codes" / f"{name}.csv").open(encoding="utf-8", newline="") as source:
            rows = list(csv.DictReader(source))
        assert [row["code"] for row in rows if not row["title_en"] or CHINESE.search(row["title_en"])] == []


def test_a_page_says_nothing_without_looking_it_up() -> None:
    for page in (ROOT / "maps" / "templates").glob("*.html"):
        rest = SPOKEN.sub("", page.read_text(encoding="utf-8"))
        # The switch to the other language is written in that language; punctuation between figures is not a word.
        rest = re.sub(r"\{% block language.*?</a>|中文", "", rest, flags=re.S)
        assert CHINESE.findall(rest) == [], page.name


KINDS = {kind.__name__ for kind in [GeoError, *GeoError.__subclasses__()]} | {"Refused"}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_an_error_is_given_its_sentence_whole(name: str) -> None:
    # A sentence that already holds its facts is nobody's gettext id: facts are named in braces and filled in at the edge.
    filled = [
        node.lineno
        for node in ast.walk(SOURCES[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
        and node.args and isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
    ]
    assert filled == []


def test_facts_are_filled_in_after_the_look_up() -> None:
    refused = errors.NotFound("没有名为 {resource} 的资源。", resource="{x}", resources=["a", "b"])
    assert str(refused) == "没有名为 {x} 的资源。"
    assert refused.said(lambda text: translated(text, "en")) == "There is no resource called {x}."
    listed = errors.Invalid("文件里有多个图层,请用 --layer 指明一个:{choices}", choices=["甲", "乙"])
    assert str(listed).endswith("甲、乙")
    assert str(errors.Unavailable("看 /a{b}/c。")) == "看 /a{b}/c。"
