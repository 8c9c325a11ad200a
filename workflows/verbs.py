"""How are sites asked: all at once, one, or one after another? Three verbs over a Run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..kernel.roles import Policy, Run
from ..kernel.shareable import Shareable
from ..kernel.tasks import Result, Task


def broadcast(run: Run, task: Task, sites: Sequence[str] | None = None, *, policy: Policy | None = None) -> list[Result]:
    """The results of one task from all these sites (default: all of the run), in site-name order.

    Raises:
        PolicyFailed: too few of them answered.
    """
    return list(run.scatter(task, sites, policy))


def send(run: Run, task: Task, site: str) -> Result:
    """The result of one task from one site.

    Raises:
        PolicyFailed: it failed at it, or is gone.
    """
    return run.wait(run.send(task, site))


def relay(run: Run, task: Task, sites: Sequence[str], *, pass_on: Callable[[Result], Shareable] | None = None) -> Result:
    """The last site's result of a task that goes from site to site, in the order given, each working on the one before's.

    Args:
        pass_on: makes the next site's model of a result; default: takes what the site sent.

    Raises:
        PolicyFailed: one of them failed at it, or is gone.
        ValueError: there is no site to ask.
    """
    if not sites:
        raise ValueError("wanted at least one site to relay to")
    for site in sites:
        result = send(run, task, site)
        task = replace(task, model=pass_on(result) if pass_on else result.shareable)
    return result
