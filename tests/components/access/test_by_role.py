"""CommandsByRole: what a role may do, and what an operator takes away from it."""

from __future__ import annotations

import pytest

from sundog.components.access.by_role import RIGHTS, CommandsByRole
from sundog.kernel.operator_roles import Decision, Subject


def decide(rule: CommandsByRole, command: str, right: str = "view", role: str = "admin") -> Decision:
    return rule.decide(Subject("ann", "", role), command, {"right": right})


def test_an_admin_has_every_right_and_other_roles_have_none() -> None:
    rule = CommandsByRole()

    for right in RIGHTS["admin"]:
        assert decide(rule, "some_command", right) == Decision(allowed=True, reason=f"the role admin has the right {right!r}")
        assert decide(rule, "some_command", right, "site") == Decision(allowed=False, reason=f"the role site has no right {right!r}")


def test_a_right_that_is_not_in_the_table_is_refused() -> None:
    rule = CommandsByRole()

    assert decide(rule, "format_disk", "format") == Decision(allowed=False, reason="the role admin has no right 'format'")
    assert not rule.decide(Subject("ann", "", "admin"), "format_disk", {}).allowed


def test_a_command_that_the_operator_refuses_is_refused() -> None:
    rule = CommandsByRole(refused=["delete_job"])

    assert decide(rule, "delete_job") == Decision(allowed=False, reason="the operator refuses this command here")
    assert decide(rule, "list_jobs").allowed


def test_a_command_that_is_misspelt_in_a_kit_is_no_hole() -> None:
    with pytest.raises(ValueError, match="no command 'delet_job'; did you mean 'delete_job'"):
        CommandsByRole(refused=["delet_job"])
