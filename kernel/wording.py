"""How are people told what was meant, a name with its article, a text from outside or a long one, the system's reason?"""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` or, with nothing alike, what there is; empty when there is nothing."""
    import difflib  # 5 ms, only needed when something is already wrong

    names = sorted(set(known))
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {lower[near[0]]!r}?"
    return f"; there is {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else ""


def with_article(name: str) -> str:
    """`a Filter`, `an Aggregator`."""
    return f"{'an' if name[:1].upper() in 'AEIOU' else 'a'} {name}"


def printable(text: str, *, keep: str = "") -> str:
    """The text with escapes in the place of control characters, except those to keep: it cannot move a cursor or set colours."""
    return "".join(character if character.isprintable() or character in keep else ascii(character)[1:-1] for character in text)


def cut(text: str, most: int) -> str:
    """At most so many characters of a text, and how many more there were."""
    over = len(text) - most
    return text if over <= 0 else f"{text[:most]}…(+{over})"


def reason_of(error: OSError) -> str:
    """The system's own words for what happened."""
    return error.strerror or str(error)
