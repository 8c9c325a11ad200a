"""May a site's result become a part of the step's aggregate? The gate that stands before an aggregator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.shareable import Kind, Shareable
from ...kernel.tasks import Result
from ..comparison import differences, first_not_finite

_WEIGHTS = (Kind.WEIGHTS, Kind.WEIGHT_DIFF)


class ContributionRefused(ComponentError):
    """A site's result cannot be a part of the aggregate.

    Cause: it is of another kind or step, lacks its weight, is not shaped like the others or the model, has numbers that
    are not finite, or is the site's second one of the same task; the message says which, and names the tensors.

    Cure: look at that site's trainer and filters. Numbers that are not finite mostly come from a learning rate that is too high.
    """

    code = "SD-3031"


class NothingToAggregate(ComponentError):
    """There is no result, or all results together weigh nothing.

    Cause: `aggregation_weights` leaves every site out, or the workflow handed over an empty step.

    Cure: give at least one site a weight above 0.
    """

    code = "SD-3032"


class Contributions:
    """The results of one step that were let in.

    Args:
        expected_kind: what is let in; for a COLLECTION, a dict of member → kind. Default: any weights, all of one kind.
    """

    def __init__(self, expected_kind: str | Mapping[str, str] | None = None) -> None:
        self.model: Shareable | None = None
        """What the sites started from, when it is known: no result can have other tensors than that."""
        self._expected = expected_kind
        self._step: tuple[str, int] | None = None
        self._taken: dict[tuple[str, str], Result] = {}
        """By site and task: a late result is taken beside the one of the step's own task."""

    def check(self, result: Result) -> None:
        """Let a result in.

        Raises:
            ContributionRefused: names the site and what is wrong.
        """
        context = current_context()
        if (context.workflow, context.step) != self._step:
            self._step, self._taken = (context.workflow, context.step), {}
        wrong = self._what_is_wrong(result, context.step)
        if wrong:
            raise ContributionRefused(wrong, where=result.site)
        self._taken[_key(result)] = result

    def close(self, results: Iterable[Result]) -> list[Result]:
        """The results in site-name order, those checked now that `check` had not seen; the next step may begin.

        Raises:
            ContributionRefused: names the site and what is wrong.
            NothingToAggregate: there are none.
        """
        ordered = sorted(results, key=lambda result: result.site)
        seen: set[tuple[str, str]] = set()
        for result in ordered:
            key = _key(result)
            known = self._taken.get(key)
            if known is None or known.shareable is not result.shareable or key in seen:
                self.check(result)
            seen.add(key)
        self._step, self._taken = None, {}
        if not ordered:
            raise NothingToAggregate("wanted at least one result, got none")
        return ordered

    def _what_is_wrong(self, result: Result, step: int) -> str:
        shareable = result.shareable
        wanted = step if result.step < 0 else result.step  # a late result's task was sent in an earlier step
        made_in = shareable.meta.get("step", wanted)
        if _key(result) in self._taken:
            return "has contributed to this step already"
        if wanted >= 0 and made_in != wanted:
            return f"the result is of step {made_in}, wanted step {wanted}"
        if shareable.kind in _WEIGHTS and not shareable.tensors:
            return "has no tensors: nothing of the model would change"
        wrong = self._wrong_kind(shareable) or self._wrong_shape(shareable)
        if wrong:
            return wrong
        name = first_not_finite(shareable.tensors)
        return f"tensor {name} has numbers that are not finite (NaN or infinity)" if name else ""

    def _wrong_kind(self, shareable: Shareable) -> str:
        if isinstance(self._expected, Mapping):
            members = shareable.members() if shareable.kind is Kind.COLLECTION else {}
            got = {name: str(member.kind) for name, member in members.items()}
            wanted = {name: str(kind) for name, kind in self._expected.items()}
            return "" if got == wanted else f"wanted a COLLECTION of {wanted}, got {got or shareable.kind}"
        if self._expected:
            return "" if shareable.kind == self._expected else f"wanted {self._expected}, got {shareable.kind}"
        known = (*_WEIGHTS, Kind.COLLECTION)
        return "" if shareable.kind in known else f"wanted one of {', '.join(known)}, got {shareable.kind}"

    def _wrong_shape(self, shareable: Shareable) -> str:
        for other in self._taken.values():  # the first is enough: the others are like it
            if other.shareable.kind is not shareable.kind:
                return f"is of kind {shareable.kind}, that of {other.site} is {other.shareable.kind}"
            found = differences(shareable.tensors, other.shareable.tensors)
            return f"differs from {other.site}: {found}" if found else ""
        if self.model is None or shareable.kind not in _WEIGHTS:
            return ""
        found = differences(shareable.tensors, self.model.tensors, may_lack=True, may_convert=True)
        return f"differs from the global model: {found}" if found else ""


def _key(result: Result) -> tuple[str, str]:
    return result.site, result.task_id
