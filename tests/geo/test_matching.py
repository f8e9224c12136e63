"""What a file is taken for: its noun, its columns, and what is left out."""

from types import SimpleNamespace
from typing import Any

import pytest

from geo import matching
from geo.catalog import RESOURCES
from geo.matching import Proposal
from geo.resource import Field, Resource

FIELDS = [(noun, declared) for noun in RESOURCES.values() for declared in noun.writable]
NAMED = pytest.mark.parametrize(("noun", "declared"), FIELDS, ids=[f"{n.name}.{f.name}" for n, f in FIELDS])


def proposed(columns: dict[str, list[object]] | list[str], resource: str | None = None, **more: Any) -> Proposal:
    told = columns if isinstance(columns, dict) else {name: [] for name in columns}
    described = SimpleNamespace(columns=told, position_columns=more.pop("position", []))
    return matching.proposed(described, resource, more.pop("remembered", None), **more)


def found(proposal: Proposal) -> dict[str, str]:
    return {name: one.column for name, one in proposal.columns.items()}


@pytest.mark.parametrize("noun", RESOURCES.values(), ids=list(RESOURCES))
@pytest.mark.parametrize("spelled", ["name", "title"])
def test_the_headings_of_its_own_export_are_a_noun_s_fields(noun: Resource, spelled: str) -> None:
    heads = {declared.name: getattr(declared, spelled) for declared in noun.writable}
    proposal = proposed(list(heads.values()), noun.name)
    assert found(proposal) == heads
    assert all(one.sure for one in proposal.columns.values())
    assert (proposal.extras, proposal.dropped, proposal.refused, proposal.missing) == ({}, {}, {}, ())


@NAMED
def test_every_spelling_that_is_declared_finds_its_field(noun: Resource, declared: Field) -> None:
    for spelling in declared.spellings:
        assert found(proposed([spelling], noun.name)) == {declared.name: spelling}
