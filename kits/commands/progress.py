"""Text for a job's progress: one line per round and per state change."""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol.answers import JobReport, Numbers, RoundReport


class Progress:
    """What is new in each report of a job, in lines."""

    def __init__(self) -> None:
        self._told = 0
        self._state = ""

    def rounds(self, report: JobReport) -> Iterator[str]:
        """The rounds that are closed since the report before."""
        for done in report.rounds[self._told :]:
            yield from _round_lines(done)
        self._told = len(report.rounds)

    def state(self, report: JobReport) -> Iterator[str]:
        """A line, if the job is in another state, or waits for something else; its end is no such line."""
        state = report.waits_for or report.status
        if state != self._state and not report.is_end:
            self._state = state
            yield f"{report.name}: {state}"


def ending(report: JobReport) -> str:
    """How a job has ended, in one line."""
    reason = report.reason.partition("\n")[0]
    why = f" ({reason})" if reason else ""
    return f"{report.name}: {report.status}{why} after {report.seconds:.1f} s"


def numbers(named: Numbers) -> str:
    """Metrics, beside each other."""
    return "  ".join(f"{name} {'nan' if value is None else format(value, '.4g')}" for name, value in named.items())


def _round_lines(done: RoundReport) -> Iterator[str]:
    sites = f"{len(done.used)} of {len(done.invited)} sites"
    metrics = numbers(done.own_metrics) or "; ".join(f"{site}: {numbers(its)}" for site, its in done.metrics.items())
    yield f"  {done.workflow}  round {done.round}  {sites}  {done.seconds:6.2f} s  {metrics}".rstrip()
    lost = {**dict.fromkeys(done.missing, "missing"), **dict.fromkeys(done.late, "late"), **done.rejected}
    for site, reason in lost.items():
        yield f"    without {site}: {reason}"
    yield from (f"    note: {note}" for note in done.notes)
