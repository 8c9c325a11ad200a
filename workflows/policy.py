"""Who must answer in a step, what happens when they do not, and how is that said to people?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from ..kernel.errors import ComponentError, Failure
from ..kernel.roles import Policy, Responses, Wait


class PolicyFailed(ComponentError):
    """A step has too few results, and no more will come.

    Cause: sites failed at their task, were refused, or are gone; the message names each of them with its reason.

    Cure: mend the first site that is named; or let the job go on without it: a SitesPolicy with a smaller "require", or
    with "on_missing": "continue".
    """

    code = "SD-3001"

    def __init__(self, task: str, policy: str, responses: Responses, *, first: Failure | None = None) -> None:
        silent = [site for site in responses.invited if site not in responses.answered]
        missing = [f"{site} {responses.lost.get(site, 'has not answered')}" for site in silent]
        if not responses.lost and responses.pending:  # it could not be met by those that were asked
            missing = [f"only {', '.join(responses.invited)} were asked"]
        asked = f"task {task!r} has {len(responses.answered)} of {len(responses.invited)} results"
        super().__init__("; ".join([*missing, f"{asked}, but {policy}"]), where=first.where if first else "")
        self.first = first
        self.responses = responses
        """Who was asked, who answered, and why the others did not."""

    def failure(self) -> Failure:
        """The root cause: the first failure that a site reported, if one did; else this error."""
        return self.first or Failure.of(self)


class PolicyMalformed(ComponentError):
    """A policy asks for something that cannot be.

    Cause: `require` below 1 or without a name, or a negative `grace_seconds`.

    Cure: require "all", a number from 1 on, or a list of site names.
    """

    code = "SD-3002"


class SitesPolicy(Policy):
    """Waits for certain sites; pending ones get a period of grace once the step could end. What comes later is discarded.

    Args:
        require: "all" that were asked, a number of them, or the names of those that must answer.
        grace_seconds: how long the others are waited for when enough have answered.
        on_missing: what happens when the requirement can no longer be met: the run fails at once, or the step
            goes on waiting for those who may still answer and ends with what there is. Nothing at all is always a failure.
        late: what becomes of a result that comes when the step has ended without it: it is discarded, or the next step that
            sends the same task uses it, too.
    """

    def __init__(
        self,
        require: Literal["all"] | Annotated[int, msgspec.Meta(ge=1)] | list[str] = "all",
        *,
        grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 60.0,
        on_missing: Literal["fail", "continue"] = "fail",
        late: Literal["discard", "next_step"] = "discard",
    ) -> None:
        if require in (0, []) or (isinstance(require, int) and require < 1) or grace_seconds < 0:
            raise PolicyMalformed(f"wanted require >= 1 and grace_seconds >= 0, got {require!r} and {grace_seconds!r}")
        self.require = require
        self.grace_seconds = grace_seconds
        self.on_missing = on_missing
        self.late = late

    def decide(self, responses: Responses) -> Wait:
        if self._is_met(responses, responses.answered):
            return Wait.GRACE if responses.pending else Wait.DONE
        if self._is_met(responses, (*responses.answered, *responses.pending)):
            return Wait.ON
        if self.on_missing == "fail":
            return Wait.FAIL
        if responses.pending:
            return Wait.ON
        return Wait.DONE if responses.answered else Wait.FAIL

    def decide_after_grace(self, responses: Responses) -> Wait:
        decision = self.decide(responses)
        return Wait.DONE if decision is Wait.GRACE else decision

    def describe(self) -> str:
        missing = "the run fails" if self.on_missing == "fail" else "it goes on with the sites that answer"
        late = "discarded" if self.late == "discard" else "used in the next step"
        return f"every step needs {self._needed()}; if that becomes impossible, {missing}; a result that comes too late is {late}"

    def _is_met(self, responses: Responses, sites: Sequence[str]) -> bool:
        if self.require == "all":
            return len(sites) == len(responses.invited)
        if isinstance(self.require, int):
            return len(sites) >= self.require
        return set(self.require) <= set(sites)

    def _needed(self) -> str:
        if self.require == "all":
            return "all its sites"
        if isinstance(self.require, int):
            needed = f"{self.require} of its sites"
        else:
            needed = " and ".join(filter(None, [", ".join(self.require[:-1]), self.require[-1]]))
        others = f"then waits {self.grace_seconds:g} s for the others" if self.grace_seconds else "and does not wait for others"
        return f"{needed}, {others}"
