"""Compare two source trees with the benchmarks of this one: `python -m benchmarks.compare OLD NEW [--pairs 5] [--rows help,tcp]`.

Each measurement is a process of its own, on the old tree, then on the new one, pair after pair: a machine that others use
drifts, and both trees drift with it. A tree's own .venv is used if it has one. A row is *slower* if its new median is more
than 10 % above the old median and outside the old min…max; what a tree cannot run is left out, and named.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .figures import number
from .machine import describe_machine
from .measures import MEASURES, SLOW, Values
from .program import keep_bytecode

ROOT = Path(__file__).resolve().parent.parent
PAIRS = 5
TOLERANCE = 1.1
DEADLINE_SECONDS = 600.0
"""Per measurement."""
ENDING_SECONDS = 60.0
"""Between Ctrl-C and kill -9: a federation is stopped meanwhile."""


@dataclass
class Compared:
    """A row: one value per pair and tree."""

    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """New median to old median."""
        old = statistics.median(self.old)
        return statistics.median(self.new) / old if old else 1.0

    @property
    def is_slower(self) -> bool:
        """By more than the tolerance, and beyond everything that was measured on the old tree."""
        new = statistics.median(self.new)
        return new > TOLERANCE * statistics.median(self.old) and new > max(self.old)

    def cells(self) -> list[str]:
        """As a row of the table."""
        return [_spread(self.old), _spread(self.new), f"{self.ratio:.2f}", "SLOWER" if self.is_slower else "ok"]


@dataclass
class Comparison:
    """All rows, and the measurements that are left out."""

    rows: dict[str, Compared] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Measurement → why."""

    def add(self, old: Values, new: Values) -> None:
        """One pair of a measurement; a row that only one tree has is left out."""
        for name in old.keys() & new.keys():
            self.rows.setdefault(name, Compared())
            self.rows[name].old.append(old[name])
            self.rows[name].new.append(new[name])
        for name in old.keys() ^ new.keys():
            self.left_out[name] = f"only the {'old' if name in old else 'new'} tree has it"

    def table(self) -> Table:
        table = Table("row", "old (min…max)", "new (min…max)", "new/old", "verdict")
        for name, row in sorted(self.rows.items()):
            table.add_row(name, *row.cells())
        return table


def compare(old: Path, new: Path, names: Sequence[str], pairs: int) -> Comparison:
    """Measure pair after pair; progress goes to stderr."""
    result = Comparison()
    for tree in (old, new):
        for folder in (tree / "src" / "sundog").iterdir():  # links, which compile_dir would not follow by itself
            compileall.compile_dir(folder.resolve(), quiet=2)  # no first run is slow for that
    for pair in range(1, pairs + 1):
        for name in names:
            if name in result.left_out:
                continue
            try:
                result.add(measure(old, name), measure(new, name))
            except TreeCannot as exc:
                result.left_out[name] = str(exc)
            print(f"pair {pair} of {pairs}: {name} {result.left_out.get(name, '')}".rstrip(), file=sys.stderr, flush=True)
    return result


class TreeCannot(RuntimeError):
    """A measurement gives nothing on one of the trees."""


def measure(tree: Path, name: str) -> Values:
    """One measurement on one tree. Raises: TreeCannot."""
    own = tree / ".venv" / "bin" / "python"
    command = [str(own) if own.exists() else sys.executable, "-m", "benchmarks.measures", name]
    keep_bytecode()
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        output, words = _communicate(process, tree)
    if process.returncode:
        raise TreeCannot(f"{tree}: {words.strip().splitlines()[-1] if words.strip() else process.returncode}")
    document = json.loads(output)
    if not Path(document["package"]).is_relative_to(tree / "src"):
        raise TreeCannot(f"{tree}: measured {document['package']}")
    if document["problem"]:
        raise TreeCannot(f"{tree}: {document['problem']}")
    values: Values = document["values"]
    return values


def _communicate(process: subprocess.Popen[str], tree: Path) -> tuple[str, str]:
    try:
        return process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise TreeCannot(f"{tree}: not finished within {DEADLINE_SECONDS:g} s") from None


def _spread(values: Sequence[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))}…{number(max(values))})"


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", type=Path, help="a source tree")
    parser.add_argument("new", type=Path, help="another one")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    default = [name for name in MEASURES if name not in SLOW]
    parser.add_argument("--rows", type=_names, default=default, help=f"of {', '.join(MEASURES)}; default: all but {', '.join(SLOW)}")
    asked = parser.parse_args()
    result = compare(asked.old.resolve(), asked.new.resolve(), asked.rows, asked.pairs)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(describe_machine(), highlight=False)
    console.print(result.table())
    for name, reason in result.left_out.items():
        console.print(f"left out: {name}: {reason}", highlight=False)
    return int(any(row.is_slower for row in result.rows.values()))


if __name__ == "__main__":
    sys.exit(main())
