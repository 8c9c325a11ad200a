"""Metrics leave job code as lines, and are read as the file grows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sundog import Context, observe
from sundog.components.trackers.analytics import AnalyticsSender, ConvertToFedEvent
from sundog.components.trackers.metrics_log import MetricRefused, MetricsLog, read_metrics
from sundog.kernel.context import entered
from sundog.kernel.observers import Observers
from sundog.kernel.operator_roles import Metric


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_scalar_scalars_and_text_arrive(path: Path) -> None:
    """T167: three kinds, through FLARE's sender, with its step or the round's."""
    context = Context(site="site-1", step=4, metrics=MetricsLog(path, clock=lambda: 12.5))
    sender = AnalyticsSender(event_type="analytix_log_stats")

    with entered(context):
        sender.add_scalar("loss", 0.5, 7)
        sender.add_scalars("accuracy", {"train": 0.75, "test": 1}, global_step=8)
        sender.add_text("note", "première\nligne")

    assert read_metrics(path, 0, "site-1")[0] == [
        Metric("site-1", "scalar", "loss", 0.5, 7, 12.5),
        Metric("site-1", "scalars", "accuracy", {"train": 0.75, "test": 1.0}, 8, 12.5),
        Metric("site-1", "text", "note", "première\nligne", 4, 12.5),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -0.0, 5e-324])
def test_every_number_survives_and_each_line_is_json(path: Path, value: float) -> None:
    log = MetricsLog(path)

    log.add_scalar("a", value)
    log.add_scalars("b", {"x": value})

    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    first, second = read_metrics(path, 0, "s")[0]
    assert repr(first.value) == repr(value)
    assert repr(second.value["x"]) == repr(value)


@pytest.mark.parametrize("value", [torch.tensor(2.0), np.float32(2), np.array(2), True + 1], ids=repr)
def test_what_is_like_a_number_is_one(path: Path, value: Any) -> None:
    MetricsLog(path).add_scalar("a", value)

    assert read_metrics(path, 0, "s")[0][0].value == 2


@pytest.mark.parametrize("value", [None, torch.zeros(2), "many", {"a": 1}], ids=repr)
def test_what_is_no_number_is_refused_by_name(path: Path, value: Any) -> None:
    with pytest.raises(MetricRefused, match=f"metric 'loss': wanted a number, got {type(value).__name__}"):
        MetricsLog(path).add_scalar("loss", value)


def test_a_text_has_a_limit(path: Path) -> None:
    with pytest.raises(MetricRefused, match="wanted a line of up to 1,048,576 bytes"):
        MetricsLog(path).add_text("note", "x" * 1024 * 1024)

    assert not path.exists()


def test_growth_is_told_in_bytes(path: Path) -> None:
    sizes: list[int] = []
    log = MetricsLog(path, sizes.append, clock=lambda: 1.5)

    log.add_scalar("a", 1)
    log.add_scalar("a", 2)

    assert sizes[1] == 2 * sizes[0] == path.stat().st_size


def test_reading_goes_on_where_it_stopped_and_waits_for_the_end_of_a_line(path: Path) -> None:
    MetricsLog(path).add_scalar("a", 1)
    whole = path.read_bytes()

    path.write_bytes(whole + whole[:9])
    first, offset = read_metrics(path, 0, "s")
    path.write_bytes(whole + whole)
    second, end = read_metrics(path, offset, "s")

    assert (len(first), offset) == (1, len(whole))
    assert (len(second), end) == (1, 2 * len(whole))
    assert read_metrics(path, end, "s") == ([], end)


def test_a_line_that_a_killed_process_left_spoils_only_itself(path: Path) -> None:
    MetricsLog(path).add_scalar("a", 1)
    path.write_bytes(path.read_bytes() + b'{"kind":"sca')

    MetricsLog(path).add_scalar("a", 2)

    assert [metric.value for metric in read_metrics(path, 0, "s")[0]] == [1, 2]


def test_lines_that_are_no_metrics_are_skipped(path: Path) -> None:
    lines = [
        b"[]", b"\xff\xfe", b"{}", b"",
        b'{"kind":"image","tag":"a","value":1,"step":1,"time":1}',
        b'{"kind":"scalar","tag":"a","value":"many","step":1,"time":1}',
        b'{"kind":"scalar","tag":"a","value":{"x":1},"step":1,"time":1}',
        b'{"kind":"scalars","tag":"a","value":{"x":"y"},"step":1,"time":1}',
        b'{"kind":"text","tag":"a","value":1,"step":1,"time":1}',
        b'{"kind":"scalar","tag":"a","value":1,"step":1e99,"time":1}',
        b"x" * 3_000_000,
    ]  # fmt: skip
    path.write_bytes(b"\n".join(lines) + b"\n")
    MetricsLog(path).add_scalar("good", 1)

    metrics, offset = read_metrics(path, 0, "s")

    assert [metric.tag for metric in metrics] == ["good"]
    assert offset == path.stat().st_size


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, int, str]] = []

    @observe
    def metric_logged(self, name: str, value: Any, step: int, site: str) -> None:
        self.seen.append((name, value, step, site))


@pytest.mark.parametrize(
    "line",
    [
        b'{"x":' + b"[" * 400_000,
        b'{"kind": "scalar", "tag": "loss", "value": 1.0, "step": 9223372036854775808, "time": 1}',
        b'{"kind": "scalar", "tag": "loss", "value": 1.0, "step": 1000000000000000000000000, "time": 1}',
        b'{"kind": "scalar", "tag": "\\ud800", "value": 1.0, "step": 1, "time": 1}',
    ],
    ids=["deep", "64 bits", "more", "half a pair"],
)
def test_a_line_that_is_made_to_do_harm_is_skipped(path: Path, line: bytes) -> None:
    good = b'{"kind": "scalar", "tag": "loss", "value": 1.0, "step": 9223372036854775807, "time": 1}'
    path.write_bytes(line + b"\n" + good + b"\n")

    metrics, end = read_metrics(path, 0, "site-1")

    assert [metric.step for metric in metrics] == [2**63 - 1]
    assert end == path.stat().st_size


def test_observers_at_the_site_are_told(path: Path) -> None:
    observers, watcher = Observers(), Watcher()
    observers.register(watcher, "watcher")

    with entered(Context(site="site-1", events=observers.events)):
        MetricsLog(path).add_scalar("loss", 2, 3)

    assert watcher.seen == [("loss", 2.0, 3, "site-1")]


def test_outside_of_a_run_a_sender_says_nothing() -> None:
    AnalyticsSender().add_scalar("loss", 1.0)


def test_convert_to_fed_event_takes_flares_arguments() -> None:
    assert ConvertToFedEvent(events_to_convert=["analytix_log_stats"], fed_event_prefix="fed.").events_to_convert
