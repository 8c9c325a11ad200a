"""The permission table: what a role may do, and what an operator takes away from it."""

from __future__ import annotations

import pytest

from sundog.components.access.by_role import COMMANDS, CommandsByRole
from sundog.kits.protocol import requests
from sundog.kits.protocol.requests import Request


def allows(rule: CommandsByRole, command: str, role: str = "admin") -> bool:
    return rule.allows("ann", role, command, {})


def test_an_admin_may_give_every_command_and_nobody_else_any() -> None:
    rule = CommandsByRole()

    for command in COMMANDS["admin"]:
        assert allows(rule, command)
        assert not allows(rule, command, "site")
    assert not allows(rule, "format_disk")


def test_a_command_that_the_operator_refuses_is_refused() -> None:
    rule = CommandsByRole(refused=["delete_job"])

    assert (allows(rule, "delete_job"), allows(rule, "list_jobs")) == (False, True)


def test_a_command_that_is_misspelt_in_a_kit_is_no_hole() -> None:
    with pytest.raises(ValueError, match="no command 'delet_job'; did you mean 'delete_job'"):
        CommandsByRole(refused=["delet_job"])


def test_the_table_has_a_row_for_every_command_that_can_be_asked() -> None:
    kinds = [kind for kind in vars(requests).values() if isinstance(kind, type) and issubclass(kind, Request) and "command" in vars(kind)]

    assert {kind.command for kind in kinds} == COMMANDS["admin"]
