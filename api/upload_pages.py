"""The pages of a file on its way in: five steps, of which each is a page that works without scripts.

Which step is shown follows from how far the file has got and from what of it needs a person; the others are a click away.
"""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi import Form as Body
from fastapi.responses import StreamingResponse
from pydantic import Field

from api import pages
from api.deps import CallerNow, Connection, LanguageNow, able, strict
from api.forms import Form, Text, Trouble, tried, trouble
from api.ways import see
from geo import addresses, cards, layers, uploading
from geo.catalog import RESOURCES
from geo.db import Caller
from geo.errors import BadQuery, GeoError, Invalid
from geo.language import Language, Said, translated
from geo.layers import COLOR, Seer
from geo.resource import PRECISIONS, REASONS, Resource
from geo.sheets import safe
from geo.uploading import Upload
from maps import pages as drawn

STEPS = {2: "识别", 3: "对应", 4: "核对", 5: "入库"}
STATES = {
    "queued": "排队中", "reading": "正在读取", "ready": "待核对", "refused": "读不了", "applying": "正在入库", "applied": "已入库",
    "undone": "已撤回", "failed": "已结束",
}
FATES = {"new": "新增记录", "changed": "有变化", "conflict": "冲突", "unchanged": "没有变化", "missing": "文件里没有"}
ASPECTS = {
    "encoding": "文字编码", "layer": "图层或工作表", "header": "表头", "totals": "合计行", "dates": "日期", "numbers": "数字", "names": "列名",
    "crs": "坐标系", "axes": "坐标次序", "datum": "坐标有没有偏移", "geometry": "图形",
}
VALUES = {
    "wgs84": "没有偏移（GPS，WGS-84）", "cgcs2000": "没有偏移（GPS、天地图、测绘部门）", "gcj02": "高德、腾讯地图的坐标（GCJ-02）",
    "bd09": "百度地图的坐标（BD-09）", "xy": "经度在前", "yx": "纬度在前", "drop": "不要这些列", "restore": "改回门牌号", "keep": "就是日期",
}
# What is said to somebody at a terminal, as it is said to somebody with a form before them.
INSTEAD = {
    "文件里有多个图层,请用 --layer 指明一个:{choices}": "文件里有多个图层，请选一个。",
    "压缩包里有多个图层,请用 --layer 指明一个:{choices}": "压缩包里有多个图层，请选一个。",
    "有多个工作表,请用 --layer 指明一个:{choices}": "有多个工作表，请选一个。",
    "按 {encoding} 读不通,请用 --encoding 指明编码。": "按 {encoding} 读不通，请选另一种文字编码。",
    "没有坐标系说明,需要用 --crs 指明。可能是:{guesses}": "没有坐标系说明，请问给您文件的人，选对的一个。可能是:{guesses}",
    "坐标 {x}, {y} 不像经纬度,也不像中国的平面坐标,请用 --crs 指明坐标系。": "坐标 {x}, {y} 不像经纬度，也不像中国的平面坐标，请写明坐标系。",
    "坐标系 {name} 换算不到经纬度,请用 --crs 指明。": "坐标系 {name} 换算不到经纬度，请写明坐标系。",
    "列名 {evidence} 说明坐标是偏移过的,请用 --datum {datum} 确认。": "列名 {evidence} 说明坐标是偏移过的，请确认是哪一种。",
    "文件里没有“{title}”列。请用 --map {field}=列名 指明,或用 --set {field}=值 给出。": "没有认出哪一列是“{title}”，请在下面指明。",
}
# What may be chosen even when the file says nothing of it.
ALWAYS = ("encoding", "crs", "datum", "header")
ENCODINGS = ("UTF-8", "GB18030", "BIG5")
DATUMS = ("wgs84", "cgcs2000", "gcj02", "bd09")
PRECISION_TITLES = {choice.code: choice.title for choice in PRECISIONS}
REASON_CODES = {choice.code for choice in REASONS}
Say = Callable[[str], str]
ROWS = 50
# Of what is wrong, as much as is looked through for the filters and the repairs.
LOOKED = 1000
SEERS: dict[Seer, str] = {"public": "所有人", "workers": "在这片区域工作的人", "leaders": "这片区域的负责人"}
KINDS = {"point": "点", "line": "线", "polygon": "面"}
# Under what is staged, so that one sees where it lies.
AROUND = "areas,compounds,buildings,roads"

routes = APIRouter(include_in_schema=False, dependencies=[able("load")])

Short = Annotated[Text, Field(max_length=200)]
Many = Annotated[list[Short], Field(max_length=300)]


class Told(Form):
    """What somebody says of a file: one step's form, whichever it is. What is empty is found out by the server."""

    do: Literal["read", "match", "mend", "apply", "undo", "discard"]
    noun: Short | None = None
    encoding: Short | None = None
    crs: Short | None = None
    datum: Literal["", "wgs84", "cgcs2000", "gcj02", "bd09"] | None = None
    axes: Literal["", "xy", "yx"] | None = None
    layer: Short | None = None
    header: Short | None = None
    dates: Literal["", "restore", "keep"] | None = None
    numbers: Literal["", "drop"] | None = None
    blank: Literal["", "keep", "clear"] | None = None
    # Of a layer of its own; asked for, and without a number or title, it is to be none. What is left empty in a form does not arrive at all.
    layer_asked: bool = False
    layer_id: UUID | None = None
    layer_title: Annotated[Text, Field(max_length=80)] = ""
    layer_audience: Seer = "workers"
    layer_color: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    layer_kind: Literal["", "point", "line", "polygon"] | None = None
    layer_scope: Annotated[str, Field(pattern="^[0-9A-Z]{0,15}$")] | None = None
    field: Many = Field(default_factory=list)
    column: Many = Field(default_factory=list)
    filled: Many = Field(default_factory=list)
    value: Many = Field(default_factory=list)
    listed: Annotated[list[int], Field(max_length=LOOKED)] = Field(default_factory=list)
    mended: Annotated[list[int], Field(max_length=LOOKED)] = Field(default_factory=list)
    rows: Literal["all", "good"] = "all"
    missing: Literal["keep", "retire"] = "keep"
    remember: bool = False


def uploads_page(request: Request, connection: sa.Connection, who: Caller, language: Language) -> Response:
    """Where files are sent, and one's own files."""
    known = [_line(upload) for upload in uploading.listed(connection)]
    nouns = {name: noun.title for name, noun in RESOURCES.items() if who.knows(noun) or "accounts" in who.may}
    return _shown(request, language, drawn.uploads(pages.reader(request, language), known, nouns), None)


def upload_page(
    request: Request, connection: sa.Connection, who: Caller, language: Language, upload: Upload, trouble: Trouble | None = None
) -> Response:
    """One file at the step that it is at, or at the one that is asked for."""
    going = upload.undoing or upload.state in ("queued", "reading", "applying")
    if request.headers.get("hx-request"):
        # While it works only its progress is asked for; then the page as it now is.
        answer = pages.private(pages.page(request, language, drawn.upload_progress(pages.reader(request, language), _line(upload))))
        if not going:
            answer.headers["HX-Refresh"] = "true"
        return answer
    say = partial(translated, language=language)
    noun = RESOURCES.get(upload.noun or "")
    step = _step(request, upload)
    facts = _line(upload) | {
        "going": going, "step": step, "steps": STEPS, "ready": upload.state == "ready", "trouble": trouble, "noun": noun,
        "refusal": _said(upload.refusal, say) if upload.refusal else "", "counts": dict(upload.counts or {}), "fates": FATES,
        "may_say": "write" in who.may, "choices": dict(upload.choices), "told": dict(upload.told or {}), "unconfirmed": unconfirmed(upload),
        "noun_chosen": upload.choices.get("noun", ""), "place": _place(upload, noun), "own": _own(connection, upload, who),
        "said_notes": [_said(note, say) for note in (upload.told or {}).get("notes") or []],
        "to_review": sum(count for reason, count in ((upload.told or {}).get("placing") or {}).items() if reason in REASON_CODES),
    }
    if not going and step == 2:
        facts |= _recognised(upload, who, say)
    if not going and (step == 3 or upload.state == "refused"):
        facts |= _matched(connection, language, upload, noun, say)
    chart = None
    if not going and upload.state == "ready":
        if step in (2, 4):
            spots = uploading.rows(connection, upload.id, most=500)
            chart = _chart(connection, who, language, upload, spots)
            facts["first"] = spots[:ROWS]
        if step == 4:
            facts |= _checked(request, connection, language, upload, noun, say)
    return _shown(request, language, drawn.upload(pages.reader(request, language), facts, chart), trouble)


@routes.post("/uploads/{id}/form", dependencies=[strict()])
def move(
    id: UUID, given: Annotated[Told, Body()], request: Request, who: CallerNow, connection: Connection, language: LanguageNow
) -> Response:
    """One step further, as its form says, and back to the file's page."""
    upload = uploading.told(connection, id)
    try:
        with tried(connection):
            _moved(connection, upload, given)
    except GeoError as error:
        return upload_page(request, connection, who, language, upload, trouble(request, language, given.do, error))
    return see("/uploads" if given.do == "discard" else f"/uploads/{id}")


@routes.get("/uploads/{id}/problems.csv", dependencies=[strict()])
def problems_sheet(id: UUID, connection: Connection, language: LanguageNow) -> Response:
    """What is wrong, as a sheet to work through: no cell of it is a formula."""
    upload = uploading.told(connection, id)
    say = partial(translated, language=language)
    noun = RESOURCES.get(upload.noun or "")
    text = io.StringIO()
    sheet = csv.writer(text)
    sheet.writerow([say(head) for head in ("行", "列", "值", "问题", "建议", "已自动修复")])
    for one in _problems(connection, id):
        cells = (one["row"], say(_title(noun, one["field"])), one["value"], _said(_reason(one), say), say(one["suggestion"] or ""), say("是") if one["repaired"] else "")
        sheet.writerow([safe(cell) for cell in cells])
    name = quote(f"{upload.name.rpartition('.')[0] or upload.name}-{say('问题')}.csv")
    headers = {"Content-Disposition": f"attachment; filename=\"problems.csv\"; filename*=UTF-8''{name}", "Cache-Control": "private, no-store"}
    return StreamingResponse(iter([text.getvalue().encode("utf-8-sig")]), media_type="text/csv; charset=utf-8", headers=headers)


def unconfirmed(upload: Upload) -> list[str]:
    """What somebody has still to say before anything of the file is stored: the aspects of it."""
    return [one["aspect"] for one in (upload.told or {}).get("evidence", []) if one.get("confirm") and not upload.choices.get(one.get("option") or "")]


def _moved(connection: sa.Connection, upload: Upload, given: Told) -> None:
    before = dict(upload.choices)
    if given.do == "discard":
        uploading.discarded(connection, upload.id)
    elif given.do == "undo":
        uploading.moved(connection, upload.id, "undo")
    elif given.do == "apply":
        how = {"valid_only": given.rows == "good", "missing": given.missing, "remember": given.remember}
        uploading.moved(connection, upload.id, "apply", before | how)
    else:
        uploading.moved(connection, upload.id, "read", _chosen(upload, given, before))


def _chosen(upload: Upload, given: Told, before: dict[str, Any]) -> dict[str, Any]:
    """The choices after a form: what it leaves empty is given up."""
    if given.do == "mend":
        kept = set(before["repair"]) if isinstance(before.get("repair"), list) else set()
        unwanted = sorted((kept - set(given.listed)) | (set(given.listed) - set(given.mended)))
        fresh: dict[str, Any] = before | {"repair": unwanted or None}
    elif given.do == "match":
        if len(given.field) != len(given.column) or len(given.filled) != len(given.value):
            raise Invalid()
        # What is left as it was taken stays a guess, which forgives a value that it cannot read.
        taken, columns = _columns(upload), dict(before.get("columns") or {})
        columns |= {name: column for name, column in zip(given.field, given.column, strict=True) if column != taken.get(name, "")}
        values = dict(before.get("values") or {})
        values |= dict(zip(given.filled, given.value, strict=True))
        fresh = before | {"columns": columns or None, "values": {name: value for name, value in values.items() if value} or None}
    else:
        names = ("noun", "encoding", "crs", "datum", "axes", "layer", "header", "dates", "numbers", "blank")
        fresh = before | {name: said or None for name in names if (said := getattr(given, name)) is not None}
        if given.layer_asked:
            fresh["as_layer"] = _layered(before.get("as_layer") or {}, given)
        if given.noun and given.noun != upload.noun:
            # What was said of the columns was said of another noun's fields.
            fresh |= {"columns": None, "values": None}
    return {name: value for name, value in fresh.items() if value is not None}


def _layered(before: Mapping[str, Any], given: Told) -> dict[str, Any] | None:
    """What a form says of a layer of its own: a new one, or the next edition of one that there is, which keeps its name and look."""
    if given.layer_id:
        return {"id": str(given.layer_id)}
    if not given.layer_title.strip():
        return None
    before = {name: value for name, value in before.items() if name != "id"}
    said = {"title": given.layer_title, "audience": given.layer_audience, "color": given.layer_color, "kind": given.layer_kind, "scope": given.layer_scope}
    return {name: value for name, value in {**before, **said}.items() if value}


def _columns(upload: Upload) -> dict[str, str]:
    """The column of each field: as it was read, else as proposed; and above either as the sender has said."""
    told = upload.told or {}
    proposed = {name: str(one["column"]) if isinstance(one, Mapping) else str(one or "") for name, one in (told.get("columns") or {}).items()}
    return proposed | dict(told.get("matched") or {}) | dict(upload.choices.get("columns") or {})


def _step(request: Request, upload: Upload) -> int:
    if upload.state in ("applying", "applied", "undone", "failed"):
        return 5
    if upload.state in ("queued", "reading", "refused"):
        return 2
    asked = request.query_params.get("step", "")
    if asked and asked not in ("2", "3", "4", "5"):
        raise BadQuery(parameter="step")
    if asked:
        return int(asked)
    if upload.refusal:
        return 5
    if unconfirmed(upload):
        return 2
    return 3 if upload.told.get("missing") else 4


def _line(upload: Upload) -> dict[str, Any]:
    """An upload as a line of the list."""
    noun = RESOURCES.get(upload.noun or upload.choices.get("noun") or "")
    share = round(100 * upload.done / upload.expected) if upload.expected else None
    stored = (upload.told or {}).get("stored")
    return vars(upload) | {
        "state_title": "正在撤回" if upload.undoing else STATES[upload.state], "noun_title": noun.title if noun else "自有图层" if upload.choices.get("as_layer") else "",
        "share": None if share is None else min(share, 100), "stored": stored,
    }


def _said(saying: object, say: Say) -> str:
    """A sentence with its facts, in the reader's language; or what was kept in words."""
    if not isinstance(saying, Mapping):
        return say(str(saying or ""))
    facts = {
        name: tuple(map(str, fact)) if isinstance(fact, list) else _valued(fact) for name, fact in (saying.get("facts") or {}).items()
    }
    sentence = str(saying.get("sentence") or saying.get("because") or "")
    sentence = INSTEAD.get(sentence, sentence)
    try:
        return Said(sentence, facts).said(say)
    except (KeyError, ValueError, IndexError):
        return say(sentence)


def _recognised(upload: Upload, who: Caller, say: Say) -> dict[str, Any]:
    """What the file is taken for and why; first what has to be confirmed."""
    told, choices = upload.told or {}, upload.choices
    asked = _asked(upload.refusal)
    lines: list[dict[str, Any]] = []
    for one in told.get("evidence", []):
        option, because = _option(one.get("option")), _said(one, say)
        before = next((line for line in lines if option and line["option"] == option), None)
        if before:
            before["because"] = f"{before['because']} {because}".strip()
            before["value"] = _valued(one.get("value")) or before["value"]
            continue
        lines.append({
            "aspect": ASPECTS.get(one["aspect"], one["aspect"]), "name": f"{one['aspect']}-{len(lines)}", "value": _valued(one.get("value")),
            "because": because, "option": option, "choices": _offered(option, one.get("choices") or ()), "doubtful": one.get("doubtful", False),
            "confirm": bool(one.get("confirm")) and not choices.get(option or ""),
        })
    if asked and not any(line["option"] == asked["option"] and line["choices"] for line in lines):
        lines.insert(0, asked)
    known = {line["option"] for line in lines}
    extra = [name for name in ALWAYS if name not in known and (asked is None or name in choices)]
    lines += [
        {"aspect": ASPECTS[name], "name": name, "value": "", "because": "", "option": name, "confirm": False, "doubtful": False,
         "choices": _offered(name, {"encoding": ENCODINGS, "datum": DATUMS}.get(name, ()))}
        for name in extra
    ]
    layers = [(layer["name"], layer.get("count")) for layer in told.get("layers") or []]
    ranked = [fit["name"] for fit in told.get("resources") or [] if fit["name"] in RESOURCES]
    nouns = [name for name, noun in RESOURCES.items() if who.knows(noun) or "accounts" in who.may or name == upload.noun]
    fits = {fit["name"]: _said(fit.get("because"), say) for fit in told.get("resources") or []}
    kept = told.get("samples") or {}
    samples = {name: kept[name] for name in [*(told.get("headings") or []), *kept] if name in kept}
    return {
        "asking": [line for line in lines if line["confirm"]], "evidence": [line for line in lines if not line["confirm"]], "layers": layers,
        "nouns": [(name, RESOURCES[name].title) for name in dict.fromkeys([*ranked, *nouns])], "fits": fits, "ranked": ranked,
        "noun_asked": bool(upload.refusal) and not upload.noun and _noun_wanted(upload.refusal), "samples": samples, "sample_rows": max(map(len, samples.values()), default=0),
        "notes": [_said(note, say) for note in [*(told.get("notes") or []), *(told.get("taken") or [])]],
        "of_layer": next((line["because"] for line in lines if line["option"] == "layer"), ""),
    }


def _offered(option: str | None, choices: Sequence[object]) -> list[tuple[str, str]]:
    """What may be chosen, with titles. Of the two datums without a shift, which are one to a decimetre, only one is asked for."""
    both = option == "datum" and {"wgs84", "cgcs2000"} <= set(map(str, choices))
    return [(str(code), _valued(code)) for code in choices if not (both and code == "wgs84")]


def _option(name: object) -> str | None:
    plain = str(name or "").lstrip("-")
    return {"into": "noun"}.get(plain, plain) or None


def _noun_wanted(refusal: Mapping[str, Any] | None) -> bool:
    facts = (refusal or {}).get("facts") or {}
    return "resources" in facts or _option(facts.get("option")) == "noun"


def _asked(refusal: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a refusal asks for, as a line of what is to be confirmed."""
    facts = (refusal or {}).get("facts") or {}
    option = _option(facts.get("option"))
    if option not in ASPECTS:
        return None
    choices = facts.get("choices") or {"datum": DATUMS, "encoding": ENCODINGS, "axes": ("xy", "yx")}.get(option or "", ())
    return {
        "aspect": ASPECTS[option or ""], "name": option, "value": _valued(facts.get("datum")) if option == "datum" else "", "because": "", "option": option,
        "choices": _offered(option, choices), "confirm": True, "doubtful": True,
    }


def _valued(value: object) -> str:
    text = "" if value is None else str(value)
    return VALUES.get(text, text)


def _title(noun: Resource | None, name: str | None) -> str:
    """What people call a field, or a rule of a noun."""
    if not name or name in ("geometry", "geom"):
        return "位置" if name else ""
    told = next((f.title for f in noun.all_fields if f.name == name), None) if noun else None
    return told or name


def _matched(connection: sa.Connection, language: Language, upload: Upload, noun: Resource | None, say: Say) -> dict[str, Any]:
    """Which column is which field: those that have one, those that must, the rest; and what becomes of other columns."""
    told, choices = upload.told or {}, upload.choices
    proposed, samples, given = told.get("columns") or {}, told.get("samples") or {}, told.get("values") or {}
    current = _columns(upload)
    facts = (upload.refusal or {}).get("facts") or {}
    noun = noun or RESOURCES.get(choices.get("noun") or told.get("resource") or "")
    missing = list(told.get("missing") or [])
    columns = list(told.get("headings") or samples)
    if upload.state == "refused" and isinstance(facts.get("columns"), list) and facts.get("field"):
        columns, missing = list(map(str, facts["columns"])), [*missing, str(facts["field"])]
    columns = [column for column in dict.fromkeys([*columns, *sorted(set(current.values()) - set(columns))]) if column]
    lines: dict[str, list[dict[str, Any]]] = {"wanted": [], "met": [], "free": []}
    codes = _codes(connection, noun, language)
    for field in noun.writable if noun else ():
        one = proposed.get(field.name)
        column = current.get(field.name, "")
        value = (choices.get("values") or {}).get(field.name, "")
        mine = field.name in (choices.get("columns") or {})
        because = "按您说的" if mine else _said(one.get("because"), say) if isinstance(one, Mapping) else ""
        if not column and field.name in given:
            because = _said(given[field.name].get("because"), say) if isinstance(given[field.name], Mapping) else ""
        line = {
            "name": field.name, "title": field.title, "required": field.required, "column": column, "because": because, "value": value,
            "shown": str(given[field.name].get("value", "")) if isinstance(given.get(field.name), Mapping) else str(given.get(field.name, "")),
            "sure": mine or not isinstance(one, Mapping) or bool(one.get("sure", True)), "samples": _few(samples.get(column)),
            "choices": list(codes.get(field.name, {}).items()), "lacks": field.name in missing,
        }
        place = "wanted" if field.name in missing else "met" if column or field.name in given or value else "free"
        lines[place].append(line)
    lines["met"].sort(key=lambda line: bool(line["sure"]))
    beside = [
        (kind, title, [(column, _said(why, say), _few(samples.get(column)) if kind == "extras" else "") for column, why in _pairs(told.get(kind))])
        for kind, title in (("refused", "不收的列"), ("dropped", "没有收的列"), ("extras", "随记录保存的列"))
    ]
    return {
        "lines": lines, "columns": [(column, _few(samples.get(column))[:24]) for column in columns], "beside": [group for group in beside if group[2]], "unread": list((told.get("unread") or {}).items()),
        "cleared": list((told.get("cleared") or {}).items()),
    }


def _codes(connection: sa.Connection, noun: Resource | None, language: Language) -> dict[str, dict[str, str]]:
    """The choices of each field that has any, code and title."""
    return {field.name: cards.titles(connection, noun, field, language, used=False) for field in noun.writable if field.choices or field.listed} if noun else {}


def _housed(connection: sa.Connection, noun: Resource | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """What the houses are called that rows refer to, by field: a number tells nobody whether an address was found right."""
    names = [field.name for field in noun.writable if field.refers in ("compounds", "buildings", "units", "dwellings")] if noun else []
    values = [one for row in rows for one in (*row["values"].items(), *((c["field"], c["before"]) for c in row.get("changes", [])))]
    ids = [str(value) for name, value in values if name in names and value]
    return dict.fromkeys(names, addresses.called(connection, ids)) if ids else {}


def _pairs(told: object) -> list[tuple[str, object]]:
    if isinstance(told, Mapping):
        return [(str(name), why) for name, why in told.items()]
    return [(str(name), "") for name in told] if isinstance(told, list) else []


def _few(values: Sequence[object] | None) -> str:
    return "、".join(dict.fromkeys(str(value)[:30] for value in (values or []) if value not in (None, "")))[:120]


def _checked(
    request: Request, connection: sa.Connection, language: Language, upload: Upload, noun: Resource | None, say: Say
) -> dict[str, Any]:
    """One list of the check: what is wrong, what was repaired, or the rows of one fate."""
    counts = upload.counts or {}
    wrong = uploading.problems(connection, upload.id, most=LOOKED)
    mended, bad = [one for one in wrong if one["repaired"]], [one for one in wrong if not one["repaired"]]
    tabs = [("problems", "有问题", counts.get("refused", 0) or len(bad)), ("mended", "已修复", len(mended))]
    tabs += [(fate, title, counts.get(fate, 0)) for fate, title in FATES.items()]
    shown = [tab for tab in tabs if tab[2] or tab[0] == "new"]
    tab = request.query_params.get("tab") or next((name for name, _, count in shown if count), "new")
    if tab not in {name for name, *_ in tabs}:
        raise BadQuery(parameter="tab")
    after = _number(request, "after")
    addressed = (upload.told or {}).get("addressed") or {}
    precisions = [(PRECISION_TITLES.get(code, "没有对上"), count) for code, count in addressed.items()]
    told: dict[str, Any] = {"unaddressed": addressed.get("", 0), "addressed": precisions, "tab": tab, "tabs": shown, "rows": [], "wrong": [], "next": None, "after": after}
    if tab == "problems":
        told |= _faults(request, connection, upload, noun, bad, after, say)
    elif tab == "mended":
        unwanted = upload.choices.get("repair")
        told["wrong"] = [_fault(noun, one, say) | {"wanted": not isinstance(unwanted, list) or one["row"] not in unwanted} for one in mended]
    else:
        rows = uploading.rows(connection, upload.id, tab, after, ROWS + 1)
        codes = _codes(connection, noun, language) | _housed(connection, noun, rows)
        told["rows"] = [_row(noun, row, codes) for row in rows[:ROWS]]
        told["heads"] = list(dict.fromkeys(name for row in told["rows"] for name, _ in row["cells"]))[:8]
        told["next"] = rows[ROWS - 1]["row"] if len(rows) > ROWS else None
    told["link_to"] = lambda **more: "?" + urlencode({name: value for name, value in ({"step": 4, "tab": tab} | more).items() if value not in (None, "")})
    return told


def _faults(
    request: Request, connection: sa.Connection, upload: Upload, noun: Resource | None, bad: Sequence[Mapping[str, Any]], after: int,
    say: Say,
) -> dict[str, Any]:
    field, reason = request.query_params.get("field") or None, request.query_params.get("reason") or None
    found = [one for one in uploading.problems(connection, upload.id, field, reason, after, LOOKED) if not one["repaired"]]
    fields = Counter(one["field"] for one in bad if reason in (None, one["reason"]))
    reasons = Counter(one["reason"] for one in bad if field in (None, one["field"]))
    shown = {one["reason"]: _said(_reason(one), say) for one in reversed(bad)}
    return {
        "wrong": [_fault(noun, one, say) for one in found[:ROWS]], "next": found[ROWS - 1]["row"] if len(found) > ROWS else None,
        "fields": [(name, _title(noun, name), count) for name, count in fields.most_common()], "reasons": [(text, shown[text], count) for text, count in reasons.most_common(30)],
        "field": field, "reason": reason, "partial": len(bad) + 1 > LOOKED,
    }


def _own(connection: sa.Connection, upload: Upload, who: Caller) -> dict[str, Any]:
    """What is said, and may be said, of a layer of its own. Of its kind and area only where that was asked."""
    facts = (upload.refusal or {}).get("facts") or {}
    said = dict(upload.choices.get("as_layer") or {})
    choices = facts.get("choices") or [] if facts.get("option") == "as_layer" else []
    kinds = [kind for kind in KINDS if kind in choices or kind == said.get("kind")]
    asked = [str(choice) for choice in choices if choice not in KINDS]
    # Who keeps the system loads for every area.
    held = who.scope or ("",)
    known = [(str(layer.id), layer.title) for layer in layers.listed(connection) if any(layer.scope.startswith(path) for path in held)]
    return {
        "known": known,
        "said": said, "audiences": SEERS, "kinds": {kind: KINDS[kind] for kind in kinds}, "color": said.get("color", COLOR),
        "scopes": layers.places(connection, [*asked, *([said["scope"], *who.scope] if "scope" in said else [])]),
        "asked": facts.get("option") == "as_layer",
        # Nothing fits, or something was asked of it: then it is no longer aside.
        "open": bool(said) or facts.get("option") in ("noun", "as_layer"),
    }


def _place(upload: Upload, noun: Resource | None) -> str:
    """Where on the map a batch lies, with its layer shown; nothing for what has no place."""
    bounds = (upload.told or {}).get("bounds")
    layer = (upload.told or {}).get("layer") or {}
    if not bounds or not (layer or (noun and noun.geometry)):
        return ""
    west, south, east, north = bounds
    span = max(east - west, north - south, 1e-4)
    zoom = max(noun.style.zooms[0] if noun else 0, 10, min(18, int(math.log2(360 * 500 / 256 / span))))
    query = {"z": zoom, "lat": f"{(south + north) / 2:.6f}", "lng": f"{(west + east) / 2:.6f}", "layers": f"areas,{noun.name if noun else layer['id']}"}
    return "/?" + urlencode(query, safe=",")


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "-1")
    if not text.lstrip("-").isdecimal() or not -1 <= int(text) < 2**31:
        raise BadQuery(parameter=name)
    return int(text)


def _fault(noun: Resource | None, one: Mapping[str, Any], say: Say) -> dict[str, Any]:
    return dict(one) | {"title": _title(noun, one["field"]), "name": _name(one.get("record")), "said": _said(_reason(one), say)}


def _reason(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"sentence": one["reason"], "facts": one.get("facts")}


def _name(record: Mapping[str, Any] | None) -> str:
    """By what somebody recognises the row in their own file: its first values."""
    return "、".join(str(value)[:24] for value in list((record or {}).values())[:3] if value not in (None, "", {}, []))


def _row(noun: Resource | None, row: Mapping[str, Any], codes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    # A layer of its own has the columns of its file.
    given = [field.name for field in noun.writable] if noun else list(row["values"])
    cells = [(name, _cell(name, row["values"][name], codes)) for name in given if name in row["values"]]
    changes = [
        {"title": _title(noun, one["field"]), "before": _cell(one["field"], one["before"], codes), "after": _cell(one["field"], one["after"], codes)}
        for one in row.get("changes", []) if one["field"] in (*given, "geom", "geometry")
    ]
    return dict(row) | {"cells": cells, "by_name": dict(cells), "changes": changes, "title": next((value for _, value in cells if value), "")}


def _cell(name: str, value: object, codes: Mapping[str, Mapping[str, str]]) -> str:
    if value is None:
        return ""
    if name in ("geom", "geometry"):
        return "图形"
    if isinstance(value, bool):
        return "是" if value else "否"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else codes.get(name, {}).get(str(value), str(value))


def _chart(
    connection: sa.Connection, who: Caller, language: Language, upload: Upload, spots: Sequence[Mapping[str, Any]]
) -> drawn.Chart | None:
    """The map of what is staged over what is known, or None for what has no place."""
    placed = [(one["lon"], one["lat"]) for one in spots if one["lon"] is not None]
    if not placed:
        return None
    extent = (upload.told or {}).get("bounds") or [min(x for x, _ in placed), min(y for _, y in placed), max(x for x, _ in placed), max(y for _, y in placed)]
    west, south, east, north = extent
    # A single point has no extent of its own, and one that fills the frame shows nothing around it.
    wide, tall = max((east - west) * 0.15, 0.002), max((north - south) * 0.15, 0.0015)
    numbers = cards.headlines(connection)
    drawings = pages.drawings(connection, who, language, AROUND, {level["code"] for level in numbers["levels"]})
    around = [drawing for drawing in drawings if drawing.name in AROUND.split(",")]
    return drawn.Chart((west - wide, south - tall, east + wide, north + tall), around, f"/uploads/{upload.id}/tiles/{{z}}/{{x}}/{{y}}.mvt")


def _problems(connection: sa.Connection, id: UUID) -> Iterator[dict[str, Any]]:
    """All that is wrong, page by page; a row's problems are never torn apart by the end of a page."""
    after = -1
    while found := uploading.problems(connection, id, after=after, most=LOOKED):
        last = found[-1]["row"]
        whole = [one for one in found if len(found) < LOOKED or one["row"] != last] or found
        yield from whole
        if len(found) < LOOKED:
            return
        after = whole[-1]["row"]


def _shown(request: Request, language: Language, text: str, told: Trouble | None) -> Response:
    answer = pages.private(pages.page(request, language, text))
    answer.status_code = told.status if told else 200
    return answer
