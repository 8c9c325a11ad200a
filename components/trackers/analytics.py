"""How do components written for FLARE log metrics? Through a sender of the same shape; what it is told goes to the run's metrics."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from ...kernel.context import current_context

log = structlog.get_logger()


class AnalyticsSender:
    """Logs metrics of the call that is under way; `current_context().metrics` does the same without a component.

    Args:
        event_type: FLARE's name of the event by which metrics travelled there. Here they need none.
    """

    def __init__(self, event_type: str = "analytix_log_stats") -> None:
        self.event_type = event_type

    def add_scalar(self, tag: str, scalar: float, global_step: int | None = None) -> None:
        """One number; without a step, of the round that is under way."""
        current_context().metrics.add_scalar(tag, scalar, global_step)

    def add_scalars(self, tag: str, tag_scalar_dict: Mapping[str, float], global_step: int | None = None) -> None:
        """Several numbers of one chart."""
        current_context().metrics.add_scalars(tag, dict(tag_scalar_dict), global_step)

    def add_text(self, tag: str, text: str, global_step: int | None = None) -> None:
        """A text; TensorBoard shows it as Markdown."""
        current_context().metrics.add_text(tag, text, global_step)


class ConvertToFedEvent:
    """Does nothing but say so: metrics travel to the server anyway. Kept so that configurations written for FLARE run unchanged.

    Args:
        events_to_convert: not needed here.
        fed_event_prefix: not needed here.
    """

    def __init__(self, events_to_convert: list[str], fed_event_prefix: str = "fed.") -> None:
        self.events_to_convert = events_to_convert
        self.fed_event_prefix = fed_event_prefix
        log.info("component_not_needed", component="ConvertToFedEvent", because="metrics travel to the server anyway")
