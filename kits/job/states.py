"""States of an app's components: collected for a commit, given back after a restart."""

from __future__ import annotations

from collections.abc import Mapping

from ...kernel.roles import Stateful
from ...kernel.shareable import Shareable, given


def stateful(instances: Mapping[str, object]) -> dict[str, Stateful]:
    """The components that have a state, by label (id, or JSON path of one without an id), as members of a COLLECTION are called."""
    return {_member(label): part for label, part in instances.items() if isinstance(part, Stateful)}


def component_states(parts: Mapping[str, Stateful]) -> Shareable | None:
    """The states of all, as a COLLECTION by label; None when none of them has a state yet."""
    states = {name: given(state, part, "state") for name, part in parts.items() if (state := part.state()) is not None}
    return Shareable.collection(states) if states else None


def restore_states(parts: Mapping[str, Stateful], states: Shareable | None) -> None:
    """Give each component its own back."""
    for name, state in (states.members() if states is not None else {}).items():
        if name in parts:
            parts[name].restore(state)


def _member(label: str) -> str:
    """A label without slashes, which separate member and tensor."""
    return label.replace("%", "%25").replace("/", "%2F")
