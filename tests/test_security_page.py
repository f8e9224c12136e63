"""The list of threats names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"\b(tests/[\w/]+\.py)(?:::(\w+))?", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    missing = [
        f"{path}::{test}" for path, test in named
        if not (ROOT / path).exists() or (test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []
