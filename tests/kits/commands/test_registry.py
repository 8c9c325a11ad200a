"""The declarations that plugins register: what is taken, and what is refused with the plugin's name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import msgspec
import pytest

from sundog.kernel.errors import SundogError
from sundog.kernel.hookspecs import register
from sundog.kernel.importing import ModuleMissing
from sundog.kernel.operator_roles import AccessRule, Decision, Subject
from sundog.kernel.plugins import NameTaken, Plugins
from sundog.kits.admin.command import typed
from sundog.kits.commands import registry
from sundog.kits.commands.declaration import AnswerNotDeclared, ArgumentsRefused, Command
from sundog.kits.commands.files import PWD
from sundog.kits.commands.registry import AnyCommand, NoDeclaration, Receiver, RightMissing, UnknownCommand, commands, load_commands
from sundog.kits.protocol.requests import Request, TargetedRequest
from sundog.kits.supervisor.access import NotAllowed

Offer = Callable[..., Plugins]


class Ping(Request, frozen=True):
    """A question."""

    text: str = ""


class Pong(msgspec.Struct):
    """Its answer."""

    text: str


async def pong(_here: object, asked: Ping) -> Pong:
    return Pong(asked.text)


PING: AnyCommand = Command(name="ping", request=Ping, answers=(Pong,), right="view", server=pong)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Plugins that register each object as the command `ping`."""

    def make(*targets: object) -> Plugins:
        names = []
        for number, target in enumerate(targets):
            name = f"plugin_{number}"
            made: Any = ModuleType(name)
            made.PING = target
            made.sundog_commands = register(_adds("ping", f"{name}:PING"), specname="sundog_commands")
            monkeypatch.setitem(sys.modules, name, made)
            names.append(name)
        return Plugins(names, entry_points=(), blocked=())

    return make


def _adds(name: str, target: str) -> Callable[[Any], None]:
    def sundog_commands(add: Any) -> None:
        add(name, target)

    return sundog_commands


def test_every_built_in_command_declares_a_right_and_where_it_runs() -> None:
    for name, command in commands().items():
        assert command.name == name
        assert command.right in ("view", "files", "submit", "manage")
        assert command.runs_at("server")


def test_a_plugin_s_command_is_loaded(offer: Offer) -> None:
    assert load_commands(offer(PING)) == {"ping": PING}


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (Pong, NoDeclaration, "wanted a Command, got StructMeta"),
        (None, NoDeclaration, "wanted a Command, got NoneType"),
        (dataclasses.replace(PING, name="pong"), NoDeclaration, "its declaration is called 'pong'"),
        (dataclasses.replace(PING, request=Pong), NoDeclaration, "wanted a sub-class of Request"),
        (dataclasses.replace(PING, request=cast("Any", "Ping")), NoDeclaration, "wanted a sub-class of Request"),
        (dataclasses.replace(PING, server=None), NoDeclaration, "no function for a server or a site"),
        (dataclasses.replace(PING, server=None, site=pong), NoDeclaration, "takes a sub-class of TargetedRequest"),
        (dataclasses.replace(PING, right=""), RightMissing, "it declares no right"),
    ],
)
def test_what_is_no_declaration_is_refused_with_plugin_and_command(
    offer: Offer, target: object, error: type[SundogError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load_commands(offer(target))

    assert caught.value.where == "plugin plugin_0: command ping"


def test_a_declaration_that_cannot_be_imported_is_named_with_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("lost")
    module.sundog_commands = register(_adds("ping", "no_such_module:PING"), specname="sundog_commands")
    monkeypatch.setitem(sys.modules, "lost", module)

    with pytest.raises(ModuleMissing) as caught:
        load_commands(Plugins(["lost"], entry_points=(), blocked=()))

    assert caught.value.where == "plugin lost: command ping: no_such_module"


def test_two_plugins_with_one_command_are_named_both(offer: Offer) -> None:
    with pytest.raises(NameTaken, match=r"'ping' among the commands is claimed by plugin_0 .* and by plugin_1"):
        offer(PING, PING)


# --- at a receiver ---


class Rule(AccessRule):
    """Allows, or not, and remembers what it was told."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.allowed = allowed
        self.told: list[tuple[Subject, str, dict[str, Any]]] = []

    def decide(self, subject: Subject, command: str, about: Any) -> Decision:
        self.told.append((subject, command, dict(about)))
        return Decision(self.allowed, "because")


ANN = Subject("ann", "", "admin")


def receiver(monkeypatch: pytest.MonkeyPatch, rule: AccessRule, side: str = "server", **others: AnyCommand) -> Receiver[str]:
    monkeypatch.setattr(registry, "commands", lambda: {"ping": PING, "pwd": PWD, **others})
    return Receiver(side, "the test", rule)


async def carry_out(receiver: Receiver[str], name: str, body: bytes) -> bytes:
    async def act(command: AnyCommand, asked: Any) -> Any:
        assert command.server is not None
        return await command.server(None, asked)  # type: ignore[arg-type]  # it does not look

    return await receiver.carry_out("who", ANN, name, body, about=lambda asked: {"text": asked.text}, act=act)


async def test_request_and_answer_are_msgpack_maps_without_a_type_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule()

    answer = await carry_out(receiver(monkeypatch, rule), "ping", msgspec.msgpack.encode({"text": "hello"}))

    assert msgspec.msgpack.decode(answer) == {"text": "hello"}
    assert rule.told == [(ANN, "ping", {"right": "view", "text": "hello"})]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa1\xff\x01", *map(msgspec.msgpack.encode, [[], {"txt": ""}, {"text": 1}])])
async def test_arguments_that_are_not_declared_are_refused_before_the_rule_is_asked(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    rule = Rule()

    with pytest.raises(ArgumentsRefused):
        await carry_out(receiver(monkeypatch, rule), "ping", body)
    assert rule.told == []


async def test_an_unknown_command_is_refused_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownCommand, match="unknown command 'coffee': the test does not have it"):
        await carry_out(receiver(monkeypatch, Rule()), "coffee", b"\x80")
    with pytest.raises(UnknownCommand):  # the server's alone
        await carry_out(receiver(monkeypatch, Rule(), "site"), "ping", b"\x80")


async def test_a_denied_command_is_not_done_and_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAllowed, match="ping: admin ann may not give it here: because"):
        await carry_out(receiver(monkeypatch, Rule(allowed=False)), "ping", b"\x80")


async def test_an_answer_of_another_type_is_the_plugin_s_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(_here: object, asked: Ping) -> Ping:
        return asked

    broken = dataclasses.replace(PING, server=wrong)
    with pytest.raises(AnswerNotDeclared, match="wanted Pong, got Ping"):
        await carry_out(receiver(monkeypatch, Rule(), ping=broken), "ping", b"\x80")


# --- on a line ---


class Odd(TargetedRequest, frozen=True, kw_only=True):
    """With a field that cannot be typed."""

    table: dict[str, int]


def test_a_field_that_cannot_be_typed_is_named() -> None:
    odd: AnyCommand = Command(name="odd", request=Odd, answers=(Pong,), right="view", site=pong)

    with pytest.raises(NoDeclaration, match="odd: table: wanted text, a number"):
        typed(odd)
