from __future__ import annotations

import pytest

from sundog.components.naming import BadPattern, matcher


@pytest.mark.parametrize(
    ("names", "matching"),
    [
        (None, []),
        ("", []),
        ([], []),
        (["fc.bias", "other"], ["fc.bias"]),
        ("bias$", ["fc.bias"]),
        ("^fc", ["fc.bias", "fc.weight"]),
        ("fc.bias|conv", ["conv.weight", "fc.bias"]),
    ],
)
def test_names_are_exact_and_patterns_are_searched_for(names: str | list[str] | None, matching: list[str]) -> None:
    known = ["conv.weight", "fc.bias", "fc.weight"]

    assert list(filter(matcher(names), known)) == matching


def test_a_malformed_pattern_is_refused() -> None:
    with pytest.raises(BadPattern, match=r"SD-3021.*'\*\.bias'"):
        matcher("*.bias")
