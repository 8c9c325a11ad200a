"""Who gets the metrics that sites logged: the trackers and observers of the server's job process, as files grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from ...components.trackers.metrics_log import read_metrics
from ...kernel.context import Context
from ...kernel.errors import Failure
from ...kernel.operator_roles import Metric, Tracker

log = structlog.get_logger()


class ReceivedMetrics:
    """Reads what is new in each site's metrics file and hands it on. A tracker that raises gets no more of that site's.

    The files are the truth and what trackers write is derived: a job process that takes another one's place reads from the
    beginning, into trackers that begin anew. So each point is there once, wherever the one before died.
    """

    def __init__(self, context: Context, trackers: Sequence[Tracker], sites: Sequence[str]) -> None:
        self._context = context
        self._folder = context.folder / "metrics"
        self._offsets = dict.fromkeys(sites, 0)
        self._trackers: list[Tracker] = []
        self._left_out: set[tuple[int, str]] = set()
        """Tracker, by its place, and site: what one site sends must not take the tracker from the others."""
        self.faults: list[Failure] = []
        for tracker in trackers:
            self._guarded(tracker, self._begin)

    def _begin(self, tracker: Tracker) -> None:
        tracker.open(self._context.folder)
        self._trackers.append(tracker)

    def read(self, site: str) -> None:
        """A site's file has grown."""
        path = self._folder / f"{site}.jsonl"
        if site not in self._offsets or not path.exists():
            return
        metrics, self._offsets[site] = read_metrics(path, self._offsets[site], site)
        for number, tracker in enumerate(self._trackers):
            if (number, site) not in self._left_out and not self._guarded(tracker, lambda one: _write_all(one, metrics)):
                self._left_out.add((number, site))
        for metric in metrics:
            self._context.events.metric_logged(name=metric.tag, value=metric.value, step=metric.step, site=site)

    def close(self) -> None:
        """Read what is left, and close the trackers."""
        for site in self._offsets:
            self.read(site)
        for tracker in self._trackers:
            self._guarded(tracker, lambda one: one.close())

    def _guarded(self, tracker: Tracker, act: Callable[[Tracker], None]) -> bool:
        """Whether it did not raise. What it says again and again is reported once."""
        try:
            act(tracker)
        except Exception as exc:  # noqa: BLE001  # a stranger's code: counted and reported, never the job's end
            failure = Failure.of(exc, site="server", component=type(tracker).__name__)
            log.warning("tracker_failed", tracker=type(tracker).__name__, error=failure.what)
            if all((fault.component, fault.what) != (failure.component, failure.what) for fault in self.faults):
                self.faults.append(failure)
            return False
        return True


def _write_all(tracker: Tracker, metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        tracker.write(metric)
    tracker.flush()
