"""Adding, changing and retiring single features. Every write is journalled by trigger and placed by the database."""

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa

from geo import query, secrets
from geo.crs import SRID
from geo.db import SENTENCES, Caller
from geo.errors import Conflict, Stale
from geo.keys import FieldKey
from geo.resource import Resource
from geo.tables import TABLES


def add(
    connection: sa.Connection, resource: Resource, values: Mapping[str, object], shape: bytes | None, key: FieldKey,
    id: UUID | None = None, source: str = "api",
) -> UUID:
    """Add a feature; the client may bring its id. `shape` is WKB in the storage CRS. Raises `Conflict`, `Invalid`."""
    t = TABLES[resource.name]
    new = id or connection.scalar(sa.select(sa.func.uuid_v7()))
    assert new is not None
    row = _stored(resource, values, shape, key, new) | {"id": new, "source": source}
    connection.execute(sa.insert(t).values(row))
    return new


def change(
    connection: sa.Connection, resource: Resource, id: UUID, values: Mapping[str, object], shape: bytes | None,
    key: FieldKey, expected: int | None = None,
) -> None:
    """Change the given fields, and the geometry if there is one. Raises `Stale` when the version is not `expected`."""
    _settled(connection, resource, id, _stored(resource, values, shape, key, id), expected)


def retire(connection: sa.Connection, resource: Resource, id: UUID, expected: int | None = None) -> None:
    """Take a feature off the lists. It answers 410 from now on, and its codes are free again."""
    _settled(connection, resource, id, {"retired_at": sa.func.now()}, expected)


def remembered(connection: sa.Connection, caller: Caller, key: str, route: str, body_hash: bytes) -> UUID | None:
    """The feature that an earlier request with this idempotency key made; `Conflict` when that one said something else.

    Two requests at once wait for each other here, so that one makes the feature and the other is told of it.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"{caller.actor}\n{key}", 0))))
    told = connection.execute(
        sa.text("SELECT route, body_hash, feature FROM idempotency WHERE actor = :actor AND key = :key"),
        {"actor": caller.actor, "key": key},
    ).one_or_none()
    if told is None:
        return None
    if told.route != route or bytes(told.body_hash) != body_hash:
        raise Conflict(SENTENCES["idempotency_key"], rule="idempotency_key")
    found: UUID = told.feature
    return found


def remember(
    connection: sa.Connection, caller: Caller, key: str, route: str, body_hash: bytes, resource: Resource, id: UUID
) -> None:
    """Keep, in the same transaction, what this idempotency key has made."""
    connection.execute(
        sa.text(
            "INSERT INTO idempotency (actor, key, route, body_hash, status, noun, feature)"
            " VALUES (:actor, :key, :route, :body_hash, 201, :noun, :feature)"
        ),
        {"actor": caller.actor, "key": key, "route": route, "body_hash": body_hash, "noun": resource.name, "feature": id},
    )


def _stored(
    resource: Resource, values: Mapping[str, object], shape: bytes | None, key: FieldKey, id: UUID
) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in values.items():
        if resource[name].secret:
            row |= sealed(resource, name, None if value is None else str(value), key, id)
        else:
            row[name] = value
    if shape is not None:
        drawn = sa.func.ST_SetSRID(sa.func.ST_GeomFromWKB(shape), SRID)
        row["geom"] = sa.func.ST_Multi(drawn) if str(resource.geometry).startswith("MULTI") else drawn
    return row


def sealed(resource: Resource, name: str, value: str | None, key: FieldKey, id: UUID) -> dict[str, object]:
    """The columns of a secret field: what people see, what only the key opens, what finds it again; or this last alone."""
    given = value if value and value.strip() else None
    if resource[name].hashed:
        return {f"{name}_hash": given and key.fingerprint(given)}
    return {
        f"{name}_masked": given and secrets.mask(given),
        f"{name}_cipher": given and key.seal(given, f"{resource.name}|{id}|{name}"),
        f"{name}_hash": given and key.lookup(given),
    }


def _settled(
    connection: sa.Connection, resource: Resource, id: UUID, row: dict[str, object], expected: int | None
) -> None:
    t = TABLES[resource.name]
    found = sa.and_(t.c.id == id, t.c.retired_at.is_(None))
    version = connection.scalar(sa.select(t.c.version).where(found).with_for_update())
    if version is None:
        raise query.missing(connection, resource, id)
    if expected is not None and version != expected:
        raise Stale(version=version)
    if row:
        connection.execute(sa.update(t).values(row).where(found))
