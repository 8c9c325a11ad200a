"""Does what we hand out install: a wheel with every module, few dependencies, commands that start?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("kernel", "transports", "components", "workflows", "kits")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: setuptools leaves a build folder, and takes up what lies in an old one."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("src", "examples", *FOLDERS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("__init__.py", "py.typed", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, copy)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    ours = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    held = set(zipfile.ZipFile(wheel).namelist())

    assert {f"sundog/{name}" for name in ours | {"__init__.py", "py.typed"}} - held == set()


def test_the_wheel_holds_the_jobs_of_the_examples(wheel: Path) -> None:
    """`sundog demo` runs one of them, wherever Sundog is installed."""
    jobs = {str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert {f"sundog/{name}" for name in jobs} - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_installed_commands_start(wheel: Path, tmp_path: Path) -> None:
    """T001: after installing the wheel into an empty environment, `sundog --version` and `poc -h` work.

    The dependencies come from the environment of the tests, by a .pth file: no network here.
    """
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    assert run(python, "-c", "import sundog.kernel; print(sundog.kernel.__file__)").startswith(site)
    assert distribution("sundog").version in run(python.parent / "sundog", "--version")
    assert run(python, "-c", "from sundog.kits.cli.demo import JOB; print(JOB.is_dir(), JOB)").startswith(f"True {site}")
    assert "[-h] [-n NUM_CLIENTS]" in run(python.parent / "poc", "-h")


def test_an_installation_without_extras_has_at_most_20_distributions() -> None:
    """T001: few dependencies, theirs included."""
    found: set[str] = set()
    waiting = ["sundog"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            wanted = [Requirement(text) for text in distribution(name).requires or []]
            waiting += [canonicalize_name(need.name) for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]

    assert len(found) <= 20, sorted(found)
