"""CommandsByRole: each role has some of the rights that commands declare; everything else is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...kernel.operator_roles import AccessRule, Decision, Subject
from ...kernel.plugins import plugins
from ...kernel.wording import did_you_mean

RIGHTS: Final[Mapping[str, frozenset[str]]] = {"admin": frozenset({"view", "files", "submit", "manage"})}
"""Role → the rights that it has, at a server or a site."""


class CommandsByRole(AccessRule):
    """Allows a command if the subject's role has the right that the command declares, and the operator has not refused it here.

    Args:
        refused: commands that are refused to everybody, such as ["cat", "head", "tail", "grep"] at a site that shows no files.
    """

    def __init__(self, refused: Sequence[str] = ()) -> None:
        known = plugins().names("commands")
        for command in refused:
            if command not in known:
                raise ValueError(f"refused: there is no command {command!r}{did_you_mean(command, known)}")
        self.refused = frozenset(refused)

    def decide(self, subject: Subject, command: str, about: Mapping[str, Any]) -> Decision:
        right = str(about.get("right", ""))
        if command in self.refused:
            return Decision(allowed=False, reason="the operator refuses this command here")
        if right not in RIGHTS.get(subject.role, frozenset()):
            return Decision(allowed=False, reason=f"the role {subject.role} has no right {right!r}")
        return Decision(allowed=True, reason=f"the role {subject.role} has the right {right!r}")
