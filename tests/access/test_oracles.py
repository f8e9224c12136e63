"""What a refusal gives away, and what a sum: that a code is taken, that an id is there, a number that follows from two others."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from geo.catalog import RESOURCES
from geo.resource import Resource
from tests import town
from tests.access.actors import Actor
from tests.access.answers import Answer
from tests.access.offices import named
from tests.access.operations import GEOJSON, Operation, exactly
from tests.access.oracle import NOBODY, Oracle
from tests.access.regimes import Matrix, asked
from tests.access.rows import ONE, A, B, C, Row

Undone = Callable[[], Any]

# Of which somebody who gives a row a code that another area's has learns that it is taken, though neither they nor the public
# sees that row (docs/decisions/0027). A noun that comes to be here is to be thought about first.
TOLD_BY_CODE = {"dwellings", "households", "residents", "zones"}
# By which a row may refer to one that its writer does not see, and so tells them that it is there: who brings an id has it.
TOLD_BY_ID = {"households.dwelling", "residents.household", "checkpoints.zone"}
WRITER = named("leader_two")


def answered(matrix: Matrix, undone: Undone, actor: Actor, method: str, target: str, body: Any = None, first: str = "") -> Answer:
    """One answer, after a statement, with everything taken back; nothing of anybody else's is in it."""
    content = json.dumps(body).encode() if body else b""
    operation = Operation(f"{method} {target}", method, target, exactly(200, 201, 409, 422), body=content, headers=GEOJSON)
    with undone() as connection, ThreadPoolExecutor(1) as apart:
        if first:
            connection.execute(sa.text(first))
        answer = apart.submit(asyncio.run, asked(matrix.app, operation, matrix.casting.headers[actor.name])).result()
    assert matrix.judged(actor, operation, answer) == []
    return answer


def added(matrix: Matrix, undone: Undone, noun: Resource, id: str | None = None, **given: Any) -> Answer:
    """What the leader of the second community is answered who adds a row there with these properties."""
    stands = next(row for row in matrix.oracle.town.of(noun.name) if row.place in ("C", C) and not row.retired)
    needed = {f.name: stands.values[f.name] for f in noun.writable if f.required and (f.refers or f.listed)}
    body = town.example(noun, **{**needed, **given}) | ({"id": id} if id else {})
    if noun.geometry:
        body["geometry"] = stands.shape
    return answered(matrix, undone, WRITER, "POST", f"/collections/{noun.name}/items", body)


def hidden(oracle: Oracle, noun: str) -> Iterator[Row]:
    """The living rows of a noun that neither the writer nor the public sees."""
    return (row for row in oracle.town.of(noun) if not row.retired and not any(oracle.sees(who, row) for who in (WRITER, NOBODY)))


def mine(oracle: Oracle, noun: str) -> Row:
    return next(row for row in oracle.seen(WRITER, noun) if WRITER.holds(row.scope))


@pytest.mark.parametrize("noun", [noun for noun in RESOURCES.values() if noun.key], ids=lambda noun: noun.name)
def test_a_taken_code_tells_that_it_is_taken_and_no_more(matrix: Matrix, undone: Undone, noun: Resource) -> None:
    [key] = noun.key
    own, there = mine(matrix.oracle, noun.name), next(hidden(matrix.oracle, noun.name), None)
    assert (there is not None) == (noun.name in TOLD_BY_CODE)
    if there is not None:
        first, second = (added(matrix, undone, noun, **{key: row.values[key]}) for row in (own, there))
        assert (first.status, second.status) == (409, 409)
        assert first.json == second.json


@pytest.mark.parametrize("noun", sorted(TOLD_BY_CODE))
def test_a_taken_id_tells_that_it_is_taken_and_no_more(matrix: Matrix, undone: Undone, noun: str) -> None:
    own, there = mine(matrix.oracle, noun), next(hidden(matrix.oracle, noun))
    first, second = (added(matrix, undone, RESOURCES[noun], id=str(row.id)) for row in (own, there))
    assert (first.status, second.status) == (409, 409)
    assert first.json == second.json


def test_what_is_hidden_and_may_be_referred_to(matrix: Matrix) -> None:
    refers = {
        f"{noun.name}.{field.name}" for noun in RESOURCES.values() for field in noun.writable
        if field.refers in RESOURCES and next(hidden(matrix.oracle, field.refers), None) is not None
    }
    assert refers == TOLD_BY_ID


def test_what_is_too_small_to_tell_does_not_follow_from_the_rest(matrix: Matrix, undone: Undone) -> None:
    # Of two grids one has few people. How few is in none of the pages, not in the community's sum either.
    living = "(SELECT min(id::text)::uuid FROM buildings WHERE retired_at IS NULL AND scope = '{}')"
    pages = []
    for few in range(5):
        first = (
            f"UPDATE buildings SET residents = 0, households = 0 WHERE scope LIKE '{ONE}%';"
            f"UPDATE buildings SET residents = 120, households = 40 WHERE id = {living.format(A)};"
            f"UPDATE buildings SET residents = {few}, households = {few} WHERE id = {living.format(B)}"
        )
        whole = figures(answered(matrix, undone, NOBODY, "GET", "/?view=list&f=html", first=first).text)
        parts = figures(answered(matrix, undone, NOBODY, "GET", f"/?view=list&f=html&within={ONE}", first=first).text)
        pages.append((whole, parts))
    names = {path: matrix.oracle.town.rows[matrix.oracle.town.areas[path]].values["name"] for path in (ONE, A, B)}
    assert (pages[0][0][names[ONE]], pages[0][1][names[A]], pages[0][1][names[B]]) == (120, 120, None)
    assert all(page == pages[0] for page in pages)


def figures(page: str) -> dict[str, int | None]:
    """How many people live in each area of a list; None where it is not told."""
    found = {}
    for name, cells in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', page, re.S):
        told = re.findall(r'<td class="figure[^"]*">([^<]*)</td>', cells)[-4]
        found[re.sub("<[^>]*>", "", name)] = int(told.replace(",", "")) if told[0].isdigit() else None
    return found
