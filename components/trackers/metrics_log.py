"""How do metrics leave job code? As one JSON line each, in a file that the other side reads as it grows."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog

from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.operator_roles import Metric

MAX_LINE_BYTES: Final = 1024 * 1024
_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")
"""How JSON, which has no such numbers, says them here."""

log = structlog.get_logger()


class MetricRefused(ComponentError):
    """A metric cannot be written.

    Cause: the value is no number (a tensor with several elements, None), or a text is longer than a line may be.

    Cure: pass float(value), for several numbers add_scalars(tag, {name: number}), and shorten the text.
    """

    code = "SD-3121"


class _Line(msgspec.Struct):
    kind: str
    tag: str
    value: float | str | dict[str, float | str]
    step: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    """As trackers can write it."""
    time: float


class MetricsLog:
    """What job code writes its metrics to; appends to a file and says how long it is now.

    A value without a step counts for the step (round) that is under way. Each metric is one write of one line, so
    that a process that dies leaves at most one torn line at the end.

    Args:
        path: the file; made if need be, continued if it exists.
        grew: called after each metric with the file's size in bytes.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, grew: Callable[[int], None] = lambda _size: None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._grew = grew
        self._clock = clock
        if _is_torn(path):
            self._append(b"\n")  # what follows must not be glued to the line that a killed process left

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """One number.

        Raises:
            MetricRefused: it is none.
        """
        self._add("scalar", tag, _number(tag, value), step)

    def add_scalars(self, tag: str, values: Mapping[str, float], step: int | None = None) -> None:
        """Several numbers of one chart.

        Raises:
            MetricRefused: one of them is none.
        """
        self._add("scalars", tag, {str(name): _number(f"{tag}.{name}", value) for name, value in values.items()}, step)

    def add_text(self, tag: str, text: str, step: int | None = None) -> None:
        """A text of up to 1 MiB.

        Raises:
            MetricRefused: it is longer.
        """
        self._add("text", tag, str(text), step)

    def _add(self, kind: str, tag: str, value: Any, step: int | None) -> None:
        context = current_context()
        number = context.step if step is None else int(step)
        written = {name: _json(one) for name, one in value.items()} if kind == "scalars" else _json(value)
        line = msgspec.json.encode(_Line(kind, str(tag), written, number, self._clock())) + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise MetricRefused(f"wanted a line of up to {MAX_LINE_BYTES:,} bytes, got {len(line):,}", where=f"metric {tag[:80]!r}")
        self._grew(self._append(line))
        context.events.metric_logged(name=tag, value=value, step=number, site=context.site)

    def _append(self, line: bytes) -> int:
        with self.path.open("ab", buffering=0) as file:  # opened each time, so that nobody has to close it
            file.write(line)
            return file.tell()


def read_metrics(path: Path, offset: int, site: str) -> tuple[list[Metric], int]:
    """The metrics of a site's file from an offset on, and the offset to read from next time.

    A last line without its end is left for the next time. Lines that are no metrics (the file comes from another
    organisation) are skipped and counted in the log.
    """
    metrics: list[Metric | None] = []
    end = offset
    with path.open("rb") as file:
        file.seek(offset)
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                break
            metrics.append(_metric(line, site))
            end += len(line)
    skipped = metrics.count(None)
    if skipped:
        log.warning("metric_lines_skipped", site=site, lines=skipped, path=str(path), offset=offset)
    return [metric for metric in metrics if metric is not None], end


def _metric(line: bytes, site: str) -> Metric | None:
    try:
        read = msgspec.json.decode(line, type=_Line)
        return Metric(site, read.kind, read.tag, _value(read), read.step, read.time)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: of _value; RecursionError: nested without end
        return None


def _value(line: _Line) -> float | str | dict[str, float]:
    match line.kind, line.value:
        case "text", str() as text:
            return text
        case "scalar", float() | str() as number:
            return _finite_or_named(number)
        case "scalars", dict() as numbers:
            return {name: _finite_or_named(number) for name, number in numbers.items()}
    raise ValueError(line.kind)


def _finite_or_named(value: float | str) -> float:
    if isinstance(value, str) and value not in _NOT_FINITE:
        raise ValueError(value)
    return float(value)


def _number(tag: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch's, for a tensor of several elements
        raise MetricRefused(f"wanted a number, got {type(value).__name__} {str(value)[:80]}", where=f"metric {tag!r}") from error


def _json(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_torn(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return size > 0 and file.read(1) != b"\n"
