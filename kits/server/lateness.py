"""How is it said that a site is too late in a run?"""

from __future__ import annotations

from ...kernel.errors import JobError


class SiteSilent(JobError):
    """A site gave no sign of life for the stall time.

    Cause: its machine, its network or its process is down.

    Cure: `check_status client` shows when it was last heard; the job waits for it as long as its policy says.
    """

    code = "SD-4105"


class DeadlineOver(JobError):
    """A task took longer than its deadline.

    Cause: the site is slower than the job's author thought, or hangs.

    Cure: give the task a longer deadline (FLARE: train_timeout), or none.
    """

    code = "SD-4106"


class DeadlineRefused(JobError):
    """A task has a deadline that is not a number of seconds above 0.

    Cause: the workflow gave `Task(deadline_seconds=…)` NaN, infinity, 0 or a negative number.

    Cure: give a number of seconds above 0, or None for no deadline.
    """

    code = "SD-4171"
