"""What each actor may be told: a model of sets, in Python, that knows nothing of SQL.

It is held against the answers of the server, so it takes nothing from what makes them: neither the policies and grants of
`geo.schema` nor the statements of `geo.query`. What it does take are the declarations: which field is for whom.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

from geo.catalog import RESOURCES
from geo.resource import Audience, Field, Resource
from tests.access.actors import Actor
from tests.access.rows import PAST, Canary, Row, Town

PUBLIC, WORKER = Audience.PUBLIC, Audience.WORKER
NOBODY = Actor("anonymous")
# The rows that are for the public, where not all are; a noun that says so in SQL says it here too.
FOR_ALL = {"zones": lambda row: row.values["state"] != "draft"}
# The rows that a map draws, where not all.
DRAWN = {
    "zones": lambda row: row.values["state"] == "active", "incidents": lambda row: row.values["state"] not in ("rejected", "cancelled", "merged"),
}
K = 5
GRID = 15  # as many digits as the path of a grid has


@dataclass(eq=False)
class Oracle:
    """The town, and what is to be known of it."""

    town: Town

    # Which rows

    def sees(self, actor: Actor, row: Row) -> bool:
        """Whether a row is in the lists of an actor."""
        return not row.retired and self.reaches(actor, row)

    def reaches(self, actor: Actor, row: Row) -> bool:
        """The same, retired rows included: those who work with rows see what was."""
        noun, right = row.resource, actor.right
        if not knows(actor, noun):
            return False
        mine = actor.holds(row.scope) or any(actor.holds(path) for path in row.touches)
        if right in ("area", "leader"):
            return mine
        if right == "organisation" and noun.category:
            return actor.holds(row.scope) and row.values[noun.category] in actor.matters
        if row.retired or not for_all(row):
            return False
        if right == "partner":
            return mine
        if right == "own" and noun.owned:
            return row.owner == actor.name
        return True

    @cache  # noqa: B019 - as long as the test
    def seen(self, actor: Actor, noun: str) -> list[Row]:
        """The rows of a noun's list, in its order."""
        return [row for row in self.town.of(noun) if self.sees(actor, row)]

    def fate(self, actor: Actor, row: Row) -> int:
        """What asking for one row by its id is answered."""
        if not knows(actor, row.resource):
            return 404
        if self.sees(actor, row):
            return 200
        was = Row(**{**vars(row), "retired": False})
        if row.retired and (self.sees(actor, was) or (actor.right in ("own", "organisation") and self.sees(NOBODY, was))):
            return 410
        # That it is there is no secret where the public is told, and whose it is, neither.
        return 403 if actor.right in ("partner", "area", "leader") and self.sees(NOBODY, row) else 404

    def verdict(self, actor: Actor, noun: Resource, row: Row | None, verb: str) -> set[int]:
        """What a write is answered: adding a row where `row` stands, or changing it; None for one that is not there."""
        if not knows(actor, noun):
            return {404}
        if "write" not in actor.may:
            return {401} if actor.name == "anonymous" else {403}
        writes = actor.right == "leader" or (actor.right == "area" and noun.written_by < Audience.LEADER)
        if verb == "add":
            return {201} if writes and row is not None and actor.holds(row.scope) else {403}
        if not writes and not (actor.right == "organisation" and noun.category):
            return {403}
        if row is None:
            return {404}
        if not self.sees(actor, row):
            return {self.fate(actor, row)}
        # What reaches into one's area from outside is seen whole, and written by whoever answers for all of it.
        return {200, 204} if actor.holds(row.scope) else {403}

    # What of a row

    def told(self, actor: Actor, row: Row, field: Field) -> str:
        """Whether a field of a row that an actor sees is told in clear, as a mask or not at all."""
        audience = looks(actor, row.resource)
        if field.hashed or field.audience > audience or (row.resource.coarse and audience < WORKER and field.name == "nearest_m"):
            return "absent"
        if field.secret:
            return "mask"
        if field.name_of_person and (field.clear is None or audience < field.clear):
            return "mask"
        return "clear"

    def properties(self, actor: Actor, row: Row) -> dict[str, Any]:
        """The properties of a row as an actor reads them; derived ones are left out."""
        found: dict[str, Any] = {}
        for field in row.resource.all_fields:
            if field.derived is None and (how := self.told(actor, row, field)) != "absent":
                found[field.name] = masked(field, row.values[field.name]) if how == "mask" else row.values[field.name]
        if looks(actor, row.resource) >= WORKER:
            found["extras"] = row.extras
        return found

    def point(self, actor: Actor, row: Row) -> tuple[float, float] | None:
        """Where a row is shown that is not shown where it is; None when it is."""
        if not row.resource.coarse or looks(actor, row.resource) >= WORKER:
            return None
        if row.spot:
            return self.town.labels[row.spot]
        assert row.extent is not None
        return (round(row.extent[0] / 0.05) * 0.05, round(row.extent[1] / 0.05) * 0.05)

    def extent(self, actor: Actor, row: Row) -> tuple[float, float, float, float]:
        """The box of a row as an actor is shown it."""
        point = self.point(actor, row)
        if point is not None:
            return (*point, *point)
        assert row.extent is not None
        return row.extent

    def opens(self, actor: Actor, row: Row) -> bool:
        """Whether an actor may ask for what is masked of a row: who works with it, where they answer for it."""
        if row.retired or "unmask" not in actor.may or looks(actor, row.resource) < WORKER or not actor.holds(row.scope):
            return False
        return actor.right != "organisation" or row.values[str(row.resource.category)] in actor.matters

    # What of an answer

    @cached_property
    def ids(self) -> frozenset[str]:
        """The id of every row."""
        return frozenset(map(str, self.town.rows))

    @cache  # noqa: B019 - as long as the test
    def may(self, actor: Actor, canary: Canary) -> bool:
        """Whether a value may be in an answer to an actor. What is public is anybody's."""
        if paper := self.town.papers.get(canary.row):
            return paper.seen_by(actor)
        row = self.town.rows[canary.row]
        return any(self.sees(somebody, row) and self._tells(somebody, row, canary) for somebody in (actor, NOBODY))

    def _tells(self, actor: Actor, row: Row, canary: Canary) -> bool:
        works = looks(actor, row.resource) >= WORKER
        if canary.column in ("source", "extras"):
            return works
        if canary.column == "geom":
            return not row.resource.coarse or works
        told = self.told(actor, row, row.resource[canary.column])
        return told == "clear" if canary.form in ("plain", "exact") else told != "absent" and canary.form == "mask"

    @cache  # noqa: B019 - as long as the test
    def known(self, actor: Actor) -> frozenset[str]:
        """The ids that may be in an answer to an actor: of the rows they see, and of what those refer to."""
        found: set[str] = set()
        for row in self.town.rows.values():
            for somebody in (actor, NOBODY):
                if self.sees(somebody, row):
                    found |= {str(row.id), *self._referred(somebody, row)}
        return frozenset(found | {str(paper.about) for paper in self.town.papers.values() if paper.seen_by(actor)})

    def _referred(self, actor: Actor, row: Row) -> set[str]:
        fields = [f for f in row.resource.all_fields if f.refers and f.refers != "area_paths"]
        return {str(row.values[f.name]) for f in fields if self.told(actor, row, f) == "clear"}

    # How many

    def counts(self, actor: Actor, path: str) -> Mapping[str, int | None]:
        """What is told of an area in numbers."""
        inside = [row for row in self.town.rows.values() if row.scope.startswith(path) and not row.retired]
        placed = [row for row in inside if row.values.get("precision") != "region"]
        number = {noun: sum(row.noun == noun for row in placed) for noun in RESOURCES}
        houses = [row for row in placed if row.noun == "buildings"]
        exact = actor.right in ("area", "leader") and actor.holds(path)
        homes = [row for row in inside if row.noun == "dwellings"]
        people = {name: [(row.scope, row.values[name]) for row in houses] for name in ("households", "residents", "non_local")}
        people["dwellings"] = [(row.scope, 1) for row in homes]
        return {
            "buildings": number["buildings"], "things": number["facilities"] + number["parts"],
            "open": sum(row.noun == "incidents" and row.values["state"] != "closed" for row in placed),
            **{name: sum(n for _, n in found) if exact else public(path, found) for name, found in people.items()},
        }

    def overdue(self, actor: Actor, path: str = "") -> int:
        """The incidents that an actor sees, that are late and not done; in an area, those that are somewhere in it."""
        return sum(
            row.values["state"] not in ("closed", "feedback") and str(row.values["due_at"]).startswith(PAST)
            for row in self.open(actor, path)
        )

    def open(self, actor: Actor, path: str = "") -> list[Row]:
        """The incidents that an actor sees and that are not closed."""
        return [
            row for row in self.seen(actor, "incidents")
            if row.values["state"] != "closed" and row.scope.startswith(path) and not (path and row.values["precision"] == "region")
        ]

    def done_today(self, actor: Actor) -> list[Row]:
        """The incidents that an actor sees and that were closed in the day that is past."""
        now = datetime.now(UTC)
        return [
            row for row in self.seen(actor, "incidents")
            if row.values["state"] in ("closed", "feedback") and row.values.get("closed_at")
            and now - timedelta(days=1) < datetime.fromisoformat(str(row.values["closed_at"])) <= now
        ]

    def in_force(self, actor: Actor) -> list[Row]:
        """The zones that an actor sees and that are active."""
        return [row for row in self.seen(actor, "zones") if row.values["state"] == "active"]

    def waiting(self, actor: Actor) -> list[Row]:
        """What awaits a second look: what is public to the public, to anybody else what they answer for."""
        found = []
        for row in self.town.rows.values():
            if row.retired or not row.values.get("placing_reason") or row.resource.audience is not PUBLIC:
                continue
            theirs = actor.right in ("public", "own", "organisation") or actor.holds(row.scope)
            if theirs and (actor.right in ("area", "leader") or for_all(row)):
                found.append(row)
        return found


def public(path: str, found: Iterable[tuple[str, int]]) -> int | None:
    """How many people of an area everybody is told of, of all that are somewhere in it: in multiples of K, grid by grid."""
    if len(path) > GRID:
        return None
    cells: Counter[str] = Counter()
    for scope, number in found:
        cells[scope[:GRID]] += number
    return sum(K * ((n + K // 2) // K) for n in cells.values() if n >= K) or None


def knows(actor: Actor, noun: Resource) -> bool:
    """Whether an actor may know that there is such a noun."""
    return noun.audience <= looks(actor, noun)


def looks(actor: Actor, noun: Resource) -> Audience:
    """As whom an actor looks at a noun: a department is the public but for what its category is of."""
    return PUBLIC if actor.right == "organisation" and not noun.category else actor.audience


def for_all(row: Row) -> bool:
    """Whether a row is for the public, if its noun is."""
    if row.resource.public_rows is None:
        return True
    return bool(FOR_ALL[row.noun](row))


def drawn(row: Row) -> bool:
    """Whether a map draws a row, if it has a place."""
    return row.resource.drawn_rows is None or bool(DRAWN[row.noun](row))


def masked(field: Field, value: Any) -> Any:
    """What is told in place of a value: of a name the first character, of a number its two ends."""
    if value is None:
        return None
    return f"{value[:3]}****{value[-4:]}" if field.secret else f"{value[0]}*"
