"""The walk by which FLARE 2.1 is shown to people: a workspace, start scripts, a console, the job, its curves."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ..kits.console.terminal import ENTER, Terminal, plain

JOB = Path(__file__).resolve().parents[2] / "examples" / "hello-pt-tb"


def test_from_a_workspace_to_the_curves_of_each_site(tmp_path: Path, marked: Any, nothing_left: Any) -> None:
    """T010, T013, T167: as somebody types it."""
    root = tmp_path / "poc"
    assert marked.sundog("poc", "-n", "2", "--fl-port", "0", "--admin-port", "0", cwd=tmp_path).returncode == 0
    for name in ("server", "site-1", "site-2"):
        assert marked.run(root / name / "startup" / "start.sh").returncode == 0
    shutil.copytree(JOB, root / "admin" / "transfer" / JOB.name)

    with Terminal(root / "admin" / "startup" / "fl_admin.sh", environment=marked.environment) as console:
        console.wait_for("login_result: OK")
        console.wait_for_prompt()
        job_id = re.findall(r"[0-9a-f-]{36}", console.give("submit_job hello-pt-tb"))[0]
        console.send(f"monitor_job {job_id[:8]}{ENTER}")
        watched = plain(console.wait_for("Done [", seconds=90))
        console.wait_for_prompt()
        listed = console.give("list_jobs")
        downloaded = console.give(f"download_job {job_id[:8]}")
        console.send(f"bye{ENTER}")
        assert console.wait_for_end()[0] == 0

    assert "FINISHED:COMPLETED" in watched
    assert job_id in listed
    assert "FINISHED:COMPLETED" in listed
    assert job_id in downloaded
    curves = {site: tags_of(root / "admin" / "transfer" / job_id / "workspace" / "tb_events" / site) for site in ("site-1", "site-2")}
    assert all({"train_loss", "validation_accuracy"} <= tags for tags in curves.values()), curves
    for name in ("site-1", "site-2", "server"):
        assert marked.run(root / name / "startup" / "stop.sh").returncode == 0
    nothing_left(root)


def tags_of(folder: Path) -> set[str]:
    """The scalars that TensorBoard's own reader finds."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])
