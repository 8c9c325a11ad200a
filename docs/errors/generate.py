"""What does the page of each error code say? Writes docs/errors/ from the docstrings of the error classes.

A test compares the pages with what this file would write, so run it after adding or changing an error.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import sundog
from sundog.kernel.errors import SundogError

HERE = Path(__file__).resolve().parent
HEADINGS = ("Cause:", "Cure:")


def import_everything() -> list[str]:
    """Import each module of sundog but the programs (`__main__`); their names, in order."""
    names = [module.name for module in pkgutil.walk_packages(sundog.__path__, "sundog.")]
    wanted = sorted(name for name in names if not name.endswith(".__main__"))
    for name in wanted:
        importlib.import_module(name)
    return wanted


def error_classes() -> list[type[SundogError]]:
    """Every error class of ours that declares a code, by code; two with one code stay two."""
    import_everything()
    found: set[type[SundogError]] = set()
    waiting = SundogError.__subclasses__()
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if "code" in vars(kind) and kind.__module__.startswith("sundog."):
            found.add(kind)
    return sorted(found, key=lambda kind: (kind.code, kind.__qualname__))


def page(kind: type[SundogError]) -> str:
    """The page of one error class, in Markdown."""
    blocks = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    prose = [block for block in blocks if not block.startswith(("Args:", "Attributes:"))]
    body = [_emphasised(block) for block in prose]
    branch = kind.__mro__[1]
    origin = f"`{kind.__qualname__}`, a `{branch.__name__}`, declared in `{kind.__module__}`."
    return "\n\n".join([f"# {kind.code}", *body, origin]) + "\n"


def pages() -> dict[str, str]:
    """File name → text of all pages, the table of contents included."""
    kinds = error_classes()
    rows = [f"| [{kind.code}]({kind.code}.md) | {_summary(kind)} |" for kind in kinds]
    head = "# Error codes\n\n`sundog explain SD-1234` prints the page of a code.\n\n| code | what happened |\n|---|---|\n"
    return {"README.md": head + "\n".join(rows) + "\n"} | {f"{kind.code}.md": page(kind) for kind in kinds}


def main() -> None:
    """Write all pages, and remove those whose code is gone."""
    wanted = pages()
    for old in HERE.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (HERE / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted) - 1} error pages in docs/errors")


def _emphasised(block: str) -> str:
    for heading in HEADINGS:
        if block.startswith(heading):
            return f"**{heading[:-1]}.**{block.removeprefix(heading)}"
    return block


def _summary(kind: type[SundogError]) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


if __name__ == "__main__":
    main()
