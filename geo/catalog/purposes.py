"""What a person's record is looked at for: said each time, and kept with who looked."""

from geo.resource import choices

PURPOSES = choices(
    visit="走访", service="上门服务", zone_supply="管控保供", emergency_contact="紧急联系", contact="工作联系", rights_request="本人行使权利", audit="审计",
)
