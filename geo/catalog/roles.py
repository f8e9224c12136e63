"""In what capacity somebody acts: what they see of a thing, within what, and what they may do.

A role is data. Its right is a database role, whose policies and grants hold it; its abilities are the verbs beyond
reading and writing records, each asked for by name where it is used. Who holds a role, where and until when, is an
appointment (`geo.identity`).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from geo.resource import Audience

Right = Literal["public", "own", "partner", "area", "leader", "organisation"]
Ability = Literal["report", "write", "unmask", "export", "approve", "appoint", "accounts", "audit", "retention", "load", "times", "deliver"]

RIGHTS: tuple[Right, ...] = get_args(Right)
ABILITIES: tuple[Ability, ...] = get_args(Ability)


@dataclass(frozen=True)
class Role:
    """One capacity. `rank` orders who may appoint whom: those below oneself, inside one's own areas."""

    code: str
    title: str
    right: Right
    audience: Audience
    may: tuple[Ability, ...] = ()
    rank: int = 0
    administrator: bool = False  # of the system, of its security, of its trail: no person is two of them

    def __post_init__(self) -> None:
        if self.administrator and self.right != "public":
            raise ValueError(f"{self.code}: an administrator keeps the system and sees no more of the town than anybody")
        if unknown := set(self.may) - set(ABILITIES):
            raise ValueError(f"{self.code}: unknown abilities {unknown}")

    @property
    def scoped(self) -> bool:
        """Whether an appointment to it names areas."""
        return self.right in ("partner", "area", "leader", "organisation")


WORKS: tuple[Ability, ...] = ("report", "write", "unmask")
LEADS: tuple[Ability, ...] = (*WORKS, "export", "appoint", "load")

# Three administrators who exclude one another (GB/T 22239, level 3): one keeps accounts, one gives rights, one reads
# what both have done. What people report and where they live is none of their business.
ROLES: dict[str, Role] = {
    role.code: role
    for role in (
        Role("public", "公众", "public", Audience.PUBLIC),
        Role("resident", "居民", "own", Audience.PUBLIC, ("report",)),
        Role("steward", "楼道长", "partner", Audience.PARTNER, ("report",), 10),
        # A system, not a person: the hotline's, a gateway of sensors. It brings what it has and is told how that goes.
        Role("exchange", "对接系统", "public", Audience.PUBLIC, ("deliver",), 10),
        Role("expert", "专家", "partner", Audience.PARTNER, (), 10),
        Role("grid_worker", "网格员", "area", Audience.WORKER, WORKS, 20),
        Role("grid_leader", "网格长", "area", Audience.WORKER, WORKS, 30),
        Role("acceptor", "受理员", "area", Audience.WORKER, (*WORKS, "deliver"), 30),
        Role("dispatcher", "派遣员", "area", Audience.WORKER, WORKS, 30),
        Role("checker", "核查员", "area", Audience.WORKER, WORKS, 30),
        Role("department", "职能部门", "organisation", Audience.WORKER, WORKS, 40),
        Role("community_leader", "社区负责人", "leader", Audience.LEADER, LEADS, 50),
        Role("street", "街道", "leader", Audience.LEADER, (*LEADS, "approve", "retention", "times", "deliver"), 60),
        Role("district", "区县", "leader", Audience.LEADER, (*LEADS, "approve", "retention", "times", "deliver"), 70),
        Role("system_admin", "系统管理员", "public", Audience.PUBLIC, ("accounts", "load"), 90, administrator=True),
        Role("security_admin", "安全管理员", "public", Audience.PUBLIC, ("appoint", "approve", "retention"), 90, administrator=True),
        Role("audit_admin", "审计管理员", "public", Audience.PUBLIC, ("audit",), 90, administrator=True),
    )
}
