"""`sundog server KIT`."""

from __future__ import annotations

from pathlib import Path

from .participant import participant_command


def _run(kit: Path, lifeline: int | None) -> None:
    from ..server.program import run_server
    from ..supervisor.lifeline import Lifeline

    run_server(kit, Lifeline(lifeline) if lifeline is not None else None)


command = participant_command("server", "Run the server of this kit until Ctrl-C or SIGTERM.", _run)
