"""How does a daemon log: which line, where to, how much of it?

One line a fact, `time level event key=value …`, the same text in log.txt and on stdout. What comes from outside cannot
forge a line: control characters are escaped, long values cut, the lines of a traceback marked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import sys
from collections.abc import MutableMapping
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import structlog

from ...kernel.errors import DaemonError
from ...kernel.wording import cut, did_you_mean, printable

LEVEL_VARIABLE = "SUNDOG_LOG_LEVEL"
FORMAT_VARIABLE = "SUNDOG_LOG_FORMAT"
FILE_BYTES = 20_000_000
FILE_COUNT = 10
MAX_VALUE_CHARACTERS = 2000

_LEVELS = ("debug", "info", "warning", "error", "critical")
_FIRST = ("timestamp", "level", "event", "exception")
_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
_TRACE_MARK = "\n    | "


class LogSettingRefused(DaemonError):
    """SUNDOG_LOG_LEVEL or SUNDOG_LOG_FORMAT has a value that says nothing.

    Cause: the environment variable is misspelt.

    Cure: levels are debug, info, warning, error, critical; formats are text and json.
    """

    code = "SD-5031"


def start_logging(file: Path | None = None, *, to_stdout: bool = True) -> None:
    """Send what structlog and libraries log to a file (20 MB, ten of them) and to stdout; calling it again starts anew.

    Level and form come from SUNDOG_LOG_LEVEL (info) and SUNDOG_LOG_FORMAT (text or json). Names that hold for
    a whole daemon or task are bound once: `structlog.contextvars.bind_contextvars(site="site-1")`.

    Raises:
        LogSettingRefused: a variable has another value.
    """
    _start(_handlers(file, to_stdout=to_stdout), "info")


def start_command_logging() -> None:
    """What a command says goes to stdout; so only errors are logged, to stderr, unless SUNDOG_LOG_LEVEL asks for more.

    Raises:
        LogSettingRefused: as above.
    """
    _start([logging.StreamHandler(sys.stderr)], "error")


def start_job_logging() -> None:
    """In a job process our own lines go to stdout, as what the job's code prints; that may set up `logging` as it likes.

    Stdout and stderr lead to the supervisor, whose loss costs lines and no exception, see LossyStream.

    Raises:
        LogSettingRefused: as above.
    """
    level = _setting(LEVEL_VARIABLE, _LEVELS, "info").upper()
    sys.stdout, sys.stderr = (TextIOWrapper(LossyStream(number), "utf-8", "backslashreplace", line_buffering=True) for number in (1, 2))
    _print_lines(sys.stdout, level)


class LossyStream(FileIO):
    """A descriptor that Python code prints to whether or not anybody reads it: what cannot be written is dropped.

    Args:
        descriptor: stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        with contextlib.suppress(OSError):
            while left:  # a signal may end a write early
                left = left[super().write(left) or 0 :]
        return memoryview(data).nbytes


def keep_quiet() -> None:
    """In somebody's script or notebook only warnings are told, on stderr; a program that has configured structlog decides itself."""
    if not structlog.is_configured():
        _print_lines(sys.stderr, "WARNING")


def _print_lines(file: TextIO, level: str) -> None:
    structlog.configure(
        processors=[*_SHARED, as_text],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file),
    )


def _start(handlers: list[logging.Handler], default_level: str) -> None:
    level = _setting(LEVEL_VARIABLE, _LEVELS, default_level).upper()
    as_json = _setting(FORMAT_VARIABLE, ("text", "json"), "text") == "json"
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_json if as_json else as_text],
    )
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    _replace_handlers(handlers, formatter, level)


def stop_logging() -> None:
    """Close what `start_logging` opened."""
    _replace_handlers([], None, "WARNING")
    structlog.reset_defaults()


def as_text(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """A structlog renderer: one line; a traceback follows in lines that begin with `    | `."""
    named = [f"{key}={_value(value)}" for key, value in event.items() if key not in _FIRST]
    line = " ".join([str(event.get("timestamp", "")), f"{event.get('level', ''):<7}", _event(event.get("event", "")), *named])
    trace = str(event.get("exception", ""))
    return line + "".join(_TRACE_MARK + printable(part) for part in trace.splitlines())


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return json.dumps(event, default=str, ensure_ascii=True)


def _event(event: object) -> str:
    return cut(printable(str(event)), MAX_VALUE_CHARACTERS)


def _value(value: object) -> str:
    text = cut(str(value), MAX_VALUE_CHARACTERS)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=not text.isprintable())


def _setting(variable: str, known: tuple[str, ...], default: str) -> str:
    value = os.environ.get(variable, default).lower()
    if value not in known:
        raise LogSettingRefused(f"wanted one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}", where=variable)
    return value


def _handlers(file: Path | None, *, to_stdout: bool) -> list[logging.Handler]:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)] if to_stdout else []
    if file is not None:
        handlers.append(logging.handlers.RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILE_COUNT - 1, encoding="utf-8"))
    return handlers


_ours: list[logging.Handler] = []


def _replace_handlers(handlers: list[logging.Handler], formatter: logging.Formatter | None, level: str) -> None:
    root = logging.getLogger()
    while _ours:
        old = _ours.pop()
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
        _ours.append(handler)
    root.setLevel(level)
