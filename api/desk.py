"""The pages of who asks and who decides: files to take along, looks at what is masked. They work without scripts: a form
is answered by its page, with the sentence that says what is wrong, or by the file."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from api import deps, sending
from api.deps import PURPOSE_CODES, CallerNow, Connection, LanguageNow, able, strict
from api.errors import STATUS
from api.limits import limited
from api.pages import page, reader
from geo import accounts, db, exports, unmasking
from geo.catalog import LEVELS, RESOURCES
from geo.catalog.purposes import PURPOSES
from geo.db import Caller
from geo.disclosure import FORMATS, REVIEWED_WITHIN
from geo.errors import Forbidden, GeoError
from geo.exporting import ENCODINGS, ZONES, checked
from geo.exports import Export
from geo.language import Language, translated
from maps import pages

PURPOSE_TITLES = {purpose.code: purpose.title for purpose in PURPOSES}

AREAS = 1000  # to choose from; a town has fewer

routes = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=500)]


def exports_page(request: Request, connection: sa.Connection, who: Caller, language: Language, error: GeoError | None = None) -> Response:
    """The requests that wait for one's decision, one's own, and the form of a new one."""
    known = exports.listed(connection)
    nouns = {name: resource.title for name, resource in RESOURCES.items() if who.knows(resource)} if "export" in who.may else {}
    return answered(request, language, error, pages.exports(
        reader(request, language),
        waiting=[described(export) for export in known if export.decidable],
        mine=[described(export) for export in known if export.mine],
        others=[described(export) for export in known if not export.mine and not export.decidable],
        choices={
            "nouns": nouns, "formats": FORMATS, "encodings": ENCODINGS, "zones": _zones(), "purposes": PURPOSE_TITLES,
            "areas": areas_offered(connection, language) if nouns else [],
        },
        complaint=error.said(partial(translated, language=language)) if error else "",
    ))


def unmaskings_page(request: Request, connection: sa.Connection, language: Language, rows: Sequence[dict[str, Any]], error: GeoError | None = None) -> Response:
    """Who looked at what in clear, and the form by which another says whether it was in order."""
    waiting, overdue = unmasking.waiting(connection)
    return answered(request, language, error, pages.unmaskings(
        reader(request, language), [looked(row) for row in rows], (waiting, overdue, REVIEWED_WITHIN.days), unmasking.VERDICTS,
        error.said(partial(translated, language=language)) if error else "",
    ))


@routes.post("/exports/form", dependencies=[limited("export"), able("export"), strict()])
def ask(
    request: Request, connection: Connection, who: CallerNow, language: LanguageNow, noun: Text, format: Text = "csv",
    purpose: Annotated[Literal[PURPOSE_CODES], Form()] = "service", note: Text = "",  # type: ignore[valid-type]
    personal: Annotated[bool, Form()] = False, within: Annotated[str, Form(pattern="^([0-9A-Z]{2,18})?$")] = "",
    encoding: Text = "utf-8", crs: Text = "",
) -> Response:
    """The file, or a request and back to the list."""
    made: list[UUID | Response] = []
    error = tried(request, connection, lambda: made.append(
        sending.asked(
            request, connection, who, noun, checked(format), None, {"within": within} if within else {}, personal, purpose, note,
            encoding, crs or None,
        )
    ))
    if error:
        return exports_page(request, connection, who, language, error)
    return made[0] if isinstance(made[0], Response) else RedirectResponse("/exports", 303)


@routes.post("/exports/{id}/form", dependencies=[able("export", "approve"), strict()])
def decide(
    id: UUID, request: Request, connection: Connection, who: CallerNow, language: LanguageNow,
    target: Annotated[Literal["approved", "refused", "withdrawn"], Form()], opinion: Text = "",
) -> Response:
    """Approve, refuse or withdraw, and back to the list."""
    error = tried(request, connection, lambda: sending.moved(request, connection, who, id, target, opinion))
    return exports_page(request, connection, who, language, error) if error else RedirectResponse("/exports", 303)


@routes.post("/unmaskings/{id}/form", dependencies=[able("approve", "audit"), strict()])
def review(
    id: UUID, request: Request, connection: Connection, language: LanguageNow,
    verdict: Annotated[Literal["proper", "improper"], Form()], opinion: Text = "",
) -> Response:
    """Say whether it was in order, and back to the list."""

    def act() -> None:
        unmasking.review(connection, id, verdict, opinion)
        deps.noted(request, "approve", "unmaskings", str(id), result=verdict)

    error = tried(request, connection, act)
    return unmaskings_page(request, connection, language, unmasking.listed(connection), error) if error else RedirectResponse("/unmaskings", 303)


def tried(request: Request, connection: sa.Connection, act: Callable[[], object]) -> GeoError | None:
    """What went wrong, with the transaction as it was before; a refusal is in the trail as any."""
    try:
        with db.translated(), connection.begin_nested():
            act()
    except GeoError as error:
        if isinstance(error, Forbidden):
            deps.refused(request, type(error).slug())
        return error
    return None


def answered(request: Request, language: Language, error: GeoError | None, text: str) -> Response:
    """A page that nobody keeps, with the status of what went wrong."""
    answer = page(request, language, text)
    answer.headers["Cache-Control"] = "no-store"
    answer.status_code = STATUS[type(error)] if error else 200
    return answer


def areas_offered(connection: sa.Connection, language: Language) -> list[tuple[str, str]]:
    """Areas to choose from, stairwells left out: path, and name with level."""
    titles = {level.code: translated(level.title, language) for level in LEVELS}
    return [
        (area["path"], f"{area['name'] or area['path']} · {titles.get(area['level'], '')}") for area in accounts.areas(connection, AREAS)
        if area["level"] != "micro_grid"
    ]


def _zones() -> list[tuple[str, int, int]]:
    """The zones of 3° that a shape may be written in: code, central meridian, number before the easting or 0."""
    # Numbers 25 to 45 stand for three times as many degrees; the second half of the codes has the same meridians without them.
    half = len(ZONES) // 2
    return [(code, 3 * (25 + at % half), 25 + at if at < half else 0) for at, code in enumerate(ZONES)]


def described(export: Export) -> dict[str, Any]:
    """A request with the titles that people read."""
    resource = RESOURCES.get(export.noun)
    fields = [resource[name].title for name in export.fields] if resource and export.fields else []
    conditions = [(resource[name].title if resource else name, value) for name, value in (export.filter.get("equals") or {}).items()]
    return vars(export) | {
        "noun_title": resource.title if resource else export.noun, "field_titles": fields, "conditions": conditions,
        "bbox": export.filter.get("bbox"),
        "state_title": exports.STATES[export.state], "purpose_title": PURPOSE_TITLES[export.purpose], "takeable": export.takeable,
    }


def looked(row: dict[str, Any]) -> dict[str, Any]:
    """An unmasking with the titles that people read."""
    resource = RESOURCES.get(row["noun"])
    return row | {
        "noun_title": resource.title if resource else row["noun"],
        "field_titles": [resource[name].title if resource else name for name in row["fields"]],
        "purpose_title": PURPOSE_TITLES[row["purpose"]],
        "verdict_title": unmasking.VERDICTS.get(row["verdict"] or "", ""),
    }
