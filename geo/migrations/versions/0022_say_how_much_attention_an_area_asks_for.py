"""say how much attention an area asks for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0022'
down_revision = '0019'

PURPOSE = "purpose IN ('visit', 'service', 'zone_supply', 'emergency_contact', 'contact', 'rights_request', 'audit')"


def upgrade() -> None:
    op.create_table('attention_steps',
    sa.Column('factor', sa.Text(), nullable=False),
    sa.Column('level', sa.Text(), nullable=False),
    sa.Column('grade', sa.SmallInteger(), nullable=False),
    sa.Column('at_least', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint('grade BETWEEN 1 AND 4 AND at_least > 0', name=op.f('attention_steps_grade_check')),
    sa.PrimaryKeyConstraint('factor', 'level', 'grade', name=op.f('attention_steps_pkey')),
    comment='关注等级的阈值:哪一项事实到多少是哪一级。由声明写入。'
    )
    op.create_table('siting_rules',
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('kinds', postgresql.ARRAY(sa.Text()), nullable=False),
    sa.Column('metres', sa.Integer(), nullable=False),
    sa.CheckConstraint('metres > 0 AND cardinality(kinds) > 0', name=op.f('siting_rules_reach_check')),
    sa.PrimaryKeyConstraint('service', name=op.f('siting_rules_pkey')),
    comment='服务设施应当在多远以内。由声明写入。'
    )
    # What was closed since yesterday is counted on every opening of the map.
    op.create_index(op.f('incidents_closed_at_idx'), 'incidents', ['closed_at'], unique=False)
    # Whoever answers for a place is called about work: a purpose of its own, where before another had to be named that was none.
    for table in ('unmaskings', 'exports'):
        op.drop_constraint(op.f(f'{table}_purpose_check'), table, type_='check')
        op.create_check_constraint(op.f(f'{table}_purpose_check'), table, PURPOSE)
