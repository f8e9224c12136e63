"""Files that others have sent or broken on purpose, where they are beside the checkout: read as another reader reads them, or refused in words."""

from concurrent.futures import ThreadPoolExecutor

import pyogrio
import pytest
import sqlalchemy as sa

from bench import uploads
from geo import db, files, intake
from geo.errors import GeoError
from geo.language import translated

DATA = uploads.corpora()
pytestmark = pytest.mark.skipif(DATA is None, reason="the corpora are not beside this checkout")

MEMBERS = uploads.members(DATA) if DATA else []
# Files that hold something first, by turns of their endings; parts of layers and expected results of others' tests need no sample.
TELLING = [p for p in MEMBERS if p.suffix.lower() in (
    ".zip", ".shp", ".geojson", ".json", ".gpkg", ".parquet", ".kml", ".kmz", ".fgb", ".csv", ".txt", ".gml", ".gpx", ".xlsx", ".topojson", ".dbf",
)]
SAMPLE = TELLING[:: max(1, len(TELLING) // 120)][:120]
COUNTED = (".shp", ".gpkg", ".fgb", ".geojson", ".gml", ".kml")


def outcomes(paths, known):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda path: uploads.outcome(path, known), paths))


def wrong(told):
    """What nobody could act upon, and what another reader of the same file counts otherwise."""
    for one in told:
        if one.refusal:
            if translated(one.refusal, "en") == one.refusal or "时间限制" in one.refusal:
                yield one
        elif one.path.suffix.lower() in COUNTED and (counted := alike(one.path)) not in (None, one.rows):
            yield one, counted


def alike(path):
    """How many rows another reader finds in a file of one layer; nothing where it finds no way in."""
    try:
        return pyogrio.read_info(path, force_feature_count=True)["features"] if len(pyogrio.list_layers(path)) == 1 else None
    except pyogrio.errors.DataSourceError:
        return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sample_is_read_or_refused_in_words(known, monkeypatch):
    monkeypatch.setattr(files, "SILENCE", 10.0)
    told = outcomes(SAMPLE, known)
    assert list(wrong(told)) == []
    assert sum(not one.refusal for one in told) > 60


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_all_are_read_or_refused_in_words(known, monkeypatch):
    monkeypatch.setattr(files, "SILENCE", 10.0)
    told = outcomes(MEMBERS, known)
    assert list(wrong(told)) == []
    assert len(told) > 700 and sum(not one.refusal for one in told) > 350


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_all_go_through_the_intake_or_leave_nothing(live, live_engine, key, tmp_path):
    loader = db.engine(live.url("jingwei_loader"), pool=1)
    counted = "SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM load_problems), (SELECT count(*) FROM changes), (SELECT count(*) FROM pg_tables WHERE schemaname = 'staging')"

    def held():
        with live_engine.connect() as connection:
            return connection.execute(sa.text(counted)).one()

    before, taken = held(), 0
    for path in MEMBERS:
        for into in ("", "parts"):
            try:
                with db.translated(), loader.connect() as connection, connection.begin() as all_of_it:
                    intake.staged(connection, intake.Order(path, into), key, tmp_path / "cache")[0].counts()
                    all_of_it.rollback()
                taken += 1
            except GeoError as refusal:
                assert type(refusal) is not GeoError, path
    loader.dispose()
    assert taken > 100 and held() == before
