"""The tables of who may come in: accounts, what they are appointed to, and how they are known again.

Nobody reads or writes them directly, the web roles included: all goes through functions that look at who asks
(`geo/sql/rules/70_accounts.sql`), and those of signing in are called by a login of its own (`71_door.sql`).
What opens a door is kept as its hash: a copy of the database lets nobody in.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from geo.catalog.roles import RIGHTS
from geo.spine import NOW
from geo.tables import Code, Moment, metadata

ROLES = sa.Table(
    "roles",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("right", sa.Text, nullable=False),
    sa.Column("audience", sa.Integer, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("administrator", sa.Boolean, nullable=False),
    sa.Column("may", pg.ARRAY(sa.Text), nullable=False),
    sa.CheckConstraint(f"\"right\" IN ({', '.join(repr(right) for right in RIGHTS)})", name="right"),
    sa.UniqueConstraint("code", "administrator", name="roles_code_administrator_key"),
    comment="角色:看到什么、能做什么。由声明写入。",
)

ACCOUNTS = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("login", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=sa.text("''"), comment="purpose: 工作账号; until the account is destroyed"),
    sa.Column("kind", sa.Text, nullable=False, server_default=sa.text("'person'")),
    sa.Column("password_hash", sa.Text),
    sa.Column("password_at", Moment),
    sa.Column("totp_cipher", sa.LargeBinary),
    sa.Column("totp_at", Moment, comment="when the first code was given: until then it is not asked for"),
    sa.Column("totp_step", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="of the last code used: none is used twice"),
    sa.Column("subject", sa.Text, comment="issuer and subject at the place's own identity provider"),
    sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("locked_until", Moment),
    sa.Column("disabled_at", Moment),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("seen_at", Moment),
    sa.UniqueConstraint("login", name="accounts_login_key"),
    sa.UniqueConstraint("subject", name="accounts_subject_key"),
    # Lower case only: two people are not told apart by a capital letter.
    sa.CheckConstraint("login ~ '^[a-z0-9][a-z0-9._@-]{1,63}$'", name="login"),
    sa.CheckConstraint("length(name) <= 60", name="name"),
    sa.CheckConstraint("kind IN ('person', 'system')", name="kind"),
    sa.CheckConstraint("password_hash IS NULL OR password_hash ^@ '$argon2id$'", name="password"),
    comment="账号:一个人或一个系统。",
)

APPOINTMENTS = sa.Table(
    "appointments",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("administrator", sa.Boolean, nullable=False),
    sa.Column("categories", pg.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("valid_from", Moment, nullable=False, server_default=NOW),
    sa.Column("valid_to", Moment),
    sa.Column("stands_in_for", pg.UUID(), sa.ForeignKey("appointments.id"), index=True),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.ForeignKeyConstraint(
        ("role", "administrator"), ("roles.code", "roles.administrator"), name="appointments_role_fkey", onupdate="CASCADE"
    ),
    sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="validity"),
    sa.CheckConstraint("stands_in_for IS NULL OR valid_to IS NOT NULL", name="stand_in"),
    pg.ExcludeConstraint(
        ("account", "="), (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
        name="appointments_administrators_excl", where=sa.text("administrator"),
    ),
    comment="任职:谁在什么时期以什么角色管哪些区域。",
)

APPOINTMENT_AREAS = sa.Table(
    "appointment_areas",
    metadata,
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id"), primary_key=True),
    sa.Column("path", Code, sa.ForeignKey("area_paths.path"), primary_key=True),
    comment="任职的区域:各自的下级,别无其他。",
)

SESSIONS = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id")),
    sa.Column("opened_at", Moment, nullable=False, server_default=NOW),
    sa.Column("seen_at", Moment, nullable=False, server_default=NOW),
    sa.Column("idle", sa.Interval, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("origin", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.UniqueConstraint("hash", name="sessions_hash_key"),
    comment="登录会话,只存令牌的散列。",
)

TOKENS = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id"), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("used_at", Moment),
    sa.UniqueConstraint("hash", name="tokens_hash_key"),
    sa.CheckConstraint("length(title) BETWEEN 1 AND 100", name="title"),
    comment="接口令牌:只显示一次,到期失效。",
)

SLIPS = sa.Table(
    "slips",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("used_at", Moment),
    comment="一次性凭条:凭它设一次口令。",
)

RECEIPTS = sa.Table(
    "receipts",
    metadata,
    sa.Column("ticket", sa.Text, primary_key=True),
    sa.Column("code_hash", sa.LargeBinary, nullable=False, info={"fingerprint": True}),
    sa.Column("incident", pg.UUID(), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    # Of somebody who found their matter reported already: told how it goes, and theirs to move it is not.
    sa.Column("follows", sa.Boolean, nullable=False, server_default=sa.text("false")),
    comment="上报回执:凭回执号和查询码跟踪自己的上报。",
)
