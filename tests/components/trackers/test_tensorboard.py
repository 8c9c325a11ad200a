"""What sites log is in TensorBoard's event files, for its own reader."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sundog.components.trackers.tensorboard import SiteNotAFolder, TBAnalyticsReceiver, TensorBoardMissing
from sundog.kernel.operator_roles import Metric


def written(folder: Path, site: str = "site-1") -> EventAccumulator:
    found = EventAccumulator(str(folder / "tb_events" / site))
    found.Reload()
    return found


def test_a_scalar_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """T165: no flush, no close, and a reader sees it; one folder a site."""
    tracker = TBAnalyticsReceiver(events=["fed.analytix_log_stats"])
    tracker.open(tmp_path)

    tracker.write(Metric("site-1", "scalar", "loss", 0.5, 3, 1000.25))
    tracker.write(Metric("site-2", "scalar", "loss", 0.75, 3, 1000.5))

    [event] = written(tmp_path).Scalars("loss")
    assert (event.value, event.step, event.wall_time) == (0.5, 3, 1000.25)
    assert written(tmp_path, "site-2").Scalars("loss")[0].value == 0.75
    tracker.close()


def test_scalars_and_texts_are_there_too(tmp_path: Path) -> None:
    """T167: TensorBoard knows the text as one."""
    tracker = TBAnalyticsReceiver()
    tracker.open(tmp_path)

    tracker.write(Metric("site-1", "scalars", "accuracy", {"train": 0.5, "test": 0.25}, 1, 1.0))
    tracker.write(Metric("site-1", "text", "note", "größer", 2, 1.0))
    tracker.close()
    tracker.close()

    found = written(tmp_path)
    assert found.Scalars("accuracy/train")[0].value == 0.5
    assert found.Scalars("accuracy/test")[0].value == 0.25
    assert found.Tensors("note")[0].tensor_proto.string_val[0].decode() == "größer"
    assert found.SummaryMetadata("note").plugin_data.plugin_name == "text"


def test_a_second_opening_begins_anew_and_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A job process that takes another one's place is given all metrics again: each point is there once."""
    for value in (0.5, 0.75):
        tracker = TBAnalyticsReceiver()
        tracker.open(tmp_path)
        tracker.write(Metric("site-1", "scalar", "loss", value, 0, 1.0))
        tracker.close()
        (tmp_path / "tb_events" / "site-1" / "events.out.tfevents.1.host.2.3").touch()

    assert [event.value for event in written(tmp_path).Scalars("loss")] == [0.75]
    assert len(list((tmp_path / "tb_events" / "site-1").iterdir())) == 2


@pytest.mark.parametrize("site", ["../site", "a/b", "", ".."])
def test_a_sites_name_does_not_leave_the_folder(tmp_path: Path, site: str) -> None:
    tracker = TBAnalyticsReceiver()
    tracker.open(tmp_path)

    with pytest.raises(SiteNotAFolder):
        tracker.write(Metric(site, "scalar", "loss", 0.5, 1, 1.0))


def test_neither_tensorflow_nor_torch_is_imported_and_tensorboard_only_when_opened(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from sundog.components.trackers.tensorboard import TBAnalyticsReceiver
from sundog.kernel.operator_roles import Metric
tracker = TBAnalyticsReceiver()
assert "tensorboard" not in sys.modules
tracker.open(Path({str(tmp_path)!r}))
tracker.write(Metric("s", "scalar", "a", 1.0, 1, 1.0))
tracker.write(Metric("s", "text", "t", "x", 1, 1.0))
print([name for name in ("tensorflow", "torch") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_tensorboard_the_cure_is_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
        return whole(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(TensorBoardMissing) as caught:
        TBAnalyticsReceiver().open(tmp_path)
    assert caught.value.cure == 'pip install "sundog[tensorboard]"'
