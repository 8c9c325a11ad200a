"""How do a run's metrics get into TensorBoard? As event files in its own format, one folder a site, with tensorboard's writer.

Its RecordWriter and its messages only: its EventFileWriter would ask for tensorflow's file system where that is installed,
and write from a thread of its own. Here a flush is a flush.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...kernel.errors import ComponentError
from ...kernel.operator_roles import Metric, Tracker

_PREFIX = "events.out.tfevents."
_OURS = ".sundog"
"""How our files end, so that those which the job's own code writes beside them are left alone."""


class TensorBoardMissing(ComponentError):
    """Metrics should go to TensorBoard files, and tensorboard is not installed here.

    Cause: Sundog's own requirements leave it out; only a server whose jobs name TBAnalyticsReceiver needs it.

    Cure: pip install "sundog[tensorboard]"
    """

    code = "SD-3122"


class SiteNotAFolder(ComponentError):
    """A site's name cannot be the name of a folder.

    Cause: it holds a path separator, or is "." or "..".

    Cure: rename the site.
    """

    code = "SD-3123"


class TBAnalyticsReceiver(Tracker):
    """Writes what each site logs into <run>/tb_events/<site>/; look at it with `tensorboard --logdir <run>/tb_events`.

    Args:
        tb_folder: the folder, under the run's.
        events: FLARE's names of the events it listened to. Here it is given all metrics.
    """

    def __init__(self, tb_folder: str = "tb_events", events: list[str] | None = None) -> None:
        self.tb_folder = tb_folder
        self.events = events or []
        self._root = Path()
        self._encode: Callable[[Metric], bytes] | None = None
        self._files: dict[str, Any] = {}

    def open(self, folder: Path) -> None:
        """Begin to write under the run's folder, anew: all metrics are given again, so what a process that died had written goes.

        Raises:
            TensorBoardMissing: the library is not installed.
        """
        self._encode = _encoder()
        self._root = folder / self.tb_folder
        for old in self._root.glob(f"*/{_PREFIX}*{_OURS}"):
            old.unlink()

    def write(self, metric: Metric) -> None:
        """Take one metric.

        Raises:
            SiteNotAFolder: for the site's name.
        """
        if self._encode is None:
            raise ValueError("write before open, or after close")
        if metric.site not in self._files:
            self._files[metric.site] = self._new_file(metric.site)
        self._files[metric.site].write(self._encode(metric))

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._encode = None

    def _new_file(self, site: str) -> Any:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if site in ("", ".", "..") or "/" in site or "\\" in site:
            raise SiteNotAFolder(f"wanted a plain name, got {site!r}")
        folder = self._root / site
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{_PREFIX}{time.time_ns()}.{socket.gethostname()}{_OURS}"
        file = RecordWriter((folder / name).open("xb", buffering=0))  # a record is one write, and visible at once
        file.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return file


def _encoder() -> Callable[[Metric], bytes]:
    """What makes an event of a metric; imports the library."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ModuleNotFoundError as error:
        raise TensorBoardMissing(f"wanted the library tensorboard, got: {error}") from error

    def encode(metric: Metric) -> bytes:
        values = _values(metric)
        event = Event(wall_time=metric.time_seconds, step=metric.step, summary=Summary(value=values))
        return bytes(event.SerializeToString())

    return encode


def _values(metric: Metric) -> list[Any]:
    from tensorboard.compat.proto.summary_pb2 import Summary

    match metric.kind:
        case "scalars":  # one chart a name; TensorBoard groups by what stands before the slash
            return [Summary.Value(tag=f"{metric.tag}/{name}", simple_value=value) for name, value in metric.value.items()]
        case "text":
            return [_text(metric)]
        case _:
            return [Summary.Value(tag=metric.tag, simple_value=metric.value)]


def _text(metric: Metric) -> Any:
    from tensorboard.compat.proto import tensor_pb2, types_pb2
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[metric.value.encode()])
    return Summary.Value(tag=metric.tag, metadata=create_summary_metadata(metric.tag, ""), tensor=tensor)
