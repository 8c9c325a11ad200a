"""What the same workloads cost with others: measured once, on a machine of the class named here; they are not run again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from .figures import Figure, number

MEASURED_ON = "2026-11-24, two cores of an AMD EPYC (a virtual machine, 23 GiB, Linux 6.18), Python 3.11.7, numpy 2.4.6, torch 2.13 (CPU)"
ABOUT = (
    "FLARE: NVIDIA FLARE 2.9.0, as it comes unless *tuned* (its intervals set to 0.01 s, its native Executor); its processes speak TLS. "
    "Flower: 1.41.0, as it comes, simulated with ray, its processes in clear. pfl: pfl-research 0.6.0, one process. "
    "BlazeFL: 3.0.0, serial, ported to Python 3.11. The last two simulate in a loop, without messages, isolation or checkpoints. "
    "Medians; memory of a server or a site is that of the whole process."
)


@dataclass(frozen=True)
class Peer:
    """A figure of a peer, in the unit of its row."""

    system: str
    value: float
    note: str = ""

    @property
    def text(self) -> str:
        return f"{self.system} {_exact(self.value)}{f' ({self.note})' if self.note else ''}"


@dataclass(frozen=True)
class Compared:
    """What is compared, in which unit."""

    what: str
    unit: str
    peers: Sequence[Peer]
    unfinished: Sequence[str] = ()
    """Peers that came to no end."""

    def line(self, ours: Sequence[Figure]) -> str:
        """All of them, the fastest (or smallest) first, Sundog in bold in its place."""
        ranked = [(peer.value, peer.text) for peer in self.peers]
        ranked += [(figure.ours, _own(figure)) for figure in ours if figure.ours is not None]
        failed = [f"**Sundog {figure.transport}**: {figure.problem}" for figure in ours if figure.ours is None]
        return " · ".join([*(text for _, text in sorted(ranked)), *self.unfinished, *failed])


PEERS = {
    "W1 simulator": Compared(
        "W1 empty round, simulator", "ms",
        [Peer("BlazeFL", 0.05), Peer("pfl", 0.73), Peer("Flower", 101.7), Peer("FLARE tuned", 572.6), Peer("FLARE", 2502.5)],
    ),
    "W1 processes": Compared(
        "W1 empty round, processes", "ms",
        [Peer("FLARE tuned", 202.7), Peer("FLARE", 2503.6), Peer("Flower", 6177), Peer("Flower, poll 0.02 s", 6236)],
    ),
    "W2 100 MB, simulator": Compared(
        "W2 100 MB round, simulator", "s",
        [Peer("pfl", 0.176), Peer("BlazeFL", 0.258), Peer("Flower", 1.54), Peer("FLARE tuned", 2.17), Peer("FLARE", 4.32)],
    ),
    "W2 100 MB, simulator, memory": Compared(
        "W2 100 MB, simulator, peak memory", "MB",
        [Peer("BlazeFL", 1137), Peer("pfl", 1371), Peer("Flower", 2892), Peer("FLARE", 3490), Peer("FLARE tuned", 3671)],
    ),
    "W2 100 MB, processes": Compared("W2 100 MB round, processes", "s", [Peer("FLARE", 4.3), Peer("Flower", 8.19)]),
    "W2 1 GB, simulator": Compared("W2 1 GB round, simulator", "s", [Peer("Flower", 20.7), Peer("FLARE", 23.6)]),
    "W2 1 GB, simulator, memory": Compared("W2 1 GB, simulator, peak memory", "MB", [Peer("FLARE", 13_341), Peer("Flower", 15_203)]),
    "W2 1 GB, processes": Compared("W2 1 GB round, processes", "s", [Peer("FLARE", 30.5), Peer("Flower", 75.9, "one round")]),
    "W2 1 GB, memory of the server": Compared(
        "W2 1 GB, memory of the server", "models", [Peer("Flower", 5.8, "and 1.8 its superlink"), Peer("FLARE", 6.6, "and 0.5 its parent")],
    ),
    "W2 1 GB, memory of a site": Compared(
        "W2 1 GB, memory of a site", "models", [Peer("FLARE", 3.9), Peer("Flower", 5.0, "and 2.4 its supernode")],
    ),
    "W3 10 sites": Compared(
        "W3 10 virtual sites, whole command", "s",
        [
            Peer("BlazeFL", 1.5), Peer("pfl", 4.0), Peer("Flower", 9.8), Peer("FLARE tuned, 10 threads", 20.4),
            Peer("FLARE, 10 threads", 26.6), Peer("FLARE tuned, 2 threads", 84.7), Peer("FLARE, 2 threads", 98.7),
        ],
    ),
    "W3 10 sites, first task": Compared(
        "W3 10 virtual sites, command to first task", "s",
        [
            Peer("FLARE tuned, 2 threads", 5.4), Peer("FLARE, 2 threads", 6.1), Peer("Flower", 6.1),
            Peer("FLARE tuned, 10 threads", 8.5), Peer("FLARE, 10 threads", 8.7),
        ],
    ),
    "W3 10 sites, round": Compared(
        "W3 10 virtual sites, a round", "s",
        [
            Peer("Flower", 0.104), Peer("FLARE tuned, 10 threads", 0.68), Peer("FLARE, 10 threads", 2.5),
            Peer("FLARE tuned, 2 threads", 14.8), Peer("FLARE, 2 threads", 17.3),
        ],
    ),
    "W3 10 sites, memory": Compared(
        "W3 10 virtual sites, peak memory", "MB",
        [
            Peer("FLARE tuned, 2 threads", 443), Peer("FLARE, 2 threads", 483), Peer("Flower", 707),
            Peer("FLARE tuned, 10 threads", 1118), Peer("FLARE, 10 threads", 1125),
        ],
    ),
    "W3 100 sites": Compared(
        "W3 100 virtual sites, whole command", "s",
        [Peer("BlazeFL", 1.6), Peer("pfl", 4.1), Peer("Flower", 13.2), Peer("FLARE, 8 threads", 257.8)],
        ["FLARE, 100 threads: hung, ended after 420 s"],
    ),
    "W3 100 sites, first task": Compared(
        "W3 100 virtual sites, command to first task", "s",
        [Peer("FLARE, 8 threads", 8.0), Peer("Flower", 8.2), Peer("FLARE, 100 threads", 35.4)],
    ),
    "W3 100 sites, round": Compared("W3 100 virtual sites, a round", "s", [Peer("Flower", 0.43), Peer("FLARE, 8 threads", 48.5)]),
    "W3 100 sites, memory": Compared(
        "W3 100 virtual sites, peak memory", "MB", [Peer("Flower", 732), Peer("FLARE, 8 threads", 792), Peer("FLARE, 100 threads", 6200)],
    ),
    "W3 1000 sites": Compared(
        "W3 1,000 virtual sites, whole command", "s",
        [Peer("BlazeFL", 1.6), Peer("pfl", 4.9), Peer("Flower", 48.5)],
        ["FLARE, 8 threads: 286 of 5,000 tasks when it was ended after 150 s"],
    ),
    "W3 1000 sites, first task": Compared(
        "W3 1,000 virtual sites, command to first task", "s", [Peer("Flower", 7.3), Peer("FLARE, 8 threads", 13.0)],
    ),
    "W3 1000 sites, round": Compared("W3 1,000 virtual sites, a round", "s", [Peer("Flower", 7.53)]),
    "W3 1000 sites, memory": Compared(
        "W3 1,000 virtual sites, peak memory", "MB",
        [Peer("BlazeFL", 264), Peer("pfl", 363), Peer("Flower", 832)],
        ["FLARE, 8 threads: 631 when it was ended"],
    ),
    "W4 simulator, first task": Compared(
        "W4 simulator, command to first task", "s", [Peer("FLARE, its command", 4.99), Peer("FLARE, a recipe", 5.99), Peer("Flower", 8.4)],
    ),
    "W4 processes, start": Compared(
        "W4 start of server and 2 sites", "s", [Peer("Flower", 3.4, "to 7.2; ports open"), Peer("FLARE", 10.8)],
    ),
    "W4 processes, first task": Compared("W4 submit to first task, numpy", "s", [Peer("FLARE", 3.0), Peer("Flower", 6.5)]),
    "W4 processes, end": Compared("W4 last round to end state", "s", [Peer("FLARE", 7.8, "to 10.3")]),
    "W5 simulator": Compared(
        "W5 digits, whole command", "s", [Peer("BlazeFL", 6.5), Peer("pfl", 6.9), Peer("Flower", 23.0), Peer("FLARE", 75.9)],
    ),
}  # fmt: skip
"""Key of a figure → what others need for it."""


def peer_lines(figures: Sequence[Figure]) -> Iterator[tuple[str, str, str]]:
    """What is compared, its unit, and everybody's figures, for each row that has been measured here."""
    for key, compared in PEERS.items():
        ours = [figure for figure in figures if figure.key == key]
        if ours:
            yield compared.what, compared.unit, compared.line(ours)


def peer_table(figures: Sequence[Figure]) -> Table:
    """The table that a terminal shows."""
    table = Table(
        "Beside others", "", "the fastest or smallest first", title=f"Others: {MEASURED_ON}. Sundog: this run.", title_justify="left"
    )
    for what, unit, line in peer_lines(figures):
        table.add_row(what, unit, line.replace("**", ""))
    return table


def peer_markdown(figures: Sequence[Figure]) -> str:
    """The same for docs/performance.md."""
    rows = [f"| {what}, {unit} | {line} |" for what, unit, line in peer_lines(figures)]
    return "\n".join(["| what, unit | the fastest or smallest first |", "|---|---|", *rows])


def _own(figure: Figure) -> str:
    return f"**Sundog{f' {figure.transport}' if figure.transport else ''} {number(figure.ours or 0)}**"


def _exact(value: float) -> str:
    return f"{value:,.10g}"
