"""The town of the matrix, laid once, and the server on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from api.app import create_app
from api.deps import Engines
from api.limits import Limits
from geo import db
from geo.cluster import Address
from geo.keys import FieldKey
from tests.access.actors import Casting, appoint, cast_in
from tests.access.offices import lay
from tests.access.oracle import Oracle
from tests.access.regimes import Around, Matrix, on
from tests.access.rows import Builder
from tests.conftest import Databases, Within


@dataclass(frozen=True)
class World:
    """A database with the town of the matrix, and what the model knows of it."""

    address: Address
    oracle: Oracle
    casting: Casting
    key: FieldKey


@dataclass(frozen=True)
class Laid:
    """A database with the town of the matrix, to be cloned."""

    name: str
    oracle: Oracle
    casting: Casting


@pytest.fixture(scope="session")
def laid(address: Address, databases: Databases, migrated: str, key: FieldKey) -> Laid:
    """Not to be connected to."""
    name = databases(migrated)
    made = db.engine(address.url(database=name))
    with made.begin() as connection:
        casting = cast_in(connection)
        town = Builder(connection, key, casting.accounts).build()
        appoint(connection, casting)
        lay(connection, town, casting, key)
        town.people = list(casting.accounts.values())
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
    made.dispose()
    return Laid(name, Oracle(town), casting)


@pytest.fixture(scope="session")
def world(address: Address, databases: Databases, laid: Laid, key: FieldKey) -> World:
    """To be read, and written to only in transactions that are never committed."""
    return World(Address(address.url(database=databases(laid.name)), address.passwords), laid.oracle, laid.casting, key)


@pytest.fixture
def own_world(address: Address, databases: Databases, laid: Laid, key: FieldKey) -> World:
    """One to commit to."""
    return World(Address(address.url(database=databases(laid.name)), address.passwords), laid.oracle, laid.casting, key)


@pytest.fixture(scope="session")
def matrix(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """The server as it stands, on connections that are used again and again."""
    engines = Engines(*(db.engine(world.address.url(login)) for login in ("jingwei_web", "jingwei_door", "jingwei_trail")))
    app = create_app(engines, world.key, tmp_path_factory.mktemp("home"))
    app.state.limits = Limits({})
    yield Matrix(app, world.oracle, world.casting)
    for engine in (engines.web, engines.door, engines.trail):
        engine.dispose()


@pytest.fixture
def undone(world: World, matrix: Matrix) -> Iterator[Callable[[], Around]]:
    """The server on one transaction that is never committed; what a request did within what this makes is taken back."""
    engine = db.engine(world.address.url(), pool=1)
    with engine.connect() as connection:
        outer, asked = connection.begin(), 0
        within = Engines(*(Within(connection, login) for login in ("jingwei_web", "jingwei_door", "jingwei_trail")))  # type: ignore[arg-type]
        with on(matrix, within):

            @contextmanager
            def around() -> Iterator[sa.Connection]:
                nonlocal outer, asked
                asked += 1
                if asked % 2_000 == 0:
                    # A transaction keeps its locks to the end: after 12,700 requests there was no memory for another.
                    outer.rollback()
                    outer = connection.begin()
                save = connection.begin_nested()
                yield connection
                save.rollback()

            yield around
        outer.rollback()
    engine.dispose()
