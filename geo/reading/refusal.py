"""Saying no to a file, in a module of its own: who only looks at a photo need not load what reads tables."""


class Refused(Exception):
    """The file cannot be taken; the sentence says why and what to do."""

    def __init__(self, sentence: str, **facts: object) -> None:
        super().__init__(sentence)
        self.facts = facts
