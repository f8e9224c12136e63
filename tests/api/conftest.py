"""What tests of the door and of what is behind it share."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from api.settings import settings
from geo import door
from tests import town
from tests.conftest import Within


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of microseconds and no waiting, but where a test is about just these."""
    monkeypatch.setattr(door, "_hasher", lambda: town.WEAK)
    monkeypatch.setattr(door, "_nobodys", lambda: town.HASHED)
    monkeypatch.setattr(door, "FLOOR_SECONDS", 0.001)


@pytest.fixture
def entrance(connection: sa.Connection) -> Within:
    """What `geo.door` takes in a test for the engine of `jingwei_door`."""
    return Within(connection, "jingwei_door")


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets `JINGWEI_*` variables for one test."""

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"JINGWEI_{name}", value)
        settings.cache_clear()

    yield put
    monkeypatch.undo()
    settings.cache_clear()
