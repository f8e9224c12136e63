"""chain every write into the trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0005'
down_revision = '0004'

# Rows of a chain without numbers in its hashes, from before the first release: numbered and chained anew.
CHAINED = """
DO $$
DECLARE
    old record;
    last bytea := '\\x';
    number bigint := 0;
BEGIN
    ALTER TABLE trail DISABLE TRIGGER USER;
    FOR old IN SELECT * FROM trail ORDER BY id LOOP
        number := number + 1;
        UPDATE trail SET id = number, action = 'refused', result = left(old.action, 200), previous = last,
            hash = sha256(last || convert_to(jsonb_build_array(number, extract(epoch FROM old.at)::text, old.actor, old.acting_as,
                'refused', old.noun, old.feature, old.scope, old.purpose, left(old.action, 200), '')::text, 'UTF8'))
        WHERE id = old.id RETURNING hash INTO last;
    END LOOP;
    ALTER TABLE trail ENABLE TRIGGER USER;
END
$$
"""


def upgrade():
    op.add_column('instance', sa.Column('trail_hash', sa.Text(), server_default=sa.text("'sha256'"), nullable=False))
    op.add_column('instance', sa.Column('trail_days', sa.Integer(), server_default=sa.text('183'), nullable=False))
    op.create_check_constraint(op.f('instance_trail_hash_check'), 'instance', "trail_hash IN ('sha256', 'sm3')")
    op.create_check_constraint(op.f('instance_trail_days_check'), 'instance', 'trail_days >= 183')
    op.create_index('changes_whole_idx', 'changes', ['xid'], unique=False, postgresql_where=sa.text("operation IN ('batch', 'undo')"))
    op.create_table('trail_cuts',
    sa.Column('until', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False, comment='of the last row that went: the next one hangs on it'),
    sa.Column('rows', sa.BigInteger(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('until', name=op.f('trail_cuts_pkey')),
    comment='留痕满期后从头清理的记录:清到哪一条、那一条的校验值、多少条、什么时候。'
    )
    op.execute("ALTER TABLE trail ALTER COLUMN id DROP IDENTITY, ALTER COLUMN at DROP DEFAULT")
    op.add_column('trail', sa.Column('origin', sa.Text(), server_default=sa.text("''"), nullable=False))
    op.execute(CHAINED)
    op.create_index('trail_actor_idx', 'trail', ['actor', 'id'], unique=False)
    op.create_index('trail_at_idx', 'trail', ['at'], unique=False, postgresql_using='brin')
    op.create_index('trail_feature_idx', 'trail', ['feature', 'id'], unique=False, postgresql_where=sa.text("feature <> ''"))
    op.create_table_comment('trail', '留痕:谁在什么时候看了什么、改了什么、被拒绝了什么。只能追加,逐条相连。')
