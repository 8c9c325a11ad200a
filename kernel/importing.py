"""What does a dotted name stand for: a class, or which of five mistakes?"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import Failure, PluginError
from .wording import did_you_mean, with_article

_EXTRAS = {"torch": "torch", "tensorboard": "tensorboard", "aiohttp": "server", "sklearn": "examples", "opacus": "dp"}
"""Import name → the extra of our own distribution that brings it."""
_PACKAGES = {"zmq": "pyzmq", "grpc": "grpcio", "yaml": "pyyaml", "prompt_toolkit": "prompt-toolkit", "ml_dtypes": "ml-dtypes"}
"""Import name → the package that brings it, of what Sundog needs and is called differently."""


class MalformedTarget(PluginError):
    """A class is named in a form that cannot be one.

    Cause: a typing mistake in `path`, or in what a plugin registers.

    Cure: write package.module.Class or package.module:Class.
    """

    code = "SD-1007"


class ModuleMissing(PluginError):
    """The module in a class path does not exist here.

    Cause: a typing mistake, a package that is not installed, or a file that is missing in the app's custom/ folder.

    Cure: compare the path with the file's place below custom/, or install the package in this environment.
    """

    code = "SD-1008"


class AttributeMissing(PluginError):
    """The module exists, but has no such class in it.

    Cause: a typing mistake in the class name, or a name that stands for something else than a class.

    Cure: take the name from the module named in the message.
    """

    code = "SD-1009"


class LibraryMissing(PluginError):
    """A module was found, but imports another one that is not installed.

    Cause: the component needs a library that this environment lacks; it may be one of Sundog's extras.

    Cure: install the module named in the message.
    """

    code = "SD-1010"


class ImportBroke(PluginError):
    """A module was found, but raised an exception while it was imported.

    Cause: a mistake in that module; the message has its own words and its line.

    Cure: `python -c "import the.module"` in the same environment shows the whole traceback.
    """

    code = "SD-1011"


def import_class(path: str) -> type:
    """The class that `package.module.Class` or `package.module:Class` names.

    Raises:
        MalformedTarget: that cannot be a class path.
        ModuleMissing: there is no such module.
        LibraryMissing: the module imports something that is not installed.
        ImportBroke: the module raised something else.
        AttributeMissing: the module has no such class.
    """
    found = import_object(path)
    if not isinstance(found, type):
        module_name, class_name = split_target(path)
        classes = [name for name, value in vars(import_module(module_name)).items() if isinstance(value, type)]
        got = "no such name" if found is None else with_article(type(found).__name__)
        raise AttributeMissing(
            f"wanted class {class_name} in module {module_name}, got {got}{did_you_mean(class_name, classes)}", where=path
        )
    return found


def import_object(path: str) -> Any:
    """What `package.module:NAME` names, or None if the module has no such name.

    Raises:
        MalformedTarget, ModuleMissing, LibraryMissing, ImportBroke: see `import_class`.
    """
    module_name, name = split_target(path)
    found: Any = import_module(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def split_target(path: str) -> tuple[str, str]:
    """Module and class name of a path in either form.

    Raises:
        MalformedTarget: it has neither form.
    """
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise MalformedTarget(f"wanted package.module.Class or package.module:Class, got {path!r}")
    return module, name


def import_module(name: str) -> Any:
    """The module, whatever goes wrong told apart: see `import_class`."""
    try:
        with _garbage_kept():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ModuleMissing(f"there is no module {missing}", where=name) from error
        raise LibraryMissing(f"module {name} imports {missing}, which is not installed", where=name, cure=_cure(missing)) from error
    except Exception as error:  # a stranger's code
        failure = Failure.of(error)
        raise ImportBroke(f"importing module {name} raised {failure.what} ({failure.where})", where=name) from error


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """No garbage collection meanwhile: what an import makes stays, and a large library is looked through again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _cure(library: str) -> str:
    top = library.partition(".")[0]
    if top == "nvflare":
        return "port the code to Sundog's roles (sundog.Executor, sundog.Filter, …; docs/plugins.md): classes of FLARE cannot run here"
    if top in _PACKAGES:
        return f"pip install {_PACKAGES[top]}"
    if top in _EXTRAS:
        return f'pip install "sundog[{_EXTRAS[top]}]"'
    return f"install the package that brings the module {library} in this environment"
