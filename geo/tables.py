"""Resource declarations as SQLAlchemy tables with named constraints."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from geo.catalog import CODE_LISTS, RESOURCES
from geo.crs import SRID
from geo.resource import Field, Place, Resource, Shape

NAMING = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
metadata = sa.MetaData(naming_convention=NAMING)

# Codes and paths are compared by range (`>= lo AND < hi`): byte order, whatever the database's locale.
Code = sa.Text(collation="C")
Moment = sa.DateTime(timezone=True)
LIVING = sa.text("retired_at IS NULL")

COLUMN: dict[type, sa.types.TypeEngine[Any]] = {
    str: sa.Text(),
    int: sa.Integer(),
    float: sa.Float(),
    bool: sa.Boolean(),
    datetime: Moment,
    date: sa.Date(),
    UUID: pg.UUID(),
}

# The bounds are written out because NaN sorts above every number and an empty point has no coordinates at all.
SOUND: dict[Shape, str] = {
    "POINT": "NOT ST_IsEmpty({0}) AND ST_X({0}) BETWEEN -180 AND 180 AND ST_Y({0}) BETWEEN -90 AND 90",
    "MULTILINESTRING": "ST_NPoints({0}) BETWEEN 2 AND 200000 AND {0} @ ST_MakeEnvelope(-180, -90, 180, 90, 4326)",
    "MULTIPOLYGON": "ST_NPoints({0}) BETWEEN 4 AND 200000 AND {0} @ ST_MakeEnvelope(-180, -90, 180, 90, 4326)"
    " AND ST_IsValid({0})",
}


def columns(field: Field) -> Iterator[sa.Column[object]]:
    """The column of a stored field; of a secret one its mask, cipher and keyed hash, or this hash alone."""
    if field.hashed:
        yield sa.Column(f"{field.name}_hash", sa.LargeBinary, nullable=not field.required, index=True, info={"fingerprint": True})
        return
    if field.secret:
        yield sa.Column(f"{field.name}_masked", sa.Text)
        yield sa.Column(f"{field.name}_cipher", sa.LargeBinary)
        yield sa.Column(f"{field.name}_hash", sa.LargeBinary, index=True)
        return
    kind = Code if field.name == "path" or field.refers == "area_paths" else COLUMN[field.type]
    points_at: list[sa.ForeignKey] = []
    if field.refers == "area_paths":
        points_at = [sa.ForeignKey("area_paths.path")]
    elif target := field.refers or field.listed:
        points_at = [sa.ForeignKey(f"{target}.{'code' if field.listed else 'id'}", deferrable=True)]
    default = None if field.default is None else sa.text(_literal(field.default))
    yield sa.Column(
        field.name, kind, *points_at, nullable=not (field.required or default is not None), server_default=default,
        index=bool(field.refers) or None,
    )
    if field.name_of_person:
        # Stored beside the name, so that a role without the right to the name can be given this instead.
        yield sa.Column(f"{field.name}_masked", sa.Text, sa.Computed(f"left({field.name}, 1) || '*'", persisted=True))


def checks(field: Field) -> Iterator[sa.CheckConstraint]:
    """The rules of one field, each a CHECK that carries the field's name."""
    name, terms = field.name, []
    if field.hashed:
        # Two bytes of the key's number and 32 of hash: no plain text of a number is as long.
        yield sa.CheckConstraint(f"octet_length({name}_hash) = 34", name=name)
        return
    if field.secret:
        yield sa.CheckConstraint(
            f"{name}_masked !~ '[0-9]{{7}}' AND num_nulls({name}_masked, {name}_cipher, {name}_hash) IN (0, 3)", name=name
        )
        return
    if field.choices:
        terms.append(f"{name} IN ({', '.join(_literal(code) for code in field.codes)})")
    if field.minimum is not None:
        terms.append(f"{name} >= {field.minimum:g}")
    if field.maximum is not None:
        terms.append(f"{name} <= {field.maximum:g}")
    if field.type is float:
        terms.append(f"{name} <> 'NaN'")
    if field.type is str and not field.choices and not field.listed:
        terms.append(f"length({name}) BETWEEN {int(field.required)} AND {field.longest}")
    if field.pattern:
        terms.append(f"{name} ~ '^{field.pattern}$'")
    if terms:
        yield sa.CheckConstraint(" AND ".join(terms), name=name)


def table(resource: Resource, metadata: sa.MetaData = metadata) -> sa.Table:
    """The table of a noun: the spine every row has, its fields, its rules."""
    stored = [field for field in resource.all_fields if field.stored]
    return sa.Table(
        resource.name,
        metadata,
        *_spine(resource),
        *[column for field in stored for column in columns(field)],
        *_geometry(resource),
        *[check for field in stored for check in checks(field)],
        *[sa.CheckConstraint(rule.sql, name=rule.name) for rule in resource.rules],
        *_constraints(resource),
        comment=f"{resource.title}。{resource.about}",
    )


def _spine(resource: Resource) -> Iterator[sa.Column[object]]:
    yield sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()"))
    yield sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1"))
    if resource.name == "areas":
        yield sa.Column("scope", Code, sa.Computed("path", persisted=True), nullable=False)
    else:
        yield sa.Column("scope", Code, nullable=False)
    yield sa.Column("source", sa.Text, nullable=False, server_default=sa.text("''"))
    yield sa.Column("batch", pg.UUID(), index=True)
    yield sa.Column("retired_at", Moment)
    yield sa.Column("extras", pg.JSONB, nullable=False, server_default=sa.text("'{}'"))
    if resource.owned:
        yield sa.Column("owner", pg.UUID(), sa.ForeignKey("accounts.id"), index=True)
    if resource.place in (Place.POINT, Place.INHERITS):
        # No foreign key: 1 M of its checks cost a quarter of a load. Only the placing definer and the loader write it,
        # and the loader's batch is compared with `placements` once, as a set, before it commits.
        yield sa.Column("placement", sa.Integer, index=True)
    if resource.place is Place.POINT:
        yield sa.Column("nearest_area", pg.UUID())


def _geometry(resource: Resource) -> Iterator[sa.Column[object]]:
    if not resource.geometry:
        return
    needed = resource.geometry_required
    yield sa.Column(
        "geom", Geometry(resource.geometry, srid=SRID, spatial_index=False), nullable=not needed
    )
    if resource.coarse:
        yield sa.Column("geom_coarse", Geometry("POINT", srid=SRID, spatial_index=False))
    if resource.name == "areas":
        yield sa.Column("label_point", Geometry("POINT", srid=SRID, spatial_index=False))


def _constraints(resource: Resource) -> Iterator[sa.schema.SchemaItem]:
    name = resource.name
    yield sa.CheckConstraint("version >= 1", name="version")
    if resource.geometry:
        yield sa.CheckConstraint(SOUND[resource.geometry].format("geom"), name="geom")
        yield sa.Index(f"{name}_geom_idx", "geom", postgresql_using="gist")
    if resource.coarse:
        yield sa.Index(f"{name}_geom_coarse_idx", "geom_coarse", postgresql_using="gist")
    if resource.place is Place.POINT:
        yield sa.Index(
            f"{name}_review_idx", "placing_reason", "scope", postgresql_where=sa.text("placing_reason IS NOT NULL")
        )
    if resource.key:
        yield sa.Index(f"{name}_{'_'.join(resource.key)}_key", *resource.key, unique=True, postgresql_where=LIVING)
    for columns_ in resource.indexes:
        yield sa.Index(f"{name}_{'_'.join(columns_)}_idx", *columns_)
    yield sa.Index(f"{name}_scope_id_idx", "scope", "id")
    if name == "areas":
        yield pg.ExcludeConstraint(
            ("path", "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            name="areas_versions_excl",
            where=LIVING,
        )
        yield sa.Index("areas_level_idx", "level", "code")


def _literal(value: str | int | bool) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


def code_list(name: str) -> sa.Table:
    """The table of a code list: what `data/codes/{name}.csv` says, kept by `jingwei migrate`."""
    return sa.Table(
        name,
        metadata,
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("title_en", sa.Text, nullable=False),
        sa.Column("parent", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("retired_at", Moment),
    )


CODES = {name: code_list(name) for name in CODE_LISTS}
TABLES = {name: table(resource) for name, resource in RESOURCES.items()}
