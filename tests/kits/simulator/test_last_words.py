"""What a simulation says that was ended by Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sundog.kits.simulator.simulate import _Simulation


@pytest.mark.parametrize(("rounds", "words"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds")])
def test_its_rounds_are_counted_in_words(tmp_path: Path, rounds: int, words: str) -> None:
    simulation = _Simulation(tmp_path, tmp_path, ["site-1"], None, None)
    simulation._report = SimpleNamespace(name="j", status="FINISHED:ABORTED", rounds=[None] * rounds)  # type: ignore[assignment]

    assert simulation._last_words() == f"aborted by you: j is FINISHED:ABORTED after {words}"
