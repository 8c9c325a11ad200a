from __future__ import annotations

from sundog.components.schedulers.fifo import FifoScheduler

WAITING = [{"job_id": "first"}, {"job_id": "second"}]


def test_jobs_are_tried_in_order_of_submission() -> None:
    assert FifoScheduler().order(WAITING, []) == ["first", "second"]


def test_none_is_tried_while_as_many_run_as_may() -> None:
    assert FifoScheduler(max_jobs=1).order(WAITING, [{"job_id": "running"}]) == []
    assert FifoScheduler(max_jobs=2).order(WAITING, [{"job_id": "running"}]) == ["first", "second"]
