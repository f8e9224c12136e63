"""write more formats."""

from alembic import op

revision = '0010'
down_revision = '0009'


def upgrade():
    op.drop_constraint('exports_format_check', 'exports')
    op.create_check_constraint(
        op.f('exports_format_check'), 'exports',
        "format IN ('csv', 'xlsx', 'geojson', 'geojsons', 'gpkg', 'fgb', 'shp', 'kml', 'parquet')",
    )
