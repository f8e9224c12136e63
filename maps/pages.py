"""The pages: plain data in, a whole HTML document (or a fragment of one) out, as text.

Every text goes through an autoescaping template; there is no other way in. What is Chinese here and in the
templates is a gettext id, put into the reader's language by the `say` that comes with `Reader`.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from geo.resource import REASONS
from maps import sheets
from maps.canvas import Canvas, Control, composed
from maps.layer import SYMBOLS, Drawing, Look
from maps.legend import entries, swatch
from maps.links import ASSETS, link

TILES = "/tiles/{path}/{z}/{x}/{y}.pbf?{query}"


@dataclass(frozen=True)
class Known:
    """A reader who has come in: as what they act, what else they might be, and where they may go."""

    name: str
    login: str
    role: str  # its title
    places: str  # names of the areas
    appointments: Sequence[Mapping[str, Any]] = ()  # id, title, places, stands_in, current
    menu: Sequence[tuple[str, str]] = ()  # address, title
    withheld: bool = False  # an administrator without a second factor
    works: bool = False  # with cases, some of which may wait for them


@dataclass(frozen=True)
class Reader:
    """Who reads: the language, the function that speaks it, the nonce that lets our scripts run, and the person if known."""

    language: str
    say: Callable[[str], str]
    nonce: str
    known: Known | None = None


@dataclass(frozen=True)
class View:
    """What the address bar says about the map; what it does not say is None."""

    latitude: float | None = None
    longitude: float | None = None
    zoom: float | None = None
    listed: bool = False
    within: str = ""  # the path of the area whose parts are listed
    sheet: str = "public"
    sort: str = ""  # the column that a list is sorted by

    def listed_by(self, sort: str = "", within: str | None = None) -> str:
        """The address of the list, sorted by another column or of another area."""
        told = {"view": "list", "sheet": self.sheet, "within": self.within if within is None else within, "sort": sort or self.sort}
        return "/?" + urlencode({name: value for name, value in told.items() if value and (name, value) != ("sheet", "public")})

    @property
    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude of the middle of the map, when both are given."""
        if self.latitude is None or self.longitude is None:
            return None
        return self.latitude, self.longitude


def leader(reader: Reader, view: View, drawings: Sequence[Drawing], numbers: Mapping[str, Any]) -> str:
    """The leader's map, or with `view.listed` the same data as a table.

    `numbers` is what `api.leader.told` gives: the name of the instance, its extent (west, south, east, north), the counts with those of a
    day ago, what to look at first, a row for every community; for the map also its `sheets`, its `overlays` and whether each is shown.
    """
    if view.listed:
        return _page("list.html", reader, numbers=numbers, view=view, address="/")
    say = reader.say
    controls = [
        Control("Zoom", position="topright", zoomInTitle=say("放大"), zoomOutTitle=say("缩小")),
        Control("Scale", position="bottomright", imperial=False),
    ]
    fragments = composed(Canvas(numbers["extent"], view.place, view.zoom), drawings, controls, TILES)
    return _page(
        "leader.html",
        reader,
        numbers=numbers,
        view=view,
        looks=sheets.looks(),
        drawings=sorted(drawings, key=lambda drawing: -drawing.resource.style.order),
        map=fragments,
        address="/",
    )


def card(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The card of the area at a place, as a fragment: what `geo.cards.card` gives."""
    return _template("card.html").render(_context(reader), card=facts)


def card_page(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The same card as a page of its own, for those who follow a link without scripts."""
    return _page("identify.html", reader, card=facts, address="/identify")


def call(reader: Reader, number: str, fragment: bool) -> str:
    """The number of somebody who may be called, as a link that calls it; as a page of its own without scripts."""
    if fragment:
        return _template("called.html").render(_context(reader), number=number)
    return _page("call.html", reader, number=number, address="/")


def outline(title: str, sketch: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The map as a drawing: areas by grade where it is told, zones by pattern, and how many cases are open in each."""
    place: Callable[[float, float], tuple[float, float]] = sketch["place"]
    marked = [dict(row) | {"at": place(row["longitude"], row["latitude"]), "outline": sketch["areas"].get(row["id"], "")} for row in rows]
    return _template("map.svg").render(title=title, sketch=sketch, rows=marked, colors=sheets.GRADE_COLORS)


def tel(number: str | None) -> str:
    """The address that calls a number; empty for what is none."""
    digits = re.sub(r"[\s()（）-]", "", number or "")
    return f"tel:{digits}" if re.fullmatch(r"\+?[0-9]{3,20}", digits) else ""


def change(now: int, before: int) -> str:
    """How a count has changed: `+3`, `−2`, or nothing."""
    return "" if now == before else f"{now - before:+,}".replace("-", "−")


def review(
    reader: Reader, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], reason: str | None
) -> str:
    """Records that await a placing decision: the first of them, and how many there are by reason."""
    reasons = [("", "全部", sum(counts.values()))]
    reasons += [(choice.code, choice.title, counts.get(choice.code, 0)) for choice in REASONS]
    total = counts.get(reason, 0) if reason else sum(counts.values())
    return _page(
        "review.html", reader, rows=rows, reasons=reasons, total=total, reason=reason, address="/review"
    )


def topology(
    reader: Reader,
    report: Mapping[str, Any],
    levels: Mapping[str, str],
    findings: Sequence[Mapping[str, Any]],
) -> str:
    """How the areas of `report["level"]` fit together, and each thing that does not, with its measure in m²."""
    return _page(
        "topology.html", reader, report=report, levels=levels, findings=findings, address="/boundaries"
    )


def exports(
    reader: Reader,
    waiting: Sequence[Mapping[str, Any]],
    mine: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    choices: Mapping[str, Any],
    complaint: str = "",
) -> str:
    """Requests for files with persons in them: those that wait for the reader, the reader's own, the rest; and, where there
    are `choices["nouns"]`, the form of a new one. `complaint` is the sentence that says what went wrong."""
    return _page(
        "exports.html", reader, waiting=waiting, mine=mine, others=others, choices=choices, complaint=complaint,
        address="/exports",
    )


def templates(reader: Reader, nouns: Sequence[tuple[str, str, str]]) -> str:
    """Empty tables to fill in: title and meaning of each noun, and where its table is."""
    return _page("templates.html", reader, nouns=nouns, address="/templates")


def unmaskings(
    reader: Reader,
    rows: Sequence[Mapping[str, Any]],
    counts: tuple[int, int, int],
    verdicts: Mapping[str, str],
    complaint: str = "",
) -> str:
    """Who looked at what in clear. `counts`: how many wait for a review, how many of them for longer than so many days."""
    return _page(
        "unmaskings.html", reader, rows=rows, counts=counts, verdicts=verdicts, complaint=complaint, address="/unmaskings"
    )


@dataclass(frozen=True)
class Chart:
    """A map of what is staged: west, south, east, north in degrees, what lies around it, and the address of its tiles."""

    extent: tuple[float, float, float, float]
    around: Sequence[Drawing]
    tiles: str


# How a staged row is drawn, by its fate: forms differ before hues do.
STAGED = {
    "new": Look(fill="#0B5FA5", opacity=0.35, stroke="#0B4F8A", width=2.2, casing="#FFFFFF", symbol="circle", size=7.0, place=3),
    "changed": Look(
        fill="#8A5A00", opacity=0.3, stroke="#8A5A00", width=2.2, dash=(8, 5), casing="#FFFFFF", symbol="diamond", size=8.0, place=2
    ),
    "conflict": Look(
        fill="#B3261E", opacity=0.15, hatch="#B3261E", stroke="#B3261E", width=2.2, casing="#FFFFFF", symbol="triangle", size=8.0, place=1
    ),
    "unchanged": Look(fill="#6B7682", opacity=0.15, stroke="#6B7682", width=1.2, symbol="square", size=6.0, place=4),
    "missing": Look(fill="#FFFFFF", opacity=0.4, hatch="#46525F", stroke="#46525F", width=1.6, dash=(2, 4), symbol="cross", size=8.0, place=5),
}


def uploads(reader: Reader, uploads: Sequence[Mapping[str, Any]], nouns: Mapping[str, str]) -> str:
    """Where files are sent, and the reader's own, newest first. `nouns`: what rows may be, by name, with titles."""
    return _page("uploads.html", reader, uploads=uploads, nouns=nouns, address="/uploads")


def upload(reader: Reader, facts: Mapping[str, Any], chart: Chart | None) -> str:
    """One file at one of its steps: `facts` as `api.upload_pages` tells them, and the map where there is something to see."""
    told = None
    if chart:
        say = reader.say
        controls = [Control("Zoom", position="topright", zoomInTitle=say("放大"), zoomOutTitle=say("缩小"))]
        told = composed(Canvas(chart.extent), chart.around, controls, TILES)
    staged = {fate: {name: value for name, value in vars(look).items() if value is not None} for fate, look in STAGED.items()}
    return _page("upload.html", reader, **facts, map=told, chart=chart, staged=staged, symbols=SYMBOLS, address="/uploads")


def upload_progress(reader: Reader, facts: Mapping[str, Any]) -> str:
    """How far the work on a file has got, as a fragment that asks for itself again."""
    return _template("upload_progress.html").render(_context(reader), **facts)


def aliases(reader: Reader, facts: Mapping[str, Any]) -> str:
    """What addresses mean: those that people have said, a form for another, and the texts of a file that led nowhere."""
    return _page("aliases.html", reader, **facts, address="/addresses/aliases")


@dataclass(frozen=True)
class Spot:
    """A place to be shown on a small map: longitude, latitude, and what lies around it."""

    longitude: float
    latitude: float
    around: Sequence[Drawing]


def inbox(reader: Reader, facts: Mapping[str, Any]) -> str:
    """What waits for the reader: `cases` as `api.case_pages.shown` tells them, the most pressing first."""
    return _page("inbox.html", reader, **facts, address="/inbox")


def cases(reader: Reader, facts: Mapping[str, Any]) -> str:
    """A page of cases as a table, with the filter and the steps that can be taken with many."""
    return _page("cases.html", reader, **facts, address="/cases")


def board(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The cases by stage."""
    return _page("board.html", reader, **facts, address="/cases")


def indicators(reader: Reader, facts: Mapping[str, Any]) -> str:
    """How cases went in a period: stock and flow, rates with what they are made of, posts."""
    return _page("indicators.html", reader, **facts, address="/indicators")


def hub(reader: Reader, facts: Mapping[str, Any]) -> str:
    """What the street's office has before it, what the responsibility list lacks, who came when called, and a form for a task."""
    return _page("hub.html", reader, **facts, address="/hub")


def case(reader: Reader, facts: Mapping[str, Any], spot: Spot | None) -> str:
    """One case: how it stands, its next steps as forms, the steps it took, and where it is."""
    told = None
    if spot:
        controls = [Control("Zoom", position="topright", zoomInTitle=reader.say("放大"), zoomOutTitle=reader.say("缩小"))]
        extent = (spot.longitude - 0.004, spot.latitude - 0.003, spot.longitude + 0.004, spot.latitude + 0.003)
        told = composed(Canvas(extent, (spot.latitude, spot.longitude), 17), spot.around, controls, TILES)
    return _page("case.html", reader, **facts, map=told, spot=spot, address="/cases")


def collections(reader: Reader, listed: Sequence[Mapping[str, Any]]) -> str:
    """Every collection, as OGC API describes them."""
    return _page("collections.html", reader, collections=listed, address="/collections")


def features(reader: Reader, facts: Mapping[str, Any]) -> str:
    """Features of a collection in a table, or `one` of them: `id`, `title`, `about`, `columns` as name and title, `rows` with
    their `id` and `cells`, `next` and `prev`, the address of the same as `json`, and what was `asked`."""
    return _page("features.html", reader, **facts, address="/collections")


def refusal(reader: Reader, status: int, sentence: str) -> str:
    """Why somebody gets no page, and the ways on."""
    return _page("refusal.html", reader, status=status, sentence=sentence, address="")


def sign_in(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The way in: `next`, `login` as typed, `proof` once a code is asked for, `oidc`, and the `trouble` of the last try."""
    return _page("sign_in.html", reader, **facts, address="/sign-in")


def slip(reader: Reader, facts: Mapping[str, Any]) -> str:
    """Where the holder of a slip sets a password: `code` as given, `holder` if it is good, and the `trouble` of the last try."""
    return _page("slip.html", reader, **facts, address="/slip")


def account(reader: Reader, facts: Mapping[str, Any]) -> str:
    """One's own account: password, second factor, sessions, tokens, appointments."""
    return _page("account.html", reader, **facts, address="/account")


def accounts(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The accounts that somebody decides over, a page of them."""
    return _page("accounts.html", reader, **facts, address="/accounts")


def person(reader: Reader, facts: Mapping[str, Any]) -> str:
    """One of these accounts, and what may be done with it."""
    return _page("person.html", reader, **facts, address="/accounts")


def newcomer(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The form of a new account."""
    return _page("newcomer.html", reader, **facts, address="/accounts")


def enrolment(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The form that takes a sheet of people, and what became of each of its rows."""
    return _page("enrolment.html", reader, **facts, address="/accounts")


def slips(reader: Reader, given: Sequence[Mapping[str, Any]], place: str, english: Callable[[str], str]) -> str:
    """One-time slips to print and hand out, each in both languages: login, name, code, link, ends."""
    return _page("slips.html", reader, slips=given, place=place, languages=(("zh-CN", str), ("en", english)), address="/accounts")


def slips_alone(given: Sequence[Mapping[str, Any]], place: str, english: Callable[[str], str]) -> str:
    """The same as a file that needs no server."""
    style = (ASSETS / "app" / "app.css").read_text(encoding="utf-8")
    return _template("slips_alone.html").render(
        _=str, slips=given, place=place, languages=(("zh-CN", str), ("en", english)), style=Markup(style)
    )


def report(reader: Reader, facts: Mapping[str, Any]) -> str:
    """The public's form: what was `given`, the place it means (`spot`, or `others` it may mean), what is known `near`."""
    return _page("report.html", reader, **facts, address="/report")


def reported(reader: Reader, facts: Mapping[str, Any]) -> str:
    """Ticket and code, once."""
    return _page("report_done.html", reader, **facts)


def follow(reader: Reader, facts: Mapping[str, Any]) -> str:
    """How a report goes: `typed` ticket and code, and with them `how` and its `stages`."""
    return _page("report_follow.html", reader, **facts, address="/report/follow")


def picker(reader: Reader, view: View, drawings: Sequence[Drawing], extent: tuple[float, float, float, float]) -> str:
    """The map alone, whose middle is a place."""
    controls = [Control("Zoom", position="topright", zoomInTitle=reader.say("放大"), zoomOutTitle=reader.say("缩小"))]
    fragments = composed(Canvas(extent, view.place, view.zoom), drawings, controls, TILES)
    return _page("report_place.html", reader, map=fragments)


def codes(
    reader: Reader, told: Sequence[Mapping[str, Any]], place: str, within: str, each: str, english: Callable[[str], str]
) -> str:
    """Printed codes for houses and stairwells, each in both languages: `title`, `link`."""
    languages = (("zh-CN", str), ("en", english))
    return _page("codes.html", reader, codes=told, place=place, within=within, each=each, languages=languages, address="/qr/sheet")


def qr_file(text: str) -> bytes:
    """A QR code as a file of SVG."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", scale=8, border=3, light="#fff", xmldecl=False)
    return out.getvalue()


def qr(text: str) -> Markup:
    """A QR code as an SVG that is drawn as large as its place."""
    drawn = segno.make(text, error="m", micro=False)
    return Markup(drawn.svg_inline(omitsize=True, svgclass="qr", lineclass=None, border=3, light="#fff"))


def grouped(code: str) -> str:
    """A code in groups of four, as people copy them."""
    return " ".join(code[at : at + 4] for at in range(0, len(code), 4))


def day(value: datetime | None) -> str:
    """The day of a moment."""
    return "" if value is None else f"{value:%Y-%m-%d}"


def last_day(value: datetime | None) -> str:
    """The last whole day before an end: what ends at midnight holds the day before."""
    return "" if value is None else f"{value - timedelta(microseconds=1):%Y-%m-%d}"


def number(value: float | None) -> str:
    """`12345` → `12,345`; what is not known is a dash."""
    return "—" if value is None else f"{value:,}"


def bytes_told(value: int) -> str:
    """`1234567` → `1.2 MB`."""
    if value < 1000:
        return f"{value} B"
    return f"{value / 1000:.0f} KB" if value < 1_000_000 else f"{value / 1_000_000:.1f} MB"


def moment(value: datetime | None) -> str:
    """To the minute, in the time zone it comes in; the reader's place has only one."""
    return "—" if value is None else f"{value:%Y-%m-%d %H:%M}"


def hectares(square_metres: float | None) -> str:
    """`28400.0` → `2.8`, and no false precision above a hundred."""
    if square_metres is None:
        return "—"
    value = square_metres / 10_000
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def there(longitude: float, latitude: float, zoom: int = 17, card: bool = True) -> str:
    """The address of the map at a place, with its card open."""
    place = {"z": zoom, "lat": f"{latitude:.6f}", "lng": f"{longitude:.6f}"}
    return "/?" + urlencode(place | ({"card": f"{longitude:.6f},{latitude:.6f}"} if card else {}), safe=",")


def _page(name: str, reader: Reader, /, **facts: Any) -> str:
    return _template(name).render(_context(reader), **facts)


def _context(reader: Reader) -> dict[str, Any]:
    return {"_": reader.say, "language": reader.language, "nonce": reader.nonce, "known": reader.known}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("maps"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, moment=moment, hectares=hectares, qr=qr, grouped=grouped, day=day, last_day=last_day, bytes=bytes_told, tel=tel
    )
    environment.globals.update(link=link, there=there, swatch=swatch, entries=entries, markup=Markup, change=change)
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)
