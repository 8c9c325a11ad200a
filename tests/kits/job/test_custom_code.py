"""Apps that take turns in one process: each finds its own custom/ and its own modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from sundog.kits.job.custom_code import CustomCode


def app(root: Path, name: str, **files: str) -> CustomCode:
    for file, text in files.items():
        path = root / name / "custom" / f"{file.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return CustomCode(root / name)


def test_modules_are_found_inside_and_forgotten_outside(tmp_path: Path) -> None:
    path = list(sys.path)

    with app(tmp_path, "a", trainer_h11="import helper_h11", helper_h11="x = 1"):
        assert importlib.import_module("trainer_h11").helper_h11.x == 1

    assert {"trainer_h11", "helper_h11"} & sys.modules.keys() == set()
    assert sys.path == path
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("trainer_h11")


def test_two_apps_with_modules_of_one_name_do_not_meet(tmp_path: Path) -> None:
    a, b = app(tmp_path, "a", trainer_h11="name = 'a'"), app(tmp_path, "b", trainer_h11="name = 'b'")

    for code, name in ((a, "a"), (b, "b"), (a, "a")):
        with code:
            assert importlib.import_module("trainer_h11").name == name


def test_a_module_keeps_what_it_holds_from_turn_to_turn(tmp_path: Path) -> None:
    a = app(tmp_path, "a", counter_h11="count = 0")
    with a:
        vars(importlib.import_module("counter_h11"))["count"] += 1

    with a:
        assert importlib.import_module("counter_h11").count == 1


def test_who_is_interrupted_gets_path_and_modules_back(tmp_path: Path) -> None:
    a, b = app(tmp_path, "a", trainer_h11="name = 'a'"), app(tmp_path, "b", trainer_h11="name = 'b'")
    with a:
        mine = importlib.import_module("trainer_h11")
        with b:
            importlib.import_module("trainer_h11")
            with a:
                assert importlib.import_module("trainer_h11") is mine

        assert importlib.import_module("trainer_h11") is mine
        assert sys.path[0] == str(tmp_path / "a" / "custom")


def test_a_package_without_init_file_is_forgotten_too(tmp_path: Path) -> None:
    a, b = app(tmp_path, "a", nets_h11__small="size = 1"), app(tmp_path, "b", nets_h11__small="size = 2")

    with a:
        assert importlib.import_module("nets_h11.small").size == 1
    with b:
        assert importlib.import_module("nets_h11.small").size == 2


def test_job_code_that_changes_the_path_does_no_harm(tmp_path: Path) -> None:
    path = list(sys.path)

    with app(tmp_path, "a"):
        sys.path.remove(str(tmp_path / "a" / "custom"))

    assert sys.path == path
