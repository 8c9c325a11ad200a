"""What does a Session give that the server alone cannot know? The answers whose other half is on this side."""

from __future__ import annotations

import msgspec

from ..protocol.answers import Problem, ServerStatus, SitesStatus


class DownloadedJob(msgspec.Struct, frozen=True):
    """`download_job`: where a job and its result lie now."""

    job_id: str
    folder: str
    """Absolute; has `job/` as it was submitted and `workspace/` as the run left it."""
    files: int
    size_bytes: int


class RunLog(msgspec.Struct, frozen=True):
    """`logs`: the log of a run at the server or a site."""

    job_id: str
    site: str
    """server, or the name of a site."""
    text: str
    left_out_characters: int
    """How many there were before: of a long log the last 1,048,576 are kept."""


class Waited(msgspec.Struct, frozen=True):
    """What came of waiting for a status."""

    is_reached: bool
    status: ServerStatus | SitesStatus | None = None
    """The last one that was seen; None if there was none."""
    problem: Problem | None = None
    """Why the wait ended without it."""


class CommandFailed(msgspec.Struct, frozen=True):
    """What `--json` prints instead of an answer when a command fails."""

    error: Problem
