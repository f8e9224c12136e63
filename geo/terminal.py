"""Sentences for the person at the terminal, in the language of that terminal."""

import os

from geo.language import LANGUAGES, Language, translated


def spoken() -> Language:
    """The language that LC_ALL, LC_MESSAGES or LANG asks for; Chinese for `C` and all others."""
    asked = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return next((language for language in LANGUAGES if asked.lower().startswith(language)), "zh")


def said(sentence: str, **facts: object) -> str:
    """`sentence`, a gettext id, with its `{facts}` filled in."""
    return translated(sentence, spoken()).format(**facts)
