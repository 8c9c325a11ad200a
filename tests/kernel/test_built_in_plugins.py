"""Do the built-in plugins keep what they register?"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import jsonschema
import pytest

from sundog.kernel.constructors import schema_of
from sundog.kernel.importing import import_class
from sundog.kernel.plugins import BUILT_IN, Plugins, Registration

# a module that is missing stops every program at its start; here the others are looked at
FOUND = Plugins([name for name in BUILT_IN if importlib.util.find_spec(name)], entry_points=(), blocked=())
REGISTRATIONS = [entry for plugin in FOUND.listing() for entry in plugin.registrations]


@pytest.mark.parametrize("entry", [one for one in REGISTRATIONS if one.role != "commands"], ids=lambda one: f"{one.role}:{one.name}")
def test_a_registered_class_exists_and_has_a_schema(entry: Registration) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(import_class(entry.target)))


def test_nothing_heavy_is_imported_by_loading_them() -> None:

    code = (
        "import sys; from sundog.kernel.plugins import Plugins; "
        f"Plugins({[plugin.module for plugin in FOUND.listing()]!r}, entry_points=()); "
        "print(sorted({'torch', 'zmq', 'grpc', 'cryptography', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
