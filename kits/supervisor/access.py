"""How does a daemon ask its access rule, and say no?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...kernel.errors import AdminError
from ...kernel.operator_roles import AccessRule


class NotAllowed(AdminError):
    """A participant may not give a command here.

    Cause: the access rule of the server, or of the site that the command is for, refuses it.

    Cure: ask whoever operates the participant in the message; the rule is in "components" of its kit.
    """

    code = "SD-6007"


def demand(rule: AccessRule, who: tuple[str, str], command: str, subject: Mapping[str, Any]) -> None:
    """Go on if the rule allows `who`, a name and a role, to give the command here.

    Raises:
        NotAllowed: it does not.
    """
    name, role = who
    if not rule.allows(name, role, command, subject):
        raise NotAllowed(f"{role} {name} may not give it here", where=command)
