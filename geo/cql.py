"""CQL2 (OGC 21-065r2): a filter that somebody wrote, as one SQL condition over what they may see.

The wheel `cql2` reads text and no more: its tree is compiled here, by an allow-list of operators and by the fields of the
declaration that the caller may filter by, every literal bound. What is nested ends its process (a stack overflow in Rust, at 4 kB
of brackets), so length and depth are looked at before it is given anything. JSON is read without it.

Comparing what cannot be compared, or what is not there, is refused with a sentence, never guessed.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import cql2
import shapely
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import array

from geo import query, references
from geo.crs import SRID
from geo.db import TIME_ZONE
from geo.errors import BadQuery
from geo.references import Reference
from geo.resource import Audience, Resource

Language = Literal["cql2-text", "cql2-json"]

LONGEST = 16_000  # characters
DEEPEST = 32  # brackets, NOTs, signs; the parser holds 1,000 of them
TERMS = 500  # operators, properties and literals
VERTICES = 1_000  # of all the geometries in a filter, as with every question
LOCAL = ZoneInfo(TIME_ZONE)

Kind = Literal["text", "number", "boolean", "date", "moment", "uuid", "geometry", "interval", "array", "null"]
KINDS: dict[type, Kind] = {str: "text", int: "number", float: "number", bool: "boolean", date: "date", datetime: "moment", UUID: "uuid"}
Sql = sa.ColumnElement[Any]
Node = Any  # of JSON


@dataclass(frozen=True)
class Value:
    """A compiled expression: what it is, its SQL, and what was written when it is a literal. An interval has two ends."""

    kind: Kind
    sql: Sql
    literal: Any = None
    whole: bool = False  # a number without a fraction, as a column of integers has
    end: Sql | None = None
    items: Sequence["Value"] = ()

    @property
    def written(self) -> bool:
        """Whether it stands in the filter itself."""
        return self.literal is not None


def parsed(text: str, language: Language) -> Node:
    """The tree of a filter, as CQL2 JSON has it. Raises `BadQuery` for what is no filter, too long or too deep."""
    if len(text) > LONGEST:
        raise _refused("条件太长:最多 {most} 个字符。", most=LONGEST)
    if language == "cql2-json":
        return _read(text)
    if _depth(text) > DEEPEST:
        raise _refused("条件嵌套太深:最多 {most} 层。", most=DEEPEST)
    try:
        return cql2.parse_text(text).to_json()
    except (cql2.ParseError, cql2.ValidationError, ValueError) as error:
        at = re.search(r"--> \d+:(\d+)", str(error))
        if at is None:
            raise _refused("条件的写法不对。") from error
        raise _refused("条件从第 {at} 个字符起写法不对。", at=int(at[1])) from error


def compiled(node: Node, resource: Resource, audience: Audience, reference: Reference = references.CRS84) -> Sql:
    """The condition of a tree. `reference` is what its geometries are written in. Raises `BadQuery` for what may not be asked."""
    return _Compiler(resource, audience, reference).condition(node, 0)


def _refused(sentence: str, **facts: object) -> BadQuery:
    return BadQuery(sentence, parameter="filter", **facts)


def _word(text: Node) -> str:
    """What somebody wrote, as one word: it stands in a sentence of ours."""
    return re.sub(r"\W", "", str(text))[:40]


def _read(text: str) -> Node:
    try:
        return json.loads(text, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        raise _refused("条件不是 JSON。") from error


def _not_a_number(text: str) -> None:
    raise ValueError(text)


QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")
PREFIXED = re.compile(r"(?:\bnot\b\s*|[-+]\s*)+", re.IGNORECASE)


def _depth(text: str) -> int:
    """How deep a text may be nested at the most: brackets, and what stands before something again and again."""
    bare = QUOTED.sub("''", text)
    deep = most = 0
    for sign in bare:
        deep += (sign == "(") - (sign == ")")
        most = max(most, deep)
    return most + max((len(run[0].split()) + len(re.findall("[-+]", run[0])) for run in PREFIXED.finditer(bare)), default=0)


class _Compiler:
    """What is counted on the way: terms and vertices of one filter."""

    def __init__(self, resource: Resource, audience: Audience, reference: Reference) -> None:
        self.resource, self.audience, self.reference = resource, audience, reference
        self.terms = self.vertices = 0

    def condition(self, node: Node, depth: int) -> Sql:
        """A node that is true, false or unknown."""
        value = self.value(node, depth)
        if value.kind != "boolean":
            raise _refused("条件须是真假判断。")
        return value.sql

    def value(self, node: Node, depth: int) -> Value:
        """Any node."""
        self.terms += 1
        if self.terms > TERMS:
            raise _refused("条件太多:最多 {most} 项。", most=TERMS)
        if depth > DEEPEST:
            raise _refused("条件嵌套太深:最多 {most} 层。", most=DEEPEST)
        if isinstance(node, list):
            items = [self.value(item, depth + 1) for item in node]
            return Value("array", sa.null(), items=items)
        if isinstance(node, dict):
            return self.member(node, depth)
        return literal(node)

    def member(self, node: dict[str, Node], depth: int) -> Value:
        """An object of CQL2 JSON: an operation, a property, a time, a geometry."""
        if "op" in node:
            return self.operation(node, depth)
        if "property" in node:
            return self.property(node["property"])
        if "date" in node or "timestamp" in node:
            return instant(node.get("timestamp", node.get("date")), "timestamp" in node)
        if "interval" in node:
            return self.interval(node["interval"], depth)
        if "bbox" in node or "type" in node:
            return self.geometry(node)
        raise _refused("条件里有看不懂的内容。")

    def property(self, name: Node) -> Value:
        """A field that the caller may filter by, or the geometry."""
        if name == "geom" and self.resource.geometry:
            return Value("geometry", query.place(self.resource, self.audience))
        if name == "id":
            return Value("uuid", query.identity(self.resource))
        try:
            field = query.filterable(self.resource, str(name), self.audience)
        except BadQuery as error:
            raise _refused("没有字段 {name}。", name=_word(name)) from error
        return Value(KINDS[field.type], query.expression(self.resource, field), whole=field.type is int)

    def interval(self, ends: Node, depth: int) -> Value:
        """Two instants, properties or `..` for an open end."""
        if not isinstance(ends, list) or len(ends) != 2:
            raise _refused("时段须有起止两端。")
        found = []
        for end, open_end in zip(ends, ("-infinity", "infinity"), strict=True):
            if end == "..":
                found.append(Value("moment", sa.cast(sa.literal(open_end), sa.DateTime(timezone=True)), literal=open_end))
            else:
                one = _ends(instant(end) if isinstance(end, str) else self.value(end, depth + 1))
                found.append(Value("moment", one[0] if open_end == "-infinity" else one[1]))
        return Value("interval", found[0].sql, end=found[1].sql)

    def geometry(self, node: dict[str, Node]) -> Value:
        """A geometry or a box, taken to storage; what is no sound shape is refused."""
        try:
            shape = self.reference.to_storage(_box(node["bbox"], self.reference) if "bbox" in node else _shape(node))
        except (KeyError, TypeError, ValueError, IndexError, RecursionError, shapely.errors.ShapelyError) as error:
            raise _refused("条件里的图形不对。") from error
        self.vertices += int(shapely.get_num_coordinates(shape))
        if self.vertices > VERTICES:
            raise _refused("条件里的图形顶点太多:最多 {most} 个。", most=VERTICES)
        if shape.is_empty or not shape.is_valid:
            raise _refused("条件里的图形不对。")
        west, south, east, north = shape.bounds
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise _refused("条件里的图形不在经纬度范围内。")
        return Value("geometry", sa.func.ST_SetSRID(sa.func.ST_GeomFromWKB(bytes(shapely.to_wkb(shape))), SRID), literal=shape)

    def operation(self, node: dict[str, Node], depth: int) -> Value:
        """An operator with its operands, if it is one of those that are known here."""
        op, operands = node["op"], node.get("args")
        if not isinstance(op, str) or not isinstance(operands, list):
            raise _refused("条件里有看不懂的内容。")
        name = op.lower()
        if name in ("and", "or"):
            if len(operands) < 2:
                raise _refused("{op} 要两个以上的条件。", op=op)
            joined = [self.condition(one, depth + 1) for one in operands]
            return _truth(sa.and_(*joined) if name == "and" else sa.or_(*joined))
        if name not in OPERATORS:
            raise _refused("没有运算 {op}。", op=_word(op))
        number, make = OPERATORS[name]
        if len(operands) != number:
            raise _refused("{op} 要 {number} 个参数。", op=op, number=number)
        return make(op, [self.value(one, depth + 1) for one in operands])


def literal(given: Node) -> Value:
    """A text, a number or a truth as it is written."""
    if isinstance(given, bool):
        return Value("boolean", sa.literal(given), literal=given)
    if isinstance(given, int | float):
        if not abs(given) < 1e300:
            raise _refused("数字太大。")
        whole = float(given).is_integer() and abs(given) < 2**53
        return Value("number", sa.literal(float(given), sa.Float), literal=given, whole=whole)
    if isinstance(given, str):
        if "\0" in given or any("\ud800" <= sign <= "\udfff" for sign in given):
            raise _refused("文字里有不能用的字符。")
        return Value("text", sa.literal(given, sa.Text), literal=given)
    raise _refused("条件里有看不懂的内容。")


def instant(text: Node, with_time: bool | None = None) -> Value:
    """A day or a moment as RFC 3339 writes it; what has no zone is told by the clocks of the place."""
    try:
        if not isinstance(text, str):
            raise ValueError
        if with_time is False or (with_time is None and len(text) == 10):
            day = date.fromisoformat(text)
            return Value("date", sa.literal(day, sa.Date), literal=day)
        moment = datetime.fromisoformat(text)
        if not 1 < moment.year < 9999:
            raise ValueError
    except ValueError as error:
        raise _refused("时间的写法不对:像 2026-03-05T08:00:00+08:00 这样。") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=LOCAL)
    return Value("moment", sa.literal(moment, sa.DateTime(timezone=True)), literal=moment)


def _shape(node: dict[str, Node]) -> Any:
    return shapely.force_2d(shapely.geometry.shape(node))


def _box(numbers: Node, reference: Reference) -> Any:
    """A box; one whose west is east of its east goes round the back of the globe, where numbers are degrees east first."""
    west, south, east, north = (float(n) for n in references.corners(numbers))
    if west > east and reference is references.CRS84:
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    if south > north or west > east:
        raise ValueError
    # A box without extent is a point or a line: as a polygon it would be none.
    if west == east or south == north:
        return shapely.Point(west, south) if (west, south) == (east, north) else shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)


def _truth(sql: Sql) -> Value:
    return Value("boolean", sql)


# Operators


def _not(op: str, given: list[Value]) -> Value:
    if given[0].kind != "boolean":
        raise _unlike(op)
    return _truth(sa.not_(given[0].sql))


def _compared(op: str, given: list[Value]) -> Value:
    left, right = _alike(op, *given)
    if left.kind in ("geometry", "interval", "array") or (left.kind == "boolean" and op not in ("=", "<>")):
        raise _unlike(op)
    return _truth(left.sql.op(op, is_comparison=True)(right.sql))


def _alike(op: str, *given: Value) -> tuple[Value, ...]:
    """Values that can be compared, as values of one kind: a literal is read as what it is compared with."""
    known = next((one for one in given if not one.written), given[0])
    found = tuple(_as(one, known, op) for one in given)
    if len({one.kind for one in found}) > 1:
        raise _unlike(op)
    return found


def _as(given: Value, known: Value, op: str) -> Value:
    if given.kind == "text" and given.written and known.kind in ("date", "moment", "uuid"):
        if known.kind != "uuid":
            return _as(instant(given.literal), known, op)
        try:
            return Value("uuid", sa.literal(UUID(given.literal), sa.Uuid), literal=given.literal)
        except ValueError as error:
            raise _unlike(op) from error
    if given.kind == "number" and given.written and given.whole and known.whole and abs(given.literal) < 2**63:
        # As a whole number: by a fraction no index is found.
        return replace(given, sql=sa.literal(int(given.literal), sa.BigInteger))
    if given.kind == "moment" and known.kind == "date" and given.written:
        return Value("date", sa.literal(given.literal.astimezone(LOCAL).date(), sa.Date), literal=given.literal)
    if given.kind == "date" and known.kind == "moment" and given.written:
        return Value("moment", sa.literal(datetime.combine(given.literal, time(), LOCAL), sa.DateTime(timezone=True)), literal=given.literal)
    return given


def _unlike(op: str) -> BadQuery:
    return _refused("{op} 两边的内容不能这样用。", op=op)


def _is_null(op: str, given: list[Value]) -> Value:
    if given[0].kind in ("interval", "array"):
        raise _unlike(op)
    return _truth(given[0].sql.is_(None))


def _like(op: str, given: list[Value]) -> Value:
    if [one.kind for one in given] != ["text", "text"]:
        raise _unlike(op)
    # Backslash is the escape of CQL2 too; one at the end escapes nothing, and PostgreSQL makes an error of it.
    pattern = given[1]
    while pattern.items:
        pattern = pattern.items[0]
    if not pattern.written:
        raise _refused("LIKE 的样式须直接写出来。")
    if (len(pattern.literal) - len(pattern.literal.rstrip("\\"))) % 2:
        raise _refused("LIKE 的样式不能以反斜线结尾。")
    return _truth(given[0].sql.like(given[1].sql))


def _between(op: str, given: list[Value]) -> Value:
    value, low, high = _alike(op, *given)
    if value.kind not in ("number", "date", "moment", "text"):
        raise _unlike(op)
    return _truth(value.sql.between(low.sql, high.sql))


def _in(op: str, given: list[Value]) -> Value:
    value, among = given
    if among.kind != "array" or not among.items:
        raise _unlike(op)
    value, *each = _alike(op, value, *among.items)
    if value.kind in ("geometry", "interval", "array"):
        raise _unlike(op)
    return _truth(value.sql.in_([one.sql for one in each]))


def _case_insensitive(op: str, given: list[Value]) -> Value:
    if given[0].kind != "text":
        raise _unlike(op)
    return Value("text", sa.func.lower(given[0].sql), items=given)


def _accent_insensitive(op: str, given: list[Value]) -> Value:
    if given[0].kind != "text":
        raise _unlike(op)
    # Decomposed, what is left of an accent is a mark of its own (U+0300–U+036F).
    return Value("text", sa.func.regexp_replace(sa.func.normalize(given[0].sql, sa.literal_column("NFD")), "[\u0300-\u036f]", "", "g"), items=given)


def _calculated(op: str, given: list[Value]) -> Value:
    left, right = given
    if {left.kind, right.kind} != {"number"}:
        raise _unlike(op)
    x, y = sa.cast(left.sql, sa.Float), sa.cast(right.sql, sa.Float)
    # What cannot be calculated is unknown, of this row: not an error of all.
    made: dict[str, Callable[[], Sql]] = {
        "+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y,
        "/": lambda: x / sa.func.nullif(y, 0),
        "div": lambda: sa.func.trunc(x / sa.func.nullif(y, 0)),
        "%": lambda: x - y * sa.func.trunc(x / sa.func.nullif(y, 0)),
        "^": lambda: sa.case((sa.and_(x > 0, sa.func.abs(y * sa.func.ln(sa.func.nullif(sa.func.greatest(x, 0), 0))) < 600), sa.func.power(x, y)),
                             (sa.and_(x <= 0, y == 2, x > -1e150), x * x)),
    }
    return Value("number", made[op.lower()]())


def _spatial(function: str, wide: bool) -> Callable[[str, list[Value]], Value]:
    def make(op: str, given: list[Value]) -> Value:
        left, right = given
        if {left.kind, right.kind} != {"geometry"}:
            raise _unlike(op)
        relation = getattr(sa.func, function)(left.sql, right.sql)
        # Under policies an index is only used for what is written out (`&&` is leak-proof, the functions are not).
        return _truth(sa.not_(sa.and_(left.sql.op("&&")(right.sql), sa.func.ST_Intersects(left.sql, right.sql))) if wide
                      else sa.and_(left.sql.op("&&")(right.sql), relation))
    return make


def _ends(value: Value) -> tuple[Sql, Sql]:
    """The first and the last moment of an instant, a day or an interval."""
    if value.kind == "interval" and value.end is not None:
        return value.sql, value.end
    if value.kind == "moment":
        return value.sql, value.sql
    if value.kind == "date":
        begun = sa.func.timezone(TIME_ZONE, sa.cast(value.sql, sa.DateTime))
        return begun, begun + sa.literal(timedelta(days=1) - timedelta(microseconds=1), sa.Interval)
    raise _refused("这里要时间。")


Ends = tuple[Sql, Sql]
TEMPORAL: dict[str, Callable[[Ends, Ends], Sql]] = {
    "t_after": lambda a, b: a[0] > b[1],
    "t_before": lambda a, b: a[1] < b[0],
    "t_contains": lambda a, b: sa.and_(a[0] < b[0], a[1] > b[1]),
    "t_disjoint": lambda a, b: sa.or_(a[1] < b[0], a[0] > b[1]),
    "t_during": lambda a, b: sa.and_(a[0] > b[0], a[1] < b[1]),
    "t_equals": lambda a, b: sa.and_(a[0] == b[0], a[1] == b[1]),
    "t_finishedby": lambda a, b: sa.and_(a[0] < b[0], a[1] == b[1]),
    "t_finishes": lambda a, b: sa.and_(a[0] > b[0], a[1] == b[1]),
    "t_intersects": lambda a, b: sa.and_(a[0] <= b[1], a[1] >= b[0]),
    "t_meets": lambda a, b: a[1] == b[0],
    "t_metby": lambda a, b: a[0] == b[1],
    "t_overlappedby": lambda a, b: sa.and_(a[0] > b[0], a[0] < b[1], a[1] > b[1]),
    "t_overlaps": lambda a, b: sa.and_(a[0] < b[0], a[1] > b[0], a[1] < b[1]),
    "t_startedby": lambda a, b: sa.and_(a[0] == b[0], a[1] > b[1]),
    "t_starts": lambda a, b: sa.and_(a[0] == b[0], a[1] < b[1]),
}


def _temporal(relation: Callable[[Ends, Ends], Sql]) -> Callable[[str, list[Value]], Value]:
    def make(op: str, given: list[Value]) -> Value:
        # A day is compared with days as a day, so that an index of days is found.
        if {one.kind for one in given} == {"date"}:
            return _truth(relation(*[(one.sql, one.sql) for one in given]))
        return _truth(relation(*[_ends(one) for one in given]))
    return make


ARRAYS = {"a_equals": "", "a_contains": "@>", "a_containedby": "<@", "a_overlaps": "&&"}


def _array(op: str, given: list[Value]) -> Value:
    """Sets of texts or of numbers; what is in them may be a property."""
    # The text `(use)` is an array of one and a bracket alike; the parser takes it for the bracket.
    sets = [one.items if one.kind == "array" else (one,) for one in given]
    kinds = {item.kind for items in sets for item in items}
    if not kinds <= {"text", "number"} or len(kinds) > 1:
        raise _unlike(op)
    of: sa.types.TypeEngine[Any] = sa.Float() if kinds == {"number"} else sa.Text()
    left, right = (sa.cast(array([sa.cast(item.sql, of) for item in items]), sa.ARRAY(of)) for items in sets)
    if op.lower() == "a_equals":
        return _truth(sa.and_(left.op("@>")(right), left.op("<@")(right)))
    return _truth(left.op(ARRAYS[op.lower()], is_comparison=True)(right))


OPERATORS: dict[str, tuple[int, Callable[[str, list[Value]], Value]]] = {
    "not": (1, _not), "isnull": (1, _is_null), "like": (2, _like), "between": (3, _between), "in": (2, _in),
    "casei": (1, _case_insensitive), "accenti": (1, _accent_insensitive),
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), (2, _compared)),
    **dict.fromkeys(("+", "-", "*", "/", "div", "%", "^"), (2, _calculated)),
    **{f"s_{name}": (2, _spatial(f"ST_{name.title()}", name == "disjoint")) for name in (
        "intersects", "equals", "disjoint", "touches", "within", "overlaps", "crosses", "contains")},
    **{name: (2, _temporal(relation)) for name, relation in TEMPORAL.items()},
    **dict.fromkeys(ARRAYS, (2, _array)),
}
