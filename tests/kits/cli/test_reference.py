"""What can be looked up: errors, schemas, plugins."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import jsonschema
import pytest
from click.testing import CliRunner

from sundog.kernel.errors import known_errors
from sundog.kits.admin.commands import typed_commands
from sundog.kits.cli import explain, plugins, schema

Run = Callable[..., subprocess.CompletedProcess[str]]


def said(command: object, *arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, standalone_mode=False)  # type: ignore[arg-type]
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_explain_knows_every_error_that_is_imported() -> None:
    pages = dict(explain._ours())

    missing = [code for code, kind in known_errors().items() if kind.__module__.startswith("sundog.") and code not in pages]
    assert missing == ["SD-0000"]  # the tree's root is no error of its own


def test_explain_prints_cause_and_cure() -> None:
    text = said(explain.command, "[sd-5003]")

    assert text.startswith("SD-5003: Another process works in this folder.")
    assert "Cause: this participant was started a second time." in text
    assert "Cure: stop the process named" in text


def test_an_unknown_code_gives_a_hint() -> None:
    with pytest.raises(explain.UnknownCode, match="did you mean 'SD-5003'"):
        said(explain.command, "SD-50033")


def test_every_schema_is_one() -> None:
    """T029 in part: each command's answer, each file, each component's arguments."""
    document = json.loads(said(schema.command, "--all"))

    assert {"meta.json", "fed_server.json", "simulate", "ScatterAndGather", "WeightedMean", *typed_commands()} <= set(document)
    for one in document.values():
        jsonschema.Draft202012Validator.check_schema(one)


def test_a_schema_alone_and_the_list_of_them() -> None:
    assert "num_rounds" in json.loads(said(schema.command, "ScatterAndGather"))["properties"]
    assert "list_jobs" in said(schema.command).splitlines()
    with pytest.raises(schema.UnknownSchema, match="did you mean 'ScatterAndGather'"):
        said(schema.command, "ScaterAndGather")


def test_plugins_are_listed_with_what_they_bring() -> None:
    assert "WeightedMean" in said(plugins.command)
    document = json.loads(said(plugins.command, "--json"))
    assert [plugin["name"] for plugin in document["plugins"]][:4] == ["transports", "components", "workflows", "kits"]
