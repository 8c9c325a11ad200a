"""`sundog site KIT`."""

from __future__ import annotations

from pathlib import Path

from .participant import participant_command


def _run(kit: Path, lifeline: int | None) -> None:
    from ..site.program import run_site
    from ..supervisor.lifeline import Lifeline

    run_site(kit, Lifeline(lifeline) if lifeline is not None else None)


command = participant_command("site", "Run the site of this kit until Ctrl-C or SIGTERM.", _run)
