"""The reference pages in `docs/reference`, written from the declarations. Never edited by hand: `jingwei docs`."""

import re
from collections.abc import Iterable, Iterator
from csv import DictReader
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from api.cli import app
from api.errors import STATUS, TITLES
from api.limits import LIMITS
from api.settings import Settings
from geo.catalog import ACTIONS, CODE_LISTS, LEVELS, RESOURCES, WIDTHS, workflow
from geo.db import SENTENCES
from geo.disclosure import FORMATS
from geo.errors import GeoError
from geo.language import translated
from geo.resource import BASES, RETIRED_DAYS, Field, Keeping, Place, Resource, Style
from geo.retention import BESIDE, TRACES, UNTOUCHED
from geo.statements import HEAD

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `jingwei docs` from the declarations. Edit those, not this. -->"

PLACES = {
    Place.NONE: "none of its own",
    Place.POINT: "its representative point: one area a level",
    Place.SHARES: "every area it touches, with the share of each",
    Place.INHERITS: "that of its building; it answers to the micro-grid of its part of it",
}
TYPES = {"str": "text", "int": "whole number", "float": "number", "bool": "yes/no", "datetime": "moment", "date": "date", "UUID": "id"}


def write(check: bool) -> int:
    """Write the pages, or with `check` only compare. Returns 1 when a page was not what the declarations say, else 0."""
    old = {path.name for path in FOLDER.glob("*.md")}
    wrong = sorted(old - set(pages()))
    for name, text in pages().items():
        page = FOLDER / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        wrong.append(name)
        if not check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
    for name in wrong:
        print(f"docs/reference/{name}")
    return int(check and bool(wrong))


def pages() -> dict[str, str]:
    """Every reference page by its file name."""
    made = {
        "resources.md": _resources(), "errors.md": _errors(), "code-lists.md": _code_lists(), "cli.md": _commands(),
        "statements.md": _statements(), "settings.md": _settings(), "personal-data.md": _personal(), "trail.md": _trail(),
        "limits.md": _limits(), "workflow.md": _workflow(),
    }
    whole = {name: "\n".join([NOTE, "", *lines]).rstrip() + "\n" for name, lines in made.items()}
    return {name: re.sub(r"\n{3,}", "\n\n", text) for name, text in whole.items()}


def _resources() -> Iterator[str]:
    yield "# Resources"
    yield ""
    yield "Each is declared once, in `geo/catalog/`; table, API, upload matching, map layer, legend and tests follow from it."
    yield "Besides its own fields every record has `id`, `version`, `source`, `batch` and the time it was retired."
    yield ""
    yield from _table(
        ("resource", "title", "element", "geometry", "place", "seen by"),
        (
            (f"[`{r.name}`](#{r.name})", _both(r.title), r.element, _shape(r), PLACES[r.place], r.audience.name.lower())
            for r in RESOURCES.values()
        ),
    )
    yield "Levels of areas, and the length of their paths: " + ", ".join(
        f"`{level.code}` {_both(level.title)} {WIDTHS[level.code]}" for level in LEVELS
    ) + "."
    for resource in RESOURCES.values():
        yield from _resource(resource)


def _resource(resource: Resource) -> Iterator[str]:
    yield ""
    yield f"## {resource.name}"
    yield ""
    yield f"**{_both(resource.title)}**. {resource.about}"
    yield ""
    yield _english(resource.about)
    yield ""
    facts = [f"Place: {PLACES[resource.place]}."]
    if resource.key:
        facts.append(f"Unique among the living: {', '.join(f'`{name}`' for name in resource.key)}.")
    if resource.moment:
        facts.append(f"Placed in the areas of its own time, `{resource.moment}`.")
    if resource.coarse:
        facts.append(f"Below worker, shown at the representative point of its {resource.coarse}.")
    if resource.public_rows:
        facts.append(f"The public sees the rows where `{resource.public_rows}`.")
    yield from (f"- {fact}" for fact in facts)
    yield ""
    yield from _table(
        ("field", "title", "type", "rules", "seen by", "column headers that are understood"),
        (_field(resource, field) for field in resource.all_fields),
    )
    chosen = [field for field in resource.all_fields if field.choices]
    for field in chosen:
        yield f"`{field.name}`: " + ", ".join(f"`{c.code}` {_both(c.title)}" for c in field.choices) + "."
        yield ""
    if resource.rules:
        yield from _table(
            ("rule", "what has to hold", "what who breaks it is told"),
            (
                (f"`{resource.name}_{rule.name}_check`", f"`{rule.sql}`", f"{rule.message} {_english(rule.message)}")
                for rule in resource.rules
            ),
        )
    if resource.keeps_personal:
        yield f"Personal fields, why they are kept and for how long: [personal data](personal-data.md#{resource.name})."
        yield ""
    if resource.geometry:
        yield f"Drawn: {_drawn(resource.style)}"


def _field(resource: Resource, field: Field) -> tuple[str, ...]:
    rules = ["required"] if field.required else []
    if field.derived:
        rules.append("computed when read")
    elif not field.writable:
        rules.append("set by the server")
    if field.listed:
        rules.append(f"a code of [`{field.listed}`](code-lists.md#{field.listed})")
    if field.refers:
        rules.append("a path of `areas`" if field.refers == "area_paths" else f"one of [`{field.refers}`](#{field.refers})")
    if field.minimum is not None or field.maximum is not None:
        rules.append(f"{'' if field.minimum is None else f'{field.minimum:g}'}…{'' if field.maximum is None else f'{field.maximum:g}'}")
    if field.pattern:
        rules.append(f"`{field.pattern}`")
    if field.type is str and not (field.choices or field.listed or field.refers or field.derived):
        rules.append(f"≤ {field.longest} characters")
    if field.default is not None:
        rules.append(f"else `{str(field.default).lower() if isinstance(field.default, bool) else field.default}`")
    if field.unit:
        rules.append(field.unit)
    kind = "choice" if field.choices else TYPES[field.type.__name__]
    spellings = ", ".join(field.spellings[1:]) if field.writable and field.stored else ""
    return f"`{field.name}`", _both(field.title), kind, "; ".join(rules), field.audience.name.lower(), spellings


def _personal() -> Iterator[str]:
    yield "# Personal data"
    yield ""
    yield "Every field that tells of a person: why it is kept, on what ground (个人信息保护法 Art 13), for how long and from when on, who"
    yield "sees it, and how it is stored. Written from the declarations that the database destroys by: what is not here is not"
    yield "kept. What to do with it: [data protection](../howto/data-protection.md)."
    yield ""
    yield f"What is taken off the lists (retired) is kept {RETIRED_DAYS} days at most. What was gathered for an emergency (`activation`) goes"
    yield "when the review after its end is over, whatever its period. A record about a person goes whole, with its journal;"
    yield "of other records the field goes and the record stays."
    for resource in RESOURCES.values():
        if resource.keeps_personal:
            yield ""
            yield f"## {resource.name}"
            yield ""
            yield f"**{_both(resource.title)}**, of the element {resource.element}."
            yield ""
            kept = ((field, keeping) for field in resource.fields if (keeping := resource.kept(field)))
            yield from _table(KEPT, (_kept(f"`{f.name}` {_both(f.title)}", k, _seen(resource, f), _stored(f)) for f, k in kept))
    yield ""
    yield "## Beside the resources"
    yield ""
    yield from _table(KEPT, (_kept(f"`{b.table}.{b.field}` {_both(b.title)}", b.keeping, b.seen_by, b.stored) for b in BESIDE))
    yield ""
    yield "## What destruction reaches"
    yield ""
    yield "The row or field, and beside it: " + ", ".join(f"`{trace.table}`" for trace in TRACES) + "."
    yield ""
    yield "Tables that hold text and say nothing of a row, and why:"
    yield ""
    yield from _table(("table", "what it holds"), ((f"`{table}`", why) for table, why in UNTOUCHED.items()))


KEPT = ("field", "purpose", "basis", "days", "since", "then", "seen by", "stored as")


def _kept(title: str, keeping: Keeping, seen: str, stored: str) -> tuple[str, ...]:
    basis = next(base.title for base in BASES if base.code == keeping.basis)
    goes = "the record goes" if keeping.whole else "the field goes"
    return title, _both(keeping.purpose), _both(basis), str(keeping.days), f"`{keeping.since}`", goes, seen, stored


def _seen(resource: Resource, field: Field) -> str:
    lowest = max(resource.audience, field.audience)
    if not (field.secret or field.name_of_person):
        return lowest.name.lower()
    clear = "one by one, with a purpose" if field.clear is None else f"from {field.clear.name.lower()} on"
    return f"{lowest.name.lower()}, masked; in clear {clear}" if field.clear != lowest else f"{lowest.name.lower()}, in clear"


def _stored(field: Field) -> str:
    if field.secret:
        return "keyed hash only" if field.hashed else "mask, cipher and keyed hash"
    return "name, and its mask" if field.name_of_person else "plain"


def _drawn(style: Style) -> str:
    told = [f"`{style.color}`", f"zoom {style.zooms[0]}–{style.zooms[1]}"]
    if style.by:
        told.append(f"by `{style.by}`")
    told += [f"`{value}` {shape}" for value, shape in style.shapes]
    if not style.shown:
        told.append("switched off at first")
    return ", ".join(told) + "."


def _shape(resource: Resource) -> str:
    if resource.geometry is None:
        return ""
    return resource.geometry.title().replace("polygon", "Polygon").replace("linestring", "LineString") + (
        "" if resource.geometry_required else ", may be missing"
    )


def _errors() -> Iterator[str]:
    yield "# Errors"
    yield ""
    yield "Every refusal is `application/problem+json` (RFC 9457): `type` is `/problems/` and the name below, `title` and"
    yield "`detail` are in the language of `Accept-Language`, and further members say what it is about (`field`, `rule`,"
    yield "`parameter`, `choices`, `columns` …). 500 and above are logged."
    yield ""
    yield from _table(
        ("type", "status", "Chinese", "English"),
        ((f"`{kind.slug()}`", str(status), _said(kind), _english(_said(kind))) for kind, status in STATUS.items()),
    )
    yield "What the protocol refuses before a rule is asked has the type `http-` and the status:"
    yield ""
    yield from _table(("status", "Chinese", "English"), ((str(s), title, _english(title)) for s, title in TITLES.items()))
    yield "Rules of the database that have a sentence of their own (member `rule`); those of a resource are on"
    yield "[its page](resources.md):"
    yield ""
    yield from _table(("rule", "Chinese", "English"), ((f"`{r}`", text, _english(text)) for r, text in SENTENCES.items()))


def _said(kind: type[GeoError]) -> str:
    return kind.__doc__ or ""


def _code_lists() -> Iterator[str]:
    yield "# Code lists"
    yield ""
    yield "Values that a town edits in `data/codes/*.csv` without touching Python; `jingwei migrate` takes them in. A code that"
    yield "left the file is retired, and stays with the records that have it."
    for name in CODE_LISTS:
        with (ROOT / "data" / "codes" / f"{name}.csv").open(encoding="utf-8", newline="") as source:
            rows = list(DictReader(source))
        yield ""
        yield f"## {name}"
        yield ""
        yield "Used by " + ", ".join(
            f"[`{r.name}.{f.name}`](resources.md#{r.name})" for r in RESOURCES.values() for f in r.fields if f.listed == name
        ) + "."
        yield ""
        yield from _table(
            ("code", "Chinese", "English", "above", "note"),
            ((f"`{row['code']}`", row["title"], row["title_en"], row["parent"], row["note"]) for row in rows),
        )


def _commands() -> Iterator[str]:
    yield "# The jingwei command"
    yield ""
    yield "Sentences come in Chinese, or in English where `LC_ALL`, `LC_MESSAGES` or `LANG` begins with `en`. What goes wrong is"
    yield "one sentence that says what to do, and exit status 1."
    yield ""
    yield f"Formats of `export`: {', '.join(f'`{kind}`' for kind in FORMATS)}."
    for name, command in _listed(typer.main.get_command(app)):
        yield ""
        yield f"## jingwei {name}"
        yield ""
        yield command.help or ""
        yield ""
        yield from _table(
            ("argument or option", "what it is"),
            (
                (
                    f"`{parameter.name.upper() if parameter.param_type_name == 'argument' else ' '.join(parameter.opts)}`",
                    "; ".join(
                        filter(None, (
                            "required" if parameter.required else "", getattr(parameter, "help", None) or "",
                            "" if parameter.default in (None, False) or parameter.required else f"else `{parameter.default}`",
                        ))
                    ),
                )
                for parameter in command.params
            ),
        )


def _listed(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, those of a group under its name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _listed(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def _trail() -> Iterator[str]:
    yield "# The trail"
    yield ""
    yield "A row for every act that has to be answered for: who (`actor`, `acting_as`), what (`action`, `noun`, `feature`), when"
    yield "(`at`), where (`scope`, the path of the area), what for (`purpose`), what came of it (`result`) and from which address"
    yield "(`origin`). Records are named by their ids; nothing of what is in them is told. How it is verified and kept is"
    yield "[the auditor's page](../howto/auditor.md)."
    yield ""
    yield from _table(("action", "Chinese", "English"), ((f"`{a.code}`", a.title, _english(a.title)) for a in ACTIONS))
    yield "`result` is `done`, or what came of it: of a refusal the reason, while `purpose` is the method and the template of the"
    yield "route; of a change of settings the names of what was changed; of pruning the hash of the last row that went."


def _statements() -> Iterator[str]:
    yield "# Named statements"
    yield ""
    yield "The questions that verbs ask, in `geo/sql/queries/`, readable and runnable with psql (`:name` is a bound value)."
    for script in sorted((files("geo.sql") / "queries").iterdir(), key=lambda script: script.name):
        _, *parts = HEAD.split(script.read_text(encoding="utf-8"))
        yield ""
        yield f"## {script.name.removesuffix('.sql')}"
        yield ""
        yield from _table(
            ("statement", "what it answers", "values"),
            (
                (f"`{name}`", _comment(body), ", ".join(f"`{value}`" for value in _bound(body)))
                for name, body in zip(parts[::2], parts[1::2], strict=True)
            ),
        )


def _comment(body: str) -> str:
    lines = body.strip().splitlines()
    told = []
    for line in lines:
        if not line.startswith("--"):
            break
        told.append(line.removeprefix("--").strip())
    return " ".join(told)


def _bound(body: str) -> list[str]:
    code = re.sub(r"--.*", "", body)
    return list(dict.fromkeys(re.findall(r"(?<![:\w]):([a-z_]+)\b", code)))


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Environment variables; there is no settings file."
    yield ""
    prefix = Settings.model_config.get("env_prefix", "")
    yield from _table(
        ("variable", "what it is", "else"),
        (
            (f"`{prefix}{name.upper()}`", field.description or "", _default(field.default))
            for name, field in Settings.model_fields.items()
        ),
    )
    yield "With `JINGWEI_DATABASE_URL`, `JINGWEI_DATABASE_PASSWORD_FILE` may name a file that holds the password."


def _limits() -> Iterator[str]:
    yield "# Limits"
    yield ""
    yield "How often somebody may ask for what is dear; beyond that the answer is 429 with `Retry-After`. Whoever is signed in is"
    yield "counted by account, anybody else by address (of IPv6 by its /64); behind a proxy that is the address the proxy tells, if it"
    yield "is one of `JINGWEI_TRUSTED_PROXIES`. Each web process counts for itself, in memory: with `JINGWEI_WORKERS` processes"
    yield "somebody may come to as many times these numbers, and a restart begins anew. The lock of an account after five failures"
    yield "is the database's."
    yield ""
    yield from _table(
        ("limit", "counted", "minutes", "of one address", "of one account"),
        ((f"`{kind}`", limit.about, str(limit.minutes), str(limit.anonymous), str(limit.signed_in)) for kind, limit in LIMITS.items()),
    )


def _workflow() -> Iterator[str]:
    yield from ("# What happens to a case", "")
    yield from (
        "Two vocabularies side by side: the five stages 受理、分流、处置、结案、反馈, and the states of a case, each in one of them.",
        "Every step is a row of `incident_log`; its foreign keys on the rows of `incident_moves` say which there are and who may take them.", "",
    )
    # What may come from nearly everywhere would hide everything else.
    drawn = [move for move in workflow.MOVES if move.target and move.action not in ("load", "merge", "unmerge", "force")]
    yield from ("```mermaid", "stateDiagram-v2")
    for stage in workflow.STAGES:
        yield f"    state \"{stage.title} {stage.code}\" as stage_{stage.code} {{"
        yield from (f"        {s.code}: {s.title} {s.code}" for s in workflow.STATES.values() if s.stage == stage.code)
        yield "    }"
    yield from (f"    {s.code}: {s.title} {s.code}" for s in workflow.STATES.values() if s.stage is None)
    yield from (f"    {source or '[*]'} --> {move.target}: {move.title}" for move in drawn for source in move.sources)
    yield from ("```", "", "From every state between 立案 and 待结案 a case may also be merged into another (`merge`) or, by two people, closed by force (`force`).", "")
    yield from ("## States", "")
    yield from _table(
        ("State", "Title", "Stage", "Over"),
        ((f"`{s.code}`", _both(s.title), s.stage or "", "yes" if s.over else "") for s in workflow.STATES.values()),
    )
    yield from ("", "## Steps", "", "`lead` is the body or area that the case was given to, `reporter` who has its ticket and code, `system` a load or a clock.", "")
    yield from _table(
        ("Step", "Title", "From", "To", "By", "Opinion"),
        (
            (f"`{m.action}`", _both(m.title), ", ".join(m.sources) or "–", m.target or "stays", ", ".join(m.by), "needed" if m.reasoned else "")
            for m in workflow.MOVES if m.action not in ("load", "unmerge")
        ),
    )


def _default(value: object) -> str:
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT)}` in the checkout"
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _both(title: str) -> str:
    english = _english(title)
    return title if english == title else f"{title} {english}"


def _english(text: str) -> str:
    return translated(text, "en")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    filled = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    if not filled:
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in filled)
    yield ""
