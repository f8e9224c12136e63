"""Connections, the one transaction bound to a caller, and the translation of driver errors."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from geo.catalog import RESOURCES
from geo.catalog.roles import Ability
from geo.errors import (
    BadQuery,
    Conflict,
    Forbidden,
    GeoError,
    Invalid,
    NotFound,
    TooLarge,
    TooMany,
    Unavailable,
)
from geo.resource import Audience, Resource

SEARCH_PATH = "jingwei,public"
TIME_ZONE = "Asia/Shanghai"  # of what people read; what is stored has none
AREAS = 8  # that one appointment may name: each is a range of its own in a policy

# One row a class of trouble; the first that fits counts. XX000 with an interrupt is what PostGIS says when it was cancelled.
TRANSLATION: tuple[tuple[type[psycopg.Error], type[GeoError]], ...] = (
    (pg.UniqueViolation, Conflict),
    (pg.ExclusionViolation, Conflict),
    (pg.SerializationFailure, Conflict),
    (pg.DeadlockDetected, Conflict),
    (pg.LockNotAvailable, Unavailable),
    (pg.NoDataFound, NotFound),
    (pg.InsufficientPrivilege, Forbidden),
    (pg.ReadOnlySqlTransaction, Forbidden),
    (pg.QueryCanceled, Unavailable),
    (psycopg.IntegrityError, Invalid),
    (pg.DataError, Invalid),
    (pg.ConfigurationLimitExceeded, TooMany),
    (pg.DiskFull, Unavailable),
    (pg.InsufficientResources, Unavailable),
    (pg.ProgramLimitExceeded, TooLarge),
    (pg.StatementTooComplex, BadQuery),
    (pg.OperatorIntervention, Unavailable),
    (psycopg.OperationalError, Unavailable),
)


@dataclass(frozen=True)
class Caller:
    """Who asks: the name in the trail, the database role whose rights they have, the areas they answer for.

    `scope` holds paths; each stands for its subtree and nothing else. `categories` are the matters of a department.
    `acting_as` is the one appointment of this request, `role@path`, as pages and the trail show it.
    """

    actor: str = "anonymous"
    role: str = "jingwei_public"
    scope: tuple[str, ...] = ()
    audience: Audience = Audience.PUBLIC
    acting_as: str = ""
    account: UUID | None = None
    appointment: UUID | None = None
    categories: tuple[str, ...] = ()
    may: frozenset[Ability] = frozenset()

    def sees(self, resource: Resource) -> Audience:
        """As whom the caller looks at a noun: a department works on its category, and is the public for the rest."""
        if self.role.startswith("jingwei_organisation") and not resource.category:
            return Audience.PUBLIC
        return self.audience

    def knows(self, resource: Resource) -> bool:
        """Whether the caller may know that there is such a noun at all."""
        return resource.audience <= self.sees(resource)

    @property
    def hull(self) -> tuple[str, str]:
        """The stretch of paths from the first area to the last; empty for who answers for none."""
        return (min(self.scope), max(path + "~" for path in self.scope)) if self.scope else ("", "")

    @property
    def bound_role(self) -> str:
        """The database role to take: for several areas a policy asks for each, for one it is a bare range."""
        scoped = self.role not in ("jingwei_public", "jingwei_own")
        return f"{self.role}_several" if scoped and len(self.scope) > 1 else self.role


def engine(url: str | sa.URL, pool: int = 5) -> sa.Engine:
    """An engine on our schema. Plans are not kept: one made for one caller's scope was 600 times too slow for another's.

    An error that nobody foresaw is logged without the values that were sent: they may be a person's.
    """
    made = sa.create_engine(
        url,
        hide_parameters=True,
        # What a pool makes beyond its size it closes when it comes back: at eight at once that was a new process, its password and its
        # empty caches for every second request. LIFO, so that what is not needed lies idle and is not kept warm.
        pool_size=2 * pool,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args={"options": f"-csearch_path={SEARCH_PATH} -ctimezone={TIME_ZONE}", "prepare_threshold": None, "connect_timeout": 5},
    )
    sa.event.listen(made, "checkin", _rested)
    sa.event.listen(made, "checkout", _roused)
    return made


# A connection that was at work a moment ago is taken to be there; to ask each time was 0.15 ms of a request, and of the processor 0.1.
IDLE_SECONDS = 1.0


def _rested(driver: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["rested"] = time.monotonic()


def _roused(driver: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
    """Ask a connection that has lain idle whether it is still there. The pool makes another in place of one that is not."""
    if time.monotonic() - record.info.get("rested", math.inf) > IDLE_SECONDS:
        assert isinstance(driver, psycopg.Connection)
        try:
            autocommit, driver.autocommit = driver.autocommit, True
            driver.execute("")
            driver.autocommit = autocommit
        except psycopg.Error as gone:
            raise sa.exc.InvalidatePoolError() from gone


# In their order: the transaction is made read-only and the role taken before anything else is known of the caller.
BINDING = sa.text(
    "SELECT set_config(name, value, true) FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS bound (name, value)"
)


@contextmanager
def transaction(source: sa.Engine, caller: Caller, read_only: bool = False, origin: str = "") -> Iterator[sa.Connection]:
    """One request, one transaction, one caller. Everything about the caller ends with the transaction, so that a
    pooled connection never carries one into the next. `origin` is the address that asks, for the trail."""
    lo, hi = caller.hull
    # What is not used begins and ends behind every path: the planner then knows that it is empty. Of '' to '' it guessed one in
    # two hundred, eight times over, and read a whole table for a page of three grids.
    several = [*caller.scope[:AREAS], *["~"] * (AREAS - len(caller.scope))] if len(caller.scope) > 1 else []
    bound = {
        "transaction_read_only": "on" if read_only else "off",
        "role": caller.bound_role,
        "jingwei.actor": caller.actor,
        "jingwei.acting_as": caller.acting_as,
        "jingwei.origin": origin,
        "jingwei.account": str(caller.account or ""),
        "jingwei.appointment": str(caller.appointment or ""),
        "jingwei.lo": lo,
        "jingwei.hi": hi,
        "jingwei.scopes": ",".join(caller.scope),
        "jingwei.categories": ",".join(caller.categories),
        **{f"jingwei.lo{n}": path for n, path in enumerate(several, 1)},
        **{f"jingwei.hi{n}": "~" if path == "~" else f"{path}~" for n, path in enumerate(several, 1)},
    }
    with translated(), source.begin() as connection:
        connection.execute(BINDING, {"names": list(bound), "values": list(bound.values())})
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors as domain errors. A broken rule carries its name and, where one is declared, its sentence."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise meaning(error.orig) from error
    except psycopg.Error as error:
        raise meaning(error) from error
    except sa.exc.TimeoutError as error:
        raise Unavailable(retry_after=1) from error


# A write whose trail cannot be written did not happen; that it lacks a right is not the caller's doing, but ours.
UNTRAILED = "留痕写不进去,所以这件事没有做:请稍后再试;一直这样,请告诉管理员。"
TRAILING = re.compile(r"function (?:trail_appended|change_trailed|row_trailed)\(")


def meaning(error: BaseException | None) -> GeoError:
    """The domain error that a driver error stands for."""
    if isinstance(error, psycopg.Error) and TRAILING.search(error.diag.context or ""):
        return Unavailable(UNTRAILED, retry_after=1)
    for cause, kind in TRANSLATION:
        if isinstance(error, cause):
            # A step that is not allowed from where the thing is now: somebody was quicker.
            return _told(error, Conflict if error.diag.constraint_name in STEPS else kind)
    if isinstance(error, psycopg.InternalError) and "interrupt" in str(error).lower():
        return Unavailable(retry_after=1)
    if isinstance(error, (UnicodeError, ValueError, psycopg.DataError)):
        return Invalid()
    return GeoError()


def _told(error: psycopg.Error, kind: type[GeoError]) -> GeoError:
    rule = error.diag.constraint_name
    facts: dict[str, object] = {"rule": rule} if rule else {}
    if kind is Unavailable:
        facts["retry_after"] = 1
    if kind is TooMany:
        facts["retry_after"] = int(error.diag.message_hint or 1)
    if error.diag.column_name:
        facts["field"] = error.diag.column_name
    elif rule and (field := _field_of(error.diag.table_name or "", rule)):
        facts["field"] = field
    return kind(_sentence(error.diag.table_name or "", rule or ""), **facts)


def _field_of(table: str, rule: str) -> str | None:
    resource = RESOURCES.get(table)
    inner = rule.removeprefix(f"{table}_").rpartition("_")[0]
    if resource is None:
        return None
    return inner if inner == "geom" or any(field.name == inner for field in resource.all_fields) else None


def _sentence(table: str, rule: str) -> str:
    if resource := RESOURCES.get(table):
        for declared in resource.rules:
            if rule == f"{table}_{declared.name}_check":
                return declared.message
    return SENTENCES.get(rule, "")


SENTENCES = {
    "appointments_administrators_excl": "系统、安全、审计三员互斥,一个人只能任其中之一。",
    "accounts_login_key": "这个登录名已被占用。",
    "accounts_login_check": "登录名为 2 至 64 个小写字母、数字、点、横线、下划线或 @,以字母或数字开头。",
    "appointments_areas_check": "在区域里工作的角色须给出 1 至 8 个区域,职能部门还须给出事项类别;其他角色不填。",
    "accounts_subject_key": "这个身份已绑定到另一个账号。",
    "appointment_areas_path_fkey": "没有这个区域。",
    "appointments_role_fkey": "没有这个角色。",
    "appointments_validity_check": "截止日期早于起始日期。",
    "areas_code_retired_check": "这个编码属于已注销的区域,不能再给别的区域。",
    "instance_trail_begun_check": "留痕已经开始,校验算法不能再换。",
    "instance_trail_days_check": "留痕至少保存 183 天,不能设得更短。",
    "batches_undo_check": "这一批里有的行后来被人改过,不能整批撤回。",
    "layers_cleared_check": "这个图层的前一版已经按期清除,不能再撤回到它。",
    "destructions_final_check": "这一条已按规定销毁,不能再加回来。",
    "activations_use_check": "为应急收集的信息只能用于这次应急,不能转作他用。确需另行登记的,请重新征得同意后新建。",
    "activations_over_check": "这次应急响应已经终止,不能再为它收集信息。",
    "activations_reopened_check": "审查期已过,为它收集的个人信息正在销毁,不能重新启动。请另开一次响应。",
    "assessments_review_check": "只有已终止、仍在审查期内的响应才能评估延期。",
    "assessments_until_check": "延期须晚于现在,一次最多一年;到期仍需保留的,请再评估。",
    "assessments_reason_check": "请写明为什么确需保留(至少十个字)。",
    "assessments_assessed_by_check": "请写明由谁评估。",
    "rights_requests_appeal_check": "请求还没有答复,不能申诉。",
    "rights_findings_feature_check": "没有这条记录。",
    "rights_log_appeal_check": "申诉须由作出原决定以外的人处理。",
    "rights_log_refusal_check": "拒绝须写明依据、理由和申诉渠道。",
    "rights_log_kind_source_target_fkey": "这个请求现在不在这一步,请刷新后再看。",
    "unmaskings_hour_check": "一小时内查看明文已满 30 条,请稍后再看。",
    "unmaskings_note_check": "请写明缘由(2 至 200 字),不要写电话、证件等号码。",
    "unmaskings_entry_key": "这条留痕已经用过一次,请重新查看。",
    "unmaskings_second_person_check": "复核须由另一个人做:不能是查看的人,也不能是向他出借任职或借用他任职的人。",
    "unmaskings_review_check": "这一条已经有人复核过了,请刷新后再看。",
    "unmaskings_opinion_check": "请写明复核意见(2 至 500 字)。",
    "exports_note_check": "请写明缘由(2 至 200 字),不要写电话、证件等号码。",
    "exports_most_check": "一次最多导出 5,000 行带个人信息的记录:请缩小区域或加上条件。",
    "exports_scope_check": "您的任职没有区域,不能导出带个人信息的记录。",
    "export_log_second_person_check": "须由另一个人决定:不能是申请人,也不能是向他出借任职或借用他任职的人。",
    "export_log_opinion_check": "请写明意见(2 至 500 字)。",
    "export_log_export_source_key": "这份申请已经有人处理过了,请刷新后再看。",
    "export_log_pkey": "这份申请已经有人处理过了,请刷新后再看。",
    "export_log_export_source_fkey": "这份申请已经有人处理过了,请刷新后再看。",
    "export_log_source_target_fkey": "这份申请已经有人处理过了,请刷新后再看。",
    "export_log_rows_check": "行数超过上限,没有导出。请缩小区域或加上条件,重新申请。",
    "export_log_age_check": "申请已超过 7 天,请重新申请。",
    "address_aliases_text_check": "地址写法为 2 至 60 个字,不能有电话、证件等号码。",
    "incident_clocks_running_check": "这个案件现在没有在计时,不能延期。",
    "incidents_limit_check": "这个事项现在没有所选的时限,请刷新后再选。",
    "working_hours_overlap_excl": "两个上班时段重叠了。",
    "working_hours_closes_check": "上班时段的结束须晚于开始,精确到分。",
    "layers_title_check": "图层名称为 1 至 80 个字,不能有换行等控制字符。",
    "appointment_bodies_role_check": "只有职能部门的任职代表一个单位。",
    "appointment_bodies_organisation_fkey": "没有这个单位。",
    "incident_log_pkey": "这件事刚刚有人动过,请刷新后再看。",
    "incident_log_move_fkey": "这件事现在不在这一步,请刷新后再看。",
    "incident_log_opinion_check": "请写明意见(2 至 2,000 字)。",
    "incident_log_second_person_check": "须由另一个人做:办的人不能自己核查,申请的人不能自己批准。",
    "incident_log_asked_check": "没有人申请过,不能直接批准。请先由主办或受理员申请。",
    "incident_log_extension_check": "最多延期两次,且只能在超时之前。",
    "incident_log_suspension_check": "只能挂账一次,须写明到哪一天,最长一年。",
    "incident_log_objection_check": "结案已超过 15 天,不能再提异议。可以重新上报。",
    "incident_log_rating_check": "请给出 1 至 5 的满意度。",
    "incident_photos_most_check": "照片够了:一份上报最多 4 张,一件事最多 40 张。",
    "incident_photos_over_check": "这件事已经办结,不能再加照片。",
    "incident_photos_step_fkey": "没有这一步。",
    "incidents_route_check": "责任清单里没有这个事项在这里由谁主办,请写明派给谁。",
    "incidents_lead_area_check": "没有这个区域。",
    "incidents_grade_check": "请选一个分级。",
    "incidents_parts_check": "拆出去的、请人协办的还没有都办完,这一件还不能走这一步。",
    "incidents_part_check": "请写明这一部分派给谁。",
    "incidents_admission_check": "这个事项不在网格事项准入清单里,不能派给网格:请派给单位或社区,或先在责任清单里准入。",
    "incident_log_convene_check": "这一件定为较大:先由街道召集会商(联席会商),再走这一步。",
    "incident_log_report_up_check": "这一件定为重大:先上报区县,再走这一步。",
    "incident_log_grade_check": "这一件的分级不需要这一步。",
    "whistles_bodies_check": "请选要叫到现场的单位,还没有叫到的。",
    "whistles_place_check": "这一件没有落到地图上的点,请写明到哪里。",
    "whistles_standing_check": "现在没有要放行的吹哨。",
    "whistle_calls_called_check": "没有叫到您的单位,或者这一步已经办过了。",
    "whistle_calls_place_check": "请给出您现在的位置。",
    "whistle_calls_near_check": "您的位置离吹哨的地点太远,不能报到。到了现场再报到,或在图上点出您的位置。",
    "whistle_calls_due_check": "到场时限为 1 分钟至 24 小时。",
    "whistle_calls_metres_check": "到场的距离为 20 至 2,000 米。",
    "whistle_calls_freed_fkey": "事不完,人不走:街道准予离场,或这件事处置完毕,才能离场。",
    "whistle_calls_left_check": "您的单位还没有报到。",
    "duty_calls_acknowledged_check": "现在没有等人知悉的。",
    "duty_waits_minutes_check": "等候知悉的时间为 1 至 1,440 分钟。",
    "duty_items_matter_check": "这一件没有事项,不能写进责任清单。",
    "incidents_duplicate_of_check": "请给出并入哪一件:要看得到、没有并入别的,也没有别的并入了这一件。",
    "duty_items_one_lead_excl": "同一事项在同一区域、同一时期已有主办的一条;请先写明那一条到何时为止。",
    "idempotency_key": "同一个幂等键用在了内容不同的请求上。",
    "direct_logins_login_check": "数据库登录名为 2 至 40 个小写字母、数字或下划线,以字母开头,不能以 pg_ 或 jingwei_ 开头。",
    "direct_logins_path_fkey": "没有这个区域。",
}

# State machines: foreign keys of logs on the moves that there are. Of two who move at once, the loser meets one of them.
STEPS = frozenset({"incident_log_move_fkey", "rights_log_kind_source_target_fkey", "export_log_export_source_fkey", "export_log_source_target_fkey"})


def run_script(connection: sa.Connection, script: str) -> None:
    """Run our own SQL as it is written: no parameters, and so no `%` or `:` to escape."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(script.encode())
