"""Two languages from the first string: Chinese is the source, English is looked up by it.

Titles, sentences and constraint messages are gettext ids. `languages/en.po` is read as it is (a few
hundred entries, once per process), so that there is no compiled file to forget.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")


@dataclass(frozen=True)
class Said:
    """A sentence (a gettext id) and the facts that its braces name, kept apart until the reader's language is known."""

    sentence: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def said(self, translated: Callable[[str], str]) -> str:
        """The sentence with its facts, each passed through `translated`: a fact may be the title of a noun, or several."""
        shown = {
            name: "、".join(map(translated, fact)) if isinstance(fact, tuple) else translated(str(fact))
            for name, fact in self.facts.items()
        }
        return translated(self.sentence).format_map(shown)

    def __str__(self) -> str:
        return self.said(str)


def translated(text: str, language: str) -> str:
    """`text` in `language`; a text without a translation stays Chinese."""
    return text if language == "zh" else _english().get(text, text)


def preferred(accept_language: str | None) -> Language:
    """The first of our languages in an `Accept-Language` header, Chinese when none is named."""
    weights: list[tuple[float, Language]] = []
    for part in (accept_language or "").split(",")[:20]:
        tag, _, parameter = part.strip().partition(";q=")
        try:
            weight = float(parameter) if parameter else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if tag.lower().split("-")[0] == language:
                weights.append((weight, language))
    return max(weights, key=lambda found: found[0])[1] if weights else "zh"


@cache
def _english() -> dict[str, str]:
    # Imported here: babel costs 40 ms, which a process that answers in Chinese need not pay.
    from babel.messages.pofile import read_po

    with (files("geo.languages") / "en.po").open("rb") as source:
        catalog = read_po(source)
    return {str(message.id): str(message.string) for message in catalog if message.id and message.string}
