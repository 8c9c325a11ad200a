"""How fast is a round between real processes? Server and sites of a POC on free ports, in a temporary folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .noop_job import Size, write_noop_job

SITES = 2


def process_rounds(size: Size, rounds: int) -> list[float]:
    """Seconds of each round, from the report: the whole run by the number of its rounds."""
    from sundog.kits.admin.session import Session
    from sundog.kits.poc.federation import Federation
    from sundog.kits.poc.layout import Poc, make_poc
    from sundog.kits.supervisor.interrupts import Interrupts

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "poc"
        make_poc(root, Poc(sites=SITES, transport="tcp", fl_port=0, admin_port=0))
        job = write_noop_job(Path(folder) / "job", size, rounds, SITES)
        with Interrupts() as interrupts, Federation(root, interrupts) as federation:
            federation.start()
            with Session(root / "admin") as session:
                federation.wait_registered(session)
                report = session.monitor_job(session.submit_job(job))
    if not report.rounds:
        raise SystemExit(f"{report.status}: {report.reason}")
    return [done.seconds for done in report.rounds]
