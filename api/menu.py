"""Where somebody who has come in may go, in one place: a page of a new kind adds its line here."""

from collections.abc import Collection
from dataclasses import dataclass

from geo.catalog.roles import Ability


@dataclass(frozen=True)
class Entry:
    """A line of the menu. It is shown to who has one of the abilities; without any, to everybody who has come in."""

    address: str
    title: str
    abilities: tuple[Ability, ...] = ()


ENTRIES = (
    Entry("/inbox", "待办", ("write",)),
    Entry("/cases", "事件", ("write",)),
    Entry("/indicators", "指标", ("write",)),
    Entry("/hub", "街道指挥室", ("approve",)),
    Entry("/account", "我的账号"),
    Entry("/accounts", "账号管理", ("accounts", "appoint")),
    Entry("/uploads", "上传数据", ("load",)),
    Entry("/addresses/aliases", "地址别名", ("write",)),
    Entry("/exports", "导出", ("export", "approve")),
    Entry("/templates", "填报模板"),
    Entry("/unmaskings", "查看明文的复核", ("approve", "audit")),
)


def entries(may: Collection[Ability]) -> list[tuple[str, str]]:
    """The lines for somebody who has these abilities: address and title."""
    return [(entry.address, entry.title) for entry in ENTRIES if not entry.abilities or {*entry.abilities} & {*may}]


def open_to(address: str, may: Collection[Ability]) -> bool:
    """Whether an address is of no page that these abilities do not open."""
    path = address.partition("?")[0]
    theirs = [entry for entry in ENTRIES if path == entry.address or path.startswith(entry.address + "/")]
    return all(not entry.abilities or {*entry.abilities} & {*may} for entry in theirs)
