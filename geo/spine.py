"""The tables under every noun: the instance, what changed, who looked, where things were placed.

Laid before anything else stands on them, because they cannot be added later: a change that was not
written down is lost, and a path that was given out twice is wrong for ever.
"""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from geo.crs import SRID
from geo.tables import SOUND, Code, Moment, metadata

NOW = sa.text("now()")


class XID8(sa.types.UserDefinedType[str]):
    """A 64-bit transaction id, which never wraps round."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class PgSnapshot(sa.types.UserDefinedType[str]):
    """Which transactions were over at a moment."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "pg_snapshot"


CODE_SCHEMES = sa.Table(
    "code_schemes",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("patterns", pg.JSONB, nullable=False, comment="level → regular expression of its codes"),
    sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''")),
    comment="编码规则:数据而非程序,只用来提示,不强制。",
)

INSTANCE = sa.Table(
    "instance",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.text("true")),
    sa.Column("id", pg.UUID(), nullable=False, server_default=sa.text("uuid_v7()")),
    sa.Column("name", sa.Text, nullable=False, server_default=sa.text("'经纬'")),
    sa.Column("prefix", Code, nullable=False, server_default=sa.text("''")),
    sa.Column("time_zone", sa.Text, nullable=False, server_default=sa.text("'Asia/Shanghai'")),
    sa.Column("languages", pg.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{zh,en}'")),
    # Counts of people between 1 and k - 1 are not told to the public; the floor is the practice of disclosure (5).
    sa.Column("k", sa.Integer, nullable=False, server_default=sa.text("5")),
    sa.Column("demo", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("code_scheme", sa.Text, sa.ForeignKey("code_schemes.name")),
    # Both may be shortened only: what takes longer asks for an assessment, and what is answered later is late.
    sa.Column("review_days", sa.Integer, nullable=False, server_default=sa.text("30")),
    sa.Column("answer_days", sa.Integer, nullable=False, server_default=sa.text("15")),
    sa.CheckConstraint("review_days BETWEEN 0 AND 30", name="review_days"),
    sa.CheckConstraint("answer_days BETWEEN 1 AND 15", name="answer_days"),
    sa.Column("trail_hash", sa.Text, nullable=False, server_default=sa.text("'sha256'")),
    # Six months at the least (Cybersecurity Law, art. 21): no setting goes below.
    sa.Column("trail_days", sa.Integer, nullable=False, server_default=sa.text("183")),
    sa.CheckConstraint("one", name="one"),
    sa.CheckConstraint("trail_hash IN ('sha256', 'sm3')", name="trail_hash"),
    sa.CheckConstraint("trail_days >= 183", name="trail_days"),
    sa.CheckConstraint("k >= 5", name="k"),
    sa.CheckConstraint("prefix ~ '^[0-9A-Z]*$' AND length(prefix) IN (0, 2, 4, 6, 9, 12)", name="prefix"),
    comment="一行:这个实例是谁。",
)

AREA_PATHS = sa.Table(
    "area_paths",
    metadata,
    sa.Column("path", Code, primary_key=True),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False, server_default=NOW),
    comment="给出过的每一条路径。只增不减:注销的路径不再给别的区域。",
)

SUCCESSIONS = sa.Table(
    "successions",
    metadata,
    sa.Column("old_path", Code, sa.ForeignKey("area_paths.path"), primary_key=True),
    sa.Column("new_path", Code, sa.ForeignKey("area_paths.path"), primary_key=True),
    sa.Column("at", Moment, primary_key=True),
    # By buildings, not by area: land is not where the people are.
    sa.Column("share", sa.Float, nullable=False),
    sa.CheckConstraint("share > 0 AND share <= 1", name="share"),
    comment="区域调整:旧路径由哪些新路径接续,各占多少楼栋。",
)

AREA_MEMBERS = sa.Table(
    "area_members",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("area", Code, sa.ForeignKey("area_paths.path"), nullable=False, index=True),
    sa.Column("building", pg.UUID(), sa.ForeignKey("buildings.id"), nullable=False, index=True),
    sa.Column("unit", pg.UUID(), sa.ForeignKey("units.id"), index=True),
    sa.Column("floor_from", sa.Integer),
    sa.Column("floor_to", sa.Integer),
    sa.CheckConstraint("floor_to IS NULL OR floor_from IS NULL OR floor_to >= floor_from", name="floors"),
    comment="由楼栋、单元或楼层组成的区域(微网格)的成员。",
)

ADDRESS_ALIASES = sa.Table(
    "address_aliases",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("text", sa.Text, nullable=False, comment="of an address, in one spelling, and nothing of who lives there"),
    # Whose it is follows from what it means: its scope is that of its target, and there is none to keep up.
    *[sa.Column(part, pg.UUID(), sa.ForeignKey(f"{part}s.id")) for part in ("compound", "building", "unit", "dwelling")],
    sa.Column("source", sa.Text, nullable=False, server_default=sa.text("''"), comment="the file in which it was written so"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("retired_at", Moment),
    sa.CheckConstraint("length(text) BETWEEN 2 AND 60 AND text !~ '[0-9]{7}'", name="text"),
    sa.CheckConstraint("length(source) <= 200", name="source"),
    sa.CheckConstraint("num_nonnulls(compound, building, unit, dwelling) = 1", name="target"),
    sa.Index("address_aliases_text_idx", "text", postgresql_where=sa.text("retired_at IS NULL")),
    comment="有人说明过的地址写法:这样写的就是这个小区、这栋楼、这个单元、这套房。",
)

PLACEMENTS = sa.Table(
    "placements",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    *[
        sa.Column(level, pg.UUID(), sa.ForeignKey("areas.id"))
        for level in ("province", "city", "district", "street", "community", "grid", "micro_grid")
    ],
    sa.Column("path", Code, nullable=False),
    sa.UniqueConstraint(
        "province", "city", "district", "street", "community", "grid", "micro_grid",
        name="placements_areas_key", postgresql_nulls_not_distinct=True,
    ),
    sa.Index("placements_path_idx", "path"),
    comment="一处所在:每一层级各一个区域版本。记录只存它的号。",
)

DIRECT_LOGINS = sa.Table(
    "direct_logins",
    metadata,
    sa.Column("login", sa.Text, primary_key=True),
    sa.Column("path", Code, sa.ForeignKey("area_paths.path"), nullable=False),
    sa.Column("made_at", Moment, nullable=False, server_default=NOW),
    sa.Column("made_by", sa.Text, nullable=False, server_default=sa.text("SESSION_USER")),
    sa.Column("ends_at", Moment),
    sa.CheckConstraint("login ~ '^[a-z][a-z0-9_]{1,39}$' AND login !~ '^(pg|jingwei)_'", name="login"),
    comment="用自己的数据库账号进来的人(QGIS、psql)管到哪条路径,到什么时候。",
)

AREA_SHARES = sa.Table(
    "area_shares",
    metadata,
    sa.Column("noun", sa.Text, primary_key=True),
    sa.Column("feature", pg.UUID(), primary_key=True),
    sa.Column("area", pg.UUID(), sa.ForeignKey("areas.id"), primary_key=True),
    sa.Column("measure", sa.Float, nullable=False, comment="m² of a polygon, m of a line, inside this area"),
    sa.Column("share", sa.Float, nullable=False, comment="of the feature that lies in this area"),
    sa.Column("area_share", sa.Float, nullable=False, comment="of the area that is covered"),
    # Again, so that a policy finds what touches a scope without reading the areas.
    sa.Column("path", Code, nullable=False),
    sa.Index("area_shares_noun_path_feature_idx", "noun", "path", "feature"),
    comment="面和线接触到的每一个区域及占比。",
)

TALLIES = sa.Table(
    "tallies",
    metadata,
    sa.Column("path", Code, primary_key=True),
    sa.Column("noun", sa.Text, primary_key=True),
    sa.Column("quantity", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    comment="每个区域各有多少:由改动累加,不必每次重数。",
)

UPLOADS = sa.Table(
    "uploads",
    metadata,
    # The number of its batch too, once it is read.
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("appointment", pg.UUID(), sa.ForeignKey("appointments.id"), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False),
    sa.Column("within", pg.ARRAY(sa.Text), nullable=False, comment="the areas that its sender answers for; '' is everywhere"),
    sa.Column("key", sa.Text, comment="Idempotency-Key"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False, comment="SHA-256"),
    sa.Column("file_key_cipher", sa.LargeBinary, comment="opens the file as it was sent; gone with it"),
    sa.Column("state", sa.Text, nullable=False, server_default=sa.text("'queued'")),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("moved_at", Moment, nullable=False, server_default=NOW),
    sa.Column("undoing", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Column("choices", pg.JSONB, nullable=False, server_default=sa.text("'{}'"), comment="what its sender chose"),
    sa.Column("noun", sa.Text),
    sa.Column("done", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("expected", sa.Integer),
    sa.Column("told", pg.JSONB, nullable=False, server_default=sa.text("'{}'"), comment="what was found in it"),
    sa.Column("counts", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("refusal", pg.JSONB, comment="a sentence and its facts"),
    sa.UniqueConstraint("account", "key", name="uploads_key"),
    sa.CheckConstraint("state IN ('queued', 'reading', 'ready', 'refused', 'applying', 'applied', 'undone', 'failed')", name="state"),
    sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    sa.CheckConstraint("size > 0", name="size"),
    sa.CheckConstraint("length(key) BETWEEN 1 AND 200", name="key"),
    sa.CheckConstraint("octet_length(digest) = 32", name="digest"),
    comment="送来的文件,和它走到哪一步。",
)

PARTIAL_UPLOADS = sa.Table(
    "partial_uploads",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("taken", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("file_key_cipher", sa.LargeBinary, nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
    sa.CheckConstraint("size > 0 AND taken BETWEEN 0 AND size", name="size"),
    comment="一段一段送来、还没有送完的文件。",
)

# What a sender said of a sheet with these headings: the next one like it is read the same way.
MAPPINGS = sa.Table(
    "mappings",
    metadata,
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), primary_key=True),
    sa.Column("headings", sa.LargeBinary, primary_key=True, comment="SHA-256 of the headings in order of name"),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("columns", pg.JSONB, nullable=False, comment="field → heading"),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.CheckConstraint("octet_length(headings) = 32", name="headings"),
    comment="同一个人再送同样表头的文件时,沿用上次的对应。",
)

TALLY_CHANGES = sa.Table(
    "tally_changes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("scope", Code, nullable=False, index=True),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("quantity", sa.Text, nullable=False),
    sa.Column("value", sa.BigInteger, nullable=False),
    comment="还没有并入合计的增减。",
)

BATCHES = sa.Table(
    "batches",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("rows", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("report", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("undone_at", Moment),
    comment="一次导入:可整批撤回。",
)

LOAD_PROBLEMS = sa.Table(
    "load_problems",
    metadata,
    sa.Column("batch", pg.UUID(), sa.ForeignKey("batches.id"), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True, server_default=sa.text("''")),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("facts", pg.JSONB, nullable=False, server_default=sa.text("'{}'"), comment="of the reason, which is a gettext id"),
    sa.Column("value", sa.Text, nullable=False, server_default=sa.text("''"), comment="the cell, where it is no person's"),
    sa.Column("suggestion", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("repaired", sa.Boolean, nullable=False, server_default=sa.text("false"), comment="mended, and stored as mended"),
    sa.Column("lon", sa.Float),
    sa.Column("lat", sa.Float),
    sa.Column("record", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    comment="导入时没能入库的行,留作待办,一行不丢。",
)

CHANGES = sa.Table(
    "changes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("xid", XID8(), nullable=False, server_default=sa.text("pg_current_xact_id()")),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("feature", pg.UUID()),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("scope_before", Code),
    sa.Column("scope_after", Code),
    sa.Column("batch", pg.UUID()),
    sa.Column("patch", pg.JSONB, comment="what the changed columns held before"),
    sa.Column("number", sa.BigInteger, comment="the running number, given by the relay"),
    sa.CheckConstraint(
        "operation IN ('add', 'change', 'retire', 'restore', 'destroy', 'batch', 'undo', 'place', 'tell')", name="operation"
    ),
    sa.Index("changes_xid_idx", "xid"),
    sa.Index("changes_noun_feature_idx", "noun", "feature", "id"),
    sa.Index("changes_number_idx", "number", postgresql_where=sa.text("number IS NOT NULL")),
    sa.Index("changes_batch_idx", "batch", postgresql_where=sa.text("batch IS NOT NULL")),
    # Asked for every row of a transaction: is there one that stands for all of it (a batch, its undoing, a stretch of
    # what was destroyed)?
    sa.Index("changes_whole_idx", "xid", postgresql_where=sa.text("feature IS NULL")),
    comment="每一次改动,由触发器写下:日志、撤销、历史版本和对外发布都是这一张表。",
)

RELAY = sa.Table(
    "relay",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.text("true")),
    sa.Column("snapshot", PgSnapshot(), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("struck_at", Moment, nullable=False, server_default=NOW),
    sa.Column("destroyed_on", sa.Date, comment="the local day on which what was over was last destroyed"),
    sa.CheckConstraint("one", name="one"),
    comment="改动发布到哪里了:上一次看到的快照和连续编号。",
)

LAYER_VERSIONS = sa.Table(
    "layer_versions",
    metadata,
    sa.Column("layer", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    comment="图层的版本:瓦片地址里的 v,写入后由转发进程推进。",
)

TRAIL = sa.Table(
    "trail",
    metadata,
    # Without a gap, given under the chain's lock: a sequence leaves gaps when a transaction is rolled back, and then a
    # missing number proves nothing.
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("noun", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("feature", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("scope", Code, nullable=False, server_default=sa.text("''")),
    sa.Column("purpose", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("previous", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Index("trail_feature_idx", "feature", "id", postgresql_where=sa.text("feature <> ''")),
    sa.Index("trail_actor_idx", "actor", "id"),
    sa.Index("trail_at_idx", "at", postgresql_using="brin"),
    comment="留痕:谁在什么时候看了什么、改了什么、被拒绝了什么。只能追加,逐条相连。",
)

TRAIL_CUTS = sa.Table(
    "trail_cuts",
    metadata,
    sa.Column("until", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False, comment="of the last row that went: the next one hangs on it"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=sa.text("clock_timestamp()")),
    comment="留痕满期后从头清理的记录:清到哪一条、那一条的校验值、多少条、什么时候。",
)

IDEMPOTENCY = sa.Table(
    "idempotency",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("feature", pg.UUID(), nullable=False),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Index("idempotency_noun_feature_idx", "noun", "feature"),
    comment="同一个请求重发只算一次。",
)

RETENTION_RULES = sa.Table(
    "retention_rules",
    metadata,
    sa.Column("noun", sa.Text, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True, comment="empty: all of the row"),
    sa.Column("position", sa.Integer, nullable=False, comment="what refers comes before what it refers to"),
    sa.Column("columns", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("since", sa.Text, nullable=False, comment="the column from whose moment the days run"),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("retired_days", sa.Integer, nullable=False),
    sa.Column("whole", sa.Boolean, nullable=False, comment="the row goes, not the field alone"),
    comment="个人信息的登记:每个字段为什么留、凭什么留、留多久。由声明写成,每次迁移重写。",
)

DESTRUCTIONS = sa.Table(
    "destructions",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("at", Moment, nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("activation", pg.UUID()),
    sa.Column("request", pg.UUID()),
    sa.Column("noun", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("columns", pg.ARRAY(sa.Text), comment="NULL: all of the row"),
    sa.Column("ids", pg.ARRAY(pg.UUID()), nullable=False),
    sa.Column("number", sa.Integer, nullable=False, comment="how many were there to be destroyed"),
    sa.Column("replayed_at", Moment),
    sa.Column("certificate", pg.UUID()),
    sa.CheckConstraint("cause IN ('period', 'retired', 'emergency', 'request', 'hand')", name="cause"),
    sa.Index("destructions_uncertified_idx", "id", postgresql_where=sa.text("certificate IS NULL")),
    comment="一次一段的销毁:只有编号,没有内容。只能追加。",
)

CERTIFICATES = sa.Table(
    "certificates",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False),
    sa.Column("issued_at", Moment, nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column("issued_by", sa.Text, nullable=False),
    sa.Column("approved_by", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("activation", pg.UUID()),
    sa.Column("request", pg.UUID()),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=False),
    sa.Column("counts", pg.JSONB, nullable=False, comment="[{noun, field, count}]"),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("stretches", pg.ARRAY(pg.UUID()), nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the salt and the list of what was destroyed"),
    sa.CheckConstraint("cause IN ('period', 'retired', 'emergency', 'request', 'hand', 'replay')", name="cause"),
    sa.CheckConstraint("length(salt) >= 16", name="salt"),
    comment="销毁证明:何时、为何、多少、谁核准。只能追加。",
)

ASSESSMENTS = sa.Table(
    "assessments",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("activation", pg.UUID(), sa.ForeignKey("activations.id"), nullable=False, index=True),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("until", Moment, nullable=False),
    sa.Column("assessed_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("document_number", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("actor", sa.Text, nullable=False),
    sa.CheckConstraint("until > at AND until <= at + interval '366 days'", name="until"),
    sa.CheckConstraint("length(btrim(reason)) BETWEEN 10 AND 4000", name="reason"),
    sa.CheckConstraint("length(btrim(assessed_by)) BETWEEN 2 AND 200", name="assessed_by"),
    comment="个人信息保护影响评估:应急结束后确需保留的,谁评估、为什么、到何时。只能追加。",
)

GATHERED_COUNTS = sa.Table(
    "gathered_counts",
    metadata,
    sa.Column("activation", pg.UUID(), sa.ForeignKey("activations.id"), primary_key=True),
    sa.Column("noun", sa.Text, primary_key=True),
    sa.Column("path", Code, primary_key=True, comment="of a community, or what is above it"),
    sa.Column("count", sa.BigInteger, nullable=False),
    comment="为一次应急登记过多少行,按社区:行销毁之后数还在。",
)

RIGHTS_MOVES = sa.Table(
    "rights_moves",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    comment="个人信息请求每一类允许的步骤:数据而非程序。",
)

RIGHTS_REQUESTS = sa.Table(
    "rights_requests",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("ticket", sa.Text, nullable=False),
    sa.Column(
        "code_hash", sa.LargeBinary, nullable=False, info={"fingerprint": True}, comment="keyed: the code itself is with the person only"
    ),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("scope", Code, nullable=False),
    sa.Column("subject_cipher", sa.LargeBinary, comment="who asks, and for what, in their words"),
    sa.Column("phone_masked", sa.Text),
    sa.Column("phone_cipher", sa.LargeBinary),
    sa.Column("phone_hash", sa.LargeBinary),
    sa.Column("appeal_of", pg.UUID(), sa.ForeignKey("rights_requests.id"), index=True),
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False, index=True),
    sa.Column("verified_how", sa.Text),
    sa.Column("finished_at", Moment),
    sa.UniqueConstraint("ticket", name="rights_requests_ticket_key"),
    sa.UniqueConstraint("id", "kind", name="rights_requests_id_kind_key"),
    sa.CheckConstraint("kind IN ('access', 'correct', 'delete', 'explain', 'appeal')", name="kind"),
    sa.CheckConstraint("(kind = 'appeal') = (appeal_of IS NOT NULL)", name="appeal"),
    sa.CheckConstraint("phone_masked !~ '[0-9]{7}' AND num_nulls(phone_masked, phone_cipher, phone_hash) IN (0, 3)", name="phone"),
    sa.CheckConstraint("verified_how IN ('callback', 'in_person')", name="verified_how"),
    comment="本人对自己信息的请求:查阅复制、更正补充、删除、解释说明、申诉。走到哪一步看 rights_log。",
)

RIGHTS_FINDINGS = sa.Table(
    "rights_findings",
    metadata,
    sa.Column("request", pg.UUID(), sa.ForeignKey("rights_requests.id"), primary_key=True),
    sa.Column("noun", sa.Text, primary_key=True),
    sa.Column("feature", pg.UUID(), primary_key=True),
    comment="核实身份时认定是请求人自己的记录。",
)

RIGHTS_LOG = sa.Table(
    "rights_log",
    metadata,
    sa.Column("request", pg.UUID(), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("acting_as", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("note", sa.Text, nullable=False, server_default=sa.text("''"), comment="told to the person"),
    sa.Column("grounds", sa.Text),
    sa.Column("appeal_channel", sa.Text),
    sa.ForeignKeyConstraint(["request", "kind"], ["rights_requests.id", "rights_requests.kind"]),
    sa.ForeignKeyConstraint(["kind", "source", "target"], ["rights_moves.kind", "rights_moves.source", "rights_moves.target"]),
    sa.CheckConstraint("target <> 'refused' OR num_nulls(grounds, nullif(appeal_channel, ''), nullif(note, '')) = 0", name="refusal"),
    sa.CheckConstraint(
        "grounds IN ('identity', 'statutory', 'others', 'unfounded', 'infeasible')", name="grounds"
    ),
    comment="请求走过的每一步。哪一步允许由 rights_moves 的外键定,先到的一步算数。",
)

LAYERS = sa.Table(
    "layers",
    metadata,
    # That of the upload that made it.
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("scope", Code, nullable=False, comment="the path of the area for which it was made"),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("about", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("audience", sa.Integer, nullable=False),
    sa.Column("color", sa.Text, nullable=False),
    sa.Column("opacity", sa.Float, nullable=False),
    sa.Column("columns", pg.JSONB, nullable=False, comment="[{name, type}] in the order of the file"),
    sa.Column("rows", sa.Integer, nullable=False),
    # A later file takes the place of the one before it, which stays: taking the later one back is a change of this column.
    sa.Column("edition", pg.UUID(), sa.ForeignKey("batches.id"), nullable=False, index=True, comment="the batch that is shown"),
    sa.Column("batch", pg.UUID(), sa.ForeignKey("batches.id"), index=True, comment="the batch that made it"),
    sa.Column("account", pg.UUID(), sa.ForeignKey("accounts.id"), index=True, comment="none of one loaded at the terminal"),
    sa.Column("at", Moment, nullable=False, server_default=NOW),
    sa.Column("retired_at", Moment),
    sa.CheckConstraint("version >= 1", name="version"),
    sa.CheckConstraint("scope <> ''", name="scope"),
    sa.CheckConstraint("length(btrim(title)) BETWEEN 1 AND 80 AND title !~ '[[:cntrl:]]'", name="title"),
    sa.CheckConstraint("length(about) <= 2000", name="about"),
    sa.CheckConstraint("kind IN ('point', 'line', 'polygon')", name="kind"),
    sa.CheckConstraint("audience IN (0, 2, 3)", name="audience"),
    sa.CheckConstraint("color ~ '^#[0-9A-F]{6}$'", name="color"),
    sa.CheckConstraint("opacity BETWEEN 0 AND 1", name="opacity"),
    sa.CheckConstraint("jsonb_typeof(columns) = 'array'", name="columns"),
    sa.CheckConstraint("rows > 0", name="rows"),
    comment="自有图层:没有合适资源的文件,自成一层。",
)

LAYER_FEATURES = sa.Table(
    "layer_features",
    metadata,
    sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.text("uuid_v7()")),
    sa.Column("edition", pg.UUID(), sa.ForeignKey("batches.id"), nullable=False),
    sa.Column("geom", Geometry("GEOMETRY", srid=SRID, spatial_index=False), nullable=False),
    sa.Column("properties", pg.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.CheckConstraint(
        "CASE GeometryType(geom) " + " ".join(f"WHEN '{kind}' THEN {sound.format('geom')}" for kind, sound in SOUND.items()) + " ELSE false END",
        name="geom",
    ),
    sa.CheckConstraint("jsonb_typeof(properties) = 'object'", name="properties"),
    sa.Index("layer_features_edition_id_idx", "edition", "id"),
    sa.Index("layer_features_edition_geom_idx", "edition", "geom", postgresql_using="gist"),
    comment="自有图层里的图形和属性;写入之后不再改动。",
)

# Spine tables that the rights roles may read; the rest is reached through functions only.
READABLE = (
    "retention_rules", "instance", "area_paths", "placements", "area_shares", "successions", "area_members", "layer_versions",
    "working_days", "working_hours", "working_spans", "stage_limits", "matter_limits", "alarm_steps", "duty_waits",
)
