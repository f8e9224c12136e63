"""Real districts, where they are beside the checkout (they are not ours to publish): every row accounted for.

The bulk answer is compared with plain PostGIS, row by row.
"""

import csv
import gzip
import itertools
import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from geo import db, indicators, intake
from geo.intake import Order
from geo.secrets import looks_personal

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the real data are not beside this checkout")

YICHANG, XIHU, SHANGHAI = DATA / "cn_yichang", DATA / "cn_hangzhou_xihu", DATA / "cn_shanghai_covid_2022"


@pytest.fixture
def district(address, databases, migrated, key, tmp_path):
    """A fresh database, and how to load a file into it."""
    name = databases(migrated)
    loader, admin = db.engine(address.url("jingwei_loader", name)), db.engine(address.url(database=name))

    def load(path, into, columns=None, values=None, **how):
        return intake.load(loader, Order(path, into, columns or {}, values or {}, **how), key, tmp_path / "cache")

    yield load, admin
    loader.dispose()
    admin.dispose()


def one(admin, query):
    with admin.connect() as connection:
        return connection.execute(sa.text(query)).one()


def test_yichang_every_ticket_in_a_community_or_in_the_review_queue(district):
    load, admin = district
    assert load(next(YICHANG.glob("streets*")), "areas", values={"level": "street"}).stored == 22
    assert load(next(YICHANG.glob("communities_社区*")), "areas", values={"level": "community"}).stored == 193
    assert load(next(YICHANG.glob("pois*")), "facilities", values={"kind": "other"}).stored == 3220
    tickets = load(next(YICHANG.glob("incidents*")), "incidents", {"title": "类9"}, {"channel": "public"})
    assert (tickets.read, tickets.stored, tickets.unstored) == (10758, 10758, 0)
    assert tickets.placing["imprecise"] == 4271
    placed, waiting, lost = one(
        admin,
        "SELECT count(*) FILTER (WHERE placing_reason IS NULL AND p.community IS NOT NULL),"
        " count(*) FILTER (WHERE placing_reason IS NOT NULL),"
        " count(*) FILTER (WHERE placing_reason IS NULL AND p.community IS NULL)"
        " FROM incidents LEFT JOIN placements AS p ON p.id = placement",
    )
    assert (placed + waiting, lost) == (10758, 0)
    # Not one region-level ticket counts as a location.
    counted = one(admin, "SELECT incidents FROM area_counts('')")[0]
    assert counted == 10758 - 4271
    assert differing(admin, "incidents", "community") == 0
    assert differing(admin, "facilities", "community") == 0
    ranked(admin)


def ranked(admin):
    """Communities by their tickets, precise ones only: what is known to a region alone is counted, and under none of them."""
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)
    with admin.begin() as connection:
        connection.execute(sa.text("UPDATE incidents SET reported_at = :at"), {"at": since})
        rows = indicators.counted(connection, "", since, until, "community")
        told = sorted(((row.key, row.counts["reported"]) for row in rows if row.key), key=lambda one: (-one[1], one[0]))
        known = connection.execute(sa.text(
            "SELECT left(scope, 12), count(*) FROM incidents WHERE precision <> 'region' AND length(scope) >= 12 GROUP BY 1 ORDER BY 2 DESC, 1")).all()
        assert told == [tuple(row) for row in known] and len(told) > 100
        assert sum(row.counts["reported"] for row in rows) == 10758
        assert next(row.counts["reported"] for row in rows if not row.key) >= 4271


def differing(admin, noun, level):
    """How many records lie in another area of a level than plain PostGIS says."""
    return one(
        admin,
        f"SELECT count(*) FROM {noun} AS n LEFT JOIN placements AS p ON p.id = n.placement LEFT JOIN LATERAL ("
        f" SELECT id FROM areas WHERE level = '{level}' AND geom && n.geom AND ST_Covers(geom, n.geom) ORDER BY path LIMIT 1"
        f") AS a ON true WHERE p.{level} IS DISTINCT FROM a.id",
    )[0]


def test_xihu_has_its_grids_communities_and_streets(district):
    load, admin = district
    assert load(next(XIHU.glob("xihu_streets*")), "areas", {"code": "areaCode"}, {"level": "street"}).stored == 11
    assert load(next(XIHU.glob("xihu_communities*")), "areas", {"name": "cunshe", "code": "areaCode"}, {"level": "community"}).stored == 213
    assert load(next(XIHU.glob("xihu_grids*")), "areas", {"code": "areaCode"}, {"level": "grid"}).stored == 605
    paths, within = one(
        admin,
        "SELECT count(DISTINCT path), count(*) FILTER (WHERE EXISTS (SELECT FROM areas AS c WHERE c.level = 'community'"
        " AND c.path = left(g.path, 12))) FROM areas AS g WHERE level = 'grid'",
    )
    assert paths == 605 and within >= 599  # six lie in no community: the bureau's own gap
    from geo import topology

    with admin.connect() as connection:
        found = topology.findings(connection, "grid")
    overlaps = [f for f in found if f.kind == "overlap"]
    assert sum(f.measure_m2 or 0 for f in found if f.kind in ("overlap", "sliver_overlap")) < 10 and len(overlaps) <= 4


def test_shanghai_every_published_address_is_accounted_for(district):
    load, admin = district
    districts = load(
        SHANGHAI / "districts_16_gcj02_no_crs.geojson", "areas", values={"level": "district"}, crs="EPSG:4326", datum="gcj02"
    )
    assert districts.stored == 16
    rows = load(
        SHANGHAI / "incidents_175245.csv.gz", "incidents", {"title": "address", "stated_area": "district"},
        {"channel": "public"}, datum="gcj02",
    )
    assert (rows.read, rows.stored) == (175245, 175245)
    # What the data's own description counts: in the stated district, outside the city, in another district.
    clean, outside, other = (rows.placing[reason] for reason in ("clean", "outside", "contradiction"))
    assert clean + outside + other + rows.placing["edge"] == 175245
    assert (clean, outside, other) == pytest.approx((137234, 35651, 2360), abs=3)
    assert differing(admin, "incidents", "district") == 0


ENDINGS = re.compile("(社区)?(居民委员会|居委会|村民委员会|村委会|社区|街道办事处|街道|镇|乡|村|庄)$")


@cache
def columns_about_nobody() -> dict[str, list[object]]:
    """The columns of real sets of places and reports, by file and heading; names once more without what they end in."""
    found: dict[str, list[object]] = {}
    for path in [*DATA.glob("cn_division_codes/*.csv*"), *DATA.glob("cn_shanghai_covid_2022/*.csv*"), *YICHANG.glob("*.csv"), *DATA.glob("sf_311_10k/*.csv"),
                 *DATA.glob("cn_guangzhou_risk_areas_2022/risk*.csv.gz")]:  # fmt: skip
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            rows = list(itertools.islice(csv.DictReader(file), 2_000))
        found |= {f"{path.name}:{name}": [row[name] for row in rows] for name in rows[0]}
    for path in [*YICHANG.glob("*.geojson"), *XIHU.glob("*.geojson")]:
        features = [feature["properties"] for feature in json.loads(path.read_text(encoding="utf-8"))["features"]]
        found |= {f"{path.name}:{name}": [row.get(name) for row in features] for name in features[0]}
    for name, values in list(found.items()):
        if re.search("name|社区|MC", name):
            found[f"{name.partition(':')[0]}:name"] = [ENDINGS.sub("", str(value)) for value in values if value]
    return found


@pytest.mark.parametrize("rows", [5, 20, 200])
def test_no_column_of_places_or_reports_is_taken_for_persons(rows):
    taken = {}
    for name, values in columns_about_nobody().items():
        for at in range(0, len(values), rows):
            if kind := looks_personal(name.partition(":")[2], values[at : at + rows]):
                taken[name, at] = kind
    assert taken == {}
