"""let a file be a layer of its own."""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = '0011'
down_revision = '0010'


def upgrade() -> None:
    op.create_table(
        'layers',
        sa.Column('id', postgresql.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
        sa.Column('version', sa.Integer(), server_default=sa.text('1'), nullable=False),
        sa.Column('scope', sa.Text(collation='C'), nullable=False, comment='the path of the area for which it was made'),
        sa.Column('title', sa.Text(), nullable=False),
        sa.Column('about', sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('audience', sa.Integer(), nullable=False),
        sa.Column('color', sa.Text(), nullable=False),
        sa.Column('opacity', sa.Float(), nullable=False),
        sa.Column('columns', postgresql.JSONB(), nullable=False, comment='[{name, type}] in the order of the file'),
        sa.Column('rows', sa.Integer(), nullable=False),
        sa.Column('edition', postgresql.UUID(), nullable=False, comment='the batch that is shown'),
        sa.Column('batch', postgresql.UUID(), nullable=True, comment='the batch that made it'),
        sa.Column('account', postgresql.UUID(), nullable=False),
        sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint('version >= 1', name=op.f('layers_version_check')),
        sa.CheckConstraint("scope <> ''", name=op.f('layers_scope_check')),
        sa.CheckConstraint("length(btrim(title)) BETWEEN 1 AND 80 AND title !~ '[[:cntrl:]]'", name=op.f('layers_title_check')),
        sa.CheckConstraint('length(about) <= 2000', name=op.f('layers_about_check')),
        sa.CheckConstraint("kind IN ('point', 'line', 'polygon')", name=op.f('layers_kind_check')),
        sa.CheckConstraint('audience IN (0, 2, 3)', name=op.f('layers_audience_check')),
        sa.CheckConstraint("color ~ '^#[0-9A-F]{6}$'", name=op.f('layers_color_check')),
        sa.CheckConstraint('opacity BETWEEN 0 AND 1', name=op.f('layers_opacity_check')),
        sa.CheckConstraint("jsonb_typeof(columns) = 'array'", name=op.f('layers_columns_check')),
        sa.CheckConstraint('rows > 0', name=op.f('layers_rows_check')),
        sa.ForeignKeyConstraint(['edition'], ['batches.id'], name=op.f('layers_edition_fkey')),
        sa.ForeignKeyConstraint(['batch'], ['batches.id'], name=op.f('layers_batch_fkey')),
        sa.ForeignKeyConstraint(['account'], ['accounts.id'], name=op.f('layers_account_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('layers_pkey')),
        comment='自有图层:没有合适资源的文件,自成一层。',
    )
    for column in ('edition', 'batch', 'account'):
        op.create_index(op.f(f'layers_{column}_idx'), 'layers', [column], unique=False)
    op.create_table(
        'layer_features',
        sa.Column('id', postgresql.UUID(), server_default=sa.text('uuid_v7()'), nullable=False),
        sa.Column('edition', postgresql.UUID(), nullable=False),
        sa.Column('geom', Geometry('GEOMETRY', srid=4326, spatial_index=False), nullable=False),
        sa.Column('properties', postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "CASE GeometryType(geom)"
            " WHEN 'POINT' THEN NOT ST_IsEmpty(geom) AND ST_X(geom) BETWEEN -180 AND 180 AND ST_Y(geom) BETWEEN -90 AND 90"
            " WHEN 'MULTILINESTRING' THEN ST_NPoints(geom) BETWEEN 2 AND 200000 AND geom @ ST_MakeEnvelope(-180, -90, 180, 90, 4326)"
            " WHEN 'MULTIPOLYGON' THEN ST_NPoints(geom) BETWEEN 4 AND 200000 AND geom @ ST_MakeEnvelope(-180, -90, 180, 90, 4326)"
            " AND ST_IsValid(geom) ELSE false END",
            name=op.f('layer_features_geom_check'),
        ),
        sa.CheckConstraint("jsonb_typeof(properties) = 'object'", name=op.f('layer_features_properties_check')),
        sa.ForeignKeyConstraint(['edition'], ['batches.id'], name=op.f('layer_features_edition_fkey')),
        sa.PrimaryKeyConstraint('id', name=op.f('layer_features_pkey')),
        comment='自有图层里的图形和属性;写入之后不再改动。',
    )
    op.create_index('layer_features_edition_id_idx', 'layer_features', ['edition', 'id'], unique=False)
    op.create_index('layer_features_edition_geom_idx', 'layer_features', ['edition', 'geom'], unique=False, postgresql_using='gist')
