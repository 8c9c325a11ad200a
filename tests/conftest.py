"""What do all tests share? Seeded examples, and an environment without the developer's own settings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import structlog
from hypothesis import settings

for number in (signal.SIGINT, signal.SIGHUP):  # who starts the tests in the background (`&`, nohup) has all their children ignore these
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SUNDOG_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Where logs go is the process's business: what a test decides, such as by opening a Session, ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def clinic_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the plugin of tests/data/clinic_plugin, from a wheel of it."""
    source, wheels, installed = (tmp_path_factory.mktemp(name) for name in ("clinic-source", "clinic-wheel", "clinic-installed"))
    shutil.copytree(Path(__file__).parent / "data" / "clinic_plugin", source, dirs_exist_ok=True)  # setuptools leaves a build folder
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", str(wheels), str(source)], check=True)
    subprocess.run([*pip, "install", *alone, "--target", str(installed), *map(str, wheels.glob("*.whl"))], check=True)
    return installed


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder on another file system than tmp_path: in /dev/shm or, for root, a tmpfs of its own."""
    shared = Path("/dev/shm")
    if shared.is_dir() and shared.stat().st_dev != tmp_path.stat().st_dev:
        with tempfile.TemporaryDirectory(dir=shared) as folder:
            yield Path(folder)
        return
    place = tmp_path / "other-disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no second file system: no /dev/shm, and no tmpfs can be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def nest(tmp_path: Path) -> Iterator[Callable[[Path, int], None]]:
    """Make a folder in a folder in a folder, deeper than any path is long, with a file at the bottom."""

    def make(folder: Path, depth: int) -> None:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir("abc", dir_fd=here)
            inner = os.open("abc", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)

    yield make
    subprocess.run(["rm", "-rf", "--", *tmp_path.iterdir()], check=True)  # pytest itself cannot remove such folders


@pytest.fixture
def operator_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make code of the documentation importable as `clinic_plugins`, for one test."""

    def write(code: str) -> None:
        (tmp_path / "clinic_plugins.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(sys.modules, "clinic_plugins", ModuleType("clinic_plugins"))  # so that the one imported here is removed
        del sys.modules["clinic_plugins"]

    return write
