"""What can go wrong, in the words of the domain.

A class's docstring is the sentence a person reads; another may be given. Both are gettext ids (Chinese source), and
may name facts in braces: `NotFound("没有文件 {file}。", file="a.csv")`. The sentence stays whole until the edge, where
it is looked up in the reader's language and then filled in; a sentence filled before could not be looked up.
`facts` are the machine-readable members of the problem document.
"""

import re
from collections.abc import Callable


class GeoError(Exception):
    """服务器内部出错,已记录,请稍后再试或联系管理员。"""

    def __init__(self, sentence: str = "", **facts: object) -> None:
        self.sentence = sentence or self.__doc__ or ""
        self.facts = facts
        super().__init__(self.said(str))

    def said(self, translated: Callable[[str], str]) -> str:
        """The sentence with its facts, each passed through `translated`: a fact may be the title of a noun or field."""
        shown = {name: _listed(value, translated) for name, value in self.facts.items()}
        try:
            return translated(self.sentence).format_map(shown)
        except (KeyError, ValueError):
            # A path with a brace in it, in a sentence that the terminal has filled already.
            return self.sentence

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


class Unauthorised(GeoError):
    """登录已失效或凭证无效,请重新登录。"""


class TooMany(GeoError):
    """尝试过于频繁,请稍后再试。"""


class Forbidden(GeoError):
    """没有权限做这件事。"""


class TooLarge(GeoError):
    """内容过大。"""


class Unavailable(GeoError):
    """服务暂时不可用,请稍后再试。"""


def _listed(value: object, translated: Callable[[str], str]) -> str:
    return "、".join(map(str, value)) if isinstance(value, list | tuple) else translated(str(value))
