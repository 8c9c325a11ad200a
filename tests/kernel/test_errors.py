"""What travels of an error."""

from __future__ import annotations

import pytest

from sundog.kernel.errors import MAX_WHAT_CHARACTERS, Failure, JobError


@pytest.mark.parametrize("kind", [ValueError, JobError])
def test_a_failure_is_short_whatever_an_exception_says(kind: type[Exception]) -> None:
    """A whole model may stand in a message of numpy's; a failure that fits into no frame would be heard by nobody."""
    failure = Failure.of(kind("x" * 20_000_000))

    assert len(failure.what) < MAX_WHAT_CHARACTERS + 100
    assert failure.what.endswith("…(+19992000)") or failure.what.endswith("…(+19992012)")
    assert len(failure.trace) < 10_000
