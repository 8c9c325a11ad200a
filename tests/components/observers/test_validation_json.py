from __future__ import annotations

import json
from pathlib import Path

from sundog.components.observers.validation_json import ValidationJsonGenerator
from sundog.kernel.context import Context, entered


def test_it_writes_flares_file_before_the_step_is_closed(tmp_path: Path) -> None:
    generator = ValidationJsonGenerator()
    with entered(Context(folder=tmp_path)):
        generator.validation_result_received("SRV_server", "site-1", {"accuracy": 0.5})
        generator.validation_result_received("site-1", "site-1", {"accuracy": 0.7})
        generator.before_commit()

    written = json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text())
    assert written == {"site-1": {"SRV_server": {"accuracy": 0.5}, "site-1": {"accuracy": 0.7}}}


def test_what_an_earlier_process_noted_stays_in_the_file_which_belongs_to_the_commit(tmp_path: Path) -> None:
    """A crash in the second of two evaluations lost the rows of the first."""
    first, second, context = ValidationJsonGenerator(), ValidationJsonGenerator(), Context(folder=tmp_path)
    with entered(context):
        assert first.state() is None
        first.validation_result_received("a", "site-1", {"x": 1, "y": float("nan")})
        first.before_commit()
        state = first.state()
        assert state is not None
        second.restore(state)
        second.validation_result_received("b", "site-1", {"x": 2})
        second.before_commit()

    written = json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text())
    assert {owner: metrics["x"] for owner, metrics in written["site-1"].items()} == {"a": 1, "b": 2}
    assert context.kept == {"cross_site_val/cross_val_results.json"}


def test_what_was_noted_behind_the_last_commit_is_written_by_the_next_process(tmp_path: Path) -> None:
    """The end of a workflow saves the state of components, and writes no file."""
    first, second = ValidationJsonGenerator(), ValidationJsonGenerator()
    first.validation_result_received("a", "site-1", {"x": 1})
    state = first.state()
    assert state is not None
    with entered(Context(folder=tmp_path)):
        second.restore(state)
        second.run_ended()

    assert json.loads((tmp_path / "cross_site_val" / "cross_val_results.json").read_text()) == {"site-1": {"a": {"x": 1}}}


def test_without_results_there_is_no_file(tmp_path: Path) -> None:
    with entered(Context(folder=tmp_path)):
        generator = ValidationJsonGenerator()
        generator.before_commit()
        generator.run_ended()

    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ends_in_the_middle_keeps_what_there_is(tmp_path: Path) -> None:
    generator = ValidationJsonGenerator("r", "m.json")
    with entered(Context(folder=tmp_path)):
        generator.validation_result_received("a", "b", {"x": 1})
        generator.run_ended()

    assert json.loads((tmp_path / "r" / "m.json").read_text()) == {"b": {"a": {"x": 1}}}
