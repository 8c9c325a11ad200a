from __future__ import annotations

from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.operator_roles import RunningJob, WaitingJob

WAITING = [WaitingJob(id="first"), WaitingJob(id="second")]
RUNNING = [RunningJob(id="running")]


def test_jobs_are_tried_in_order_of_submission() -> None:
    assert FifoScheduler().order(WAITING, [], {}) == ["first", "second"]


def test_a_higher_priority_comes_first_and_equal_ones_stay_in_order_of_submission() -> None:
    waiting = [*WAITING, WaitingJob(id="urgent", priority=5), WaitingJob(id="late", priority=5), WaitingJob(id="idle", priority=-1)]

    assert FifoScheduler().order(waiting, [], {}) == ["urgent", "late", "first", "second", "idle"]


def test_none_is_tried_while_as_many_run_as_may() -> None:
    assert FifoScheduler(max_jobs=1).order(WAITING, RUNNING, {}) == []
    assert FifoScheduler(max_jobs=2).order(WAITING, RUNNING, {}) == ["first", "second"]
