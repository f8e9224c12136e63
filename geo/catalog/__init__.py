"""What there is: declarations only, no functions. A new noun is added here and nowhere else."""

from geo.catalog.actions import ACTIONS
from geo.catalog.control import CHECKPOINTS, ZONES
from geo.catalog.duties import DUTY_ITEMS
from geo.catalog.incidents import INCIDENTS
from geo.catalog.people import HOUSEHOLDS, ORGANISATIONS, POSTS, RESIDENTS
from geo.catalog.places import (
    AREAS,
    BUILDINGS,
    COMPOUNDS,
    DWELLINGS,
    ENTRANCES,
    FACILITIES,
    LAND_PARCELS,
    LEVELS,
    PARTS,
    ROADS,
    UNITS,
)
from geo.catalog.plans import ACTIVATIONS
from geo.resource import Resource

# In an order in which each noun comes after those it refers to.
RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        AREAS, COMPOUNDS, ENTRANCES, BUILDINGS, UNITS, DWELLINGS, ACTIVATIONS, HOUSEHOLDS, RESIDENTS, LAND_PARCELS, ROADS,
        FACILITIES, PARTS, ORGANISATIONS, POSTS, DUTY_ITEMS, INCIDENTS, ZONES, CHECKPOINTS,
    )
}

# Values that a town edits in `data/codes/*.csv` without touching Python: a table each.
CODE_LISTS = ("facility_kinds", "part_kinds", "matters", "zone_kinds")

WIDTHS: dict[str, int] = dict(zip((level.code for level in LEVELS), (2, 4, 6, 9, 12, 15, 18), strict=True))

__all__ = ["ACTIONS", "CODE_LISTS", "LEVELS", "RESOURCES", "WIDTHS"]
