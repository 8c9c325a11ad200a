"""The question of a daemon to its access rule, and the refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from ...kernel.errors import AdminError
from ...kernel.operator_roles import AccessRule, Subject

log = structlog.get_logger()


class NotAllowed(AdminError):
    """A participant may not give a command here.

    Cause: the access rule of the server, or of the site that the command is for, refuses it; the message has its reason.

    Cure: ask whoever operates the participant in the message; the rule is in "components" of its kit.
    """

    code = "SD-6007"


def demand(rule: AccessRule, subject: Subject, command: str, about: Mapping[str, Any]) -> None:
    """Log the rule's decision on a command with its reason; go on if it allows it.

    Raises:
        NotAllowed: it does not.
    """
    decision = rule.decide(subject, command, about)
    said = {"command": command, "subject": subject.name, "role": subject.role, "reason": decision.reason}
    if not decision.allowed:
        log.warning("command_denied", **said)
        raise NotAllowed(f"{subject.role} {subject.name} may not give it here: {decision.reason}", where=command)
    log.info("command_allowed", **said)
