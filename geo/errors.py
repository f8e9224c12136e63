"""What can go wrong, in the words of the domain.

A class's docstring is the sentence a person reads (a gettext id, Chinese source);
`facts` are the machine-readable members of the problem document.
"""

import re


class GeoError(Exception):
    """服务器内部出错,已记录,请稍后再试或联系管理员。"""

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message or self.__doc__)
        self.facts = facts

    @classmethod
    def slug(cls) -> str:
        """The stable problem type: `BadQuery` → `bad-query`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()


class NotFound(GeoError):
    """没有这一项。"""


class Gone(GeoError):
    """这一项已注销,不再列出。"""


class BadQuery(GeoError):
    """查询参数有误。"""


class Invalid(GeoError):
    """内容不符合规则。"""


class Conflict(GeoError):
    """内容已被他人改动,或同样的编码已被占用。"""


class Stale(GeoError):
    """您看到的版本已经过时,请刷新后再改。"""


class Forbidden(GeoError):
    """没有权限做这件事。"""


class TooLarge(GeoError):
    """内容过大。"""


class Unavailable(GeoError):
    """服务暂时不可用,请稍后再试。"""
