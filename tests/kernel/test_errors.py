"""What travels of an error: few words, and a place that is the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sundog.kernel.errors import MAX_WHAT_CHARACTERS, Failure, JobError
from sundog.kernel.importing import ImportBroke, MalformedTarget, import_class, split_target


@pytest.mark.parametrize("kind", [ValueError, JobError])
def test_a_failure_is_short_whatever_an_exception_says(kind: type[Exception]) -> None:
    """A whole model may stand in a message of numpy's; a failure that fits into no frame would be heard by nobody."""
    failure = Failure.of(kind("x" * 20_000_000))

    assert len(failure.what) < MAX_WHAT_CHARACTERS + 100
    assert failure.what.endswith("…(+19992000)") or failure.what.endswith("…(+19992012)")
    assert len(failure.trace) < 10_000


def test_an_error_that_no_code_of_the_user_led_to_has_no_place() -> None:
    """A line of ours would send its reader to the wrong file."""
    with pytest.raises(MalformedTarget) as caught:
        split_target("?")
    assert caught.tb is not None

    assert Failure.of(caught.value).where.endswith(f"kernel/test_errors.py:{caught.tb.tb_lineno}")
    assert Failure.of(caught.value.with_traceback(caught.tb.tb_next)).where == ""


def test_a_syntax_error_has_the_place_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are only those of whoever imported it."""
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "slip_h71.py").write_text("x = 1\ny = = 2\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "custom"), *sys.path])

    with pytest.raises(ImportBroke) as caught:
        import_class("slip_h71.Trainer")

    assert caught.value.what == "importing module slip_h71 raised SyntaxError: invalid syntax (custom/slip_h71.py:2)"
