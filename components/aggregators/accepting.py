"""How does an aggregator look that takes results one at a time (FLARE: accept, aggregate, reset)?"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from ...kernel.roles import Aggregator
from ...kernel.shareable import Shareable
from ...kernel.tasks import Result
from .contributions import ContributionRefused


class AcceptingAggregator(Aggregator):
    """Takes results one at a time, in site-name order, after all have arrived.

    To go on without a result that is no good, raise in `check`: that is asked as it arrives, and the policy decides.
    """

    @abstractmethod
    def accept(self, result: Result) -> bool:
        """Take in one result; False if it cannot be used, which ends the run."""

    @abstractmethod
    def conclude(self) -> Shareable:
        """The aggregate of what was accepted since `reset` (FLARE: `aggregate`)."""

    def reset(self) -> None:
        """Forget what was accepted; called before the first result of each step."""

    def aggregate(self, results: Iterable[Result]) -> Shareable:
        """What `conclude` makes of the results.

        Raises:
            ContributionRefused: `accept` said no; names the site.
        """
        self.reset()
        for result in results:
            if not self.accept(result):
                raise ContributionRefused(f"{type(self).__name__} does not accept the result", where=result.site)
        return self.conclude()
