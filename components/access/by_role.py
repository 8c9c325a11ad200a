"""Which commands may a participant give, by its role? The permission table; what is not in it is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...kernel.operator_roles import AccessRule
from ...kernel.wording import did_you_mean

COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "admin": frozenset({
        "check_status", "list_sessions",
        "list_jobs", "get_job_report", "watch_job", "read_log", "download_job", "download_done",
        "submit_job", "clone_job", "abort_job", "delete_job",
        "pwd", "ls", "cat", "head", "tail", "grep",
    }),
}  # fmt: skip
"""Role → the commands that it may give, at a server or a site."""


class CommandsByRole(AccessRule):
    """Allows what the permission table has, but for some commands that the operator does not want here.

    Args:
        refused: commands that nobody may give here, such as ["cat", "head", "tail", "grep"] at a site that shows no files.
    """

    def __init__(self, refused: Sequence[str] = ()) -> None:
        known = frozenset().union(*COMMANDS.values())
        for command in refused:
            if command not in known:
                raise ValueError(f"refused: there is no command {command!r}{did_you_mean(command, known)}")
        self.refused = frozenset(refused)

    def allows(self, name: str, role: str, command: str, subject: Mapping[str, Any]) -> bool:
        return command in COMMANDS.get(role, frozenset()) and command not in self.refused
