"""The benchmarks measure what they say: small ones, whose results can be redone by hand. No timing is asserted but T162."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.kernel.blobs import Blob
from sundog.kernel.messages import INLINE_LIMIT_BYTES
from sundog.kits.simulator.simulate import simulate

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture(autouse=True)
def _root_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def part(name: str) -> Any:
    return import_module(f"benchmarks.{name}")


# --- figures ---


def test_a_figure_meets_its_target_or_its_goal_by_its_median() -> None:
    figure = part("figures").Figure

    assert figure("W1 simulator", "round", "ms", [9, 1, 0.5]).met == "yes"
    assert figure("W1 simulator", "round", "ms", [9, 0.1, 0.2]).met == "goal"
    assert figure("W1 simulator", "round", "ms", [4, 4, 0.1]).met == "NO"
    assert figure("W4 help", "help", "s", [9]).met == ""


def test_a_goal_that_is_a_ratio_is_compared_with_the_limit() -> None:
    figure = part("figures").Figure

    assert figure("W5 simulator", "digits", "s", [7], 6.9).met == "goal"
    assert figure("W5 simulator", "digits", "s", [7], 3.5).met == "yes"


def test_what_cannot_be_measured_is_a_row_that_misses_its_target_and_says_why() -> None:
    figures = part("figures")

    def hangs() -> object:
        raise part("program").NotMeasured("not finished within 1 s")

    rows = list(figures.figures_of(hangs, [figures.Row("W3 1000 sites", "1,000 virtual sites", "s", lambda _: [1.0])]))

    assert [row.cells()[1:3] for row in rows] == [["1,000 virtual sites", "not finished within 1 s"]]
    assert rows[0].met == "NO"
    assert rows[0].document()["ours"] is None


def test_every_peer_and_every_target_belongs_to_a_row_that_is_measured() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    measured = {f"W3 {sites} sites{what}" for sites in (10, 100, 1000) for what in ("", ", first task", ", round", ", memory")}
    measured |= {
        f"W2 {size}, {what}"
        for size in ("100 MB", "1 GB")
        for what in ("simulator", "simulator, memory", "processes", "memory of the server", "memory of a site")
    }

    for key in {*part("peers").PEERS, *part("targets").TARGETS} - measured:
        assert f'Row("{key}"' in sources, key


def test_peers_are_listed_from_the_fastest_on_with_ours_in_its_place() -> None:
    ours = part("figures").Figure("W1 simulator", "empty round", "ms", [2.0])

    ((what, unit, line),) = part("peers").peer_lines([ours])

    assert (what, unit) == ("W1 empty round, simulator", "ms")
    assert line == "BlazeFL 0.05 · pfl 0.73 · **Sundog 2.00** · Flower 101.7 · FLARE tuned 572.6 · FLARE 2,502.5"


def test_the_page_takes_new_figures_and_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    figure = part("figures").Figure("W1 simulator", "empty round", "ms", [2.0], 0.5)

    for _ in range(2):  # the second time finds its own markers
        part("page").write_page(page, "a machine", [figure])

    text = page.read_text(encoding="utf-8")
    assert text.count("| W1 | empty round | 2.00 ms | 0.500 | 4.00 × | ≤ 3; goal ≤ 0.7 | yes |") == 1
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]


# --- the limit ---


def test_the_raw_limit_serves_any_number_of_clients() -> None:
    size = part("noop_job").Size("more than a socket buffer holds", 1, 2_000_000)

    assert len(part("raw").raw_rounds(size, 3, clients=3)) == 3
    assert len(part("raw").plain_rounds(size, 3)) == 3


def test_the_raw_limit_takes_the_mean() -> None:
    model = np.zeros(300_000, np.float32)

    part("raw")._mean([np.full(300_000, value, np.float32) for value in (1, 2, 6)], model)

    np.testing.assert_array_equal(model, np.full(300_000, 3, np.float32))


# --- what is measured ---


def test_a_model_too_large_for_messages_goes_round_and_its_times_are_noted(tmp_path: Path) -> None:
    jobs = part("noop_job")
    size = jobs.Size("just a file", 2, 10_000)
    job = jobs.write_noop_job(tmp_path / "job", size, rounds=3, sites=2)

    report = simulate(job, sites=2, workspace=tmp_path / "simulation")

    assert size.size_bytes > INLINE_LIMIT_BYTES
    assert report.status == "FINISHED:COMPLETED"
    times = jobs.take_times(job)
    assert len(times.per_round) == 2
    assert times.first_task < times.rounds[0]
    model = Blob.open(Path(report.model_path))
    np.testing.assert_array_equal(model.array("layer_1"), np.full(10_000, 4.5, np.float32))  # 3 rounds, each with the mean of 1 and 2


def test_a_round_of_real_processes_needs_less_than_50_milliseconds() -> None:
    """T162: tasks are pushed; a round is two hand-overs and all that is between them."""
    processes = part("processes")

    done = processes.measure_processes(2, "tcp", processes.Plan([20]))

    assert statistics.median(done.small_round_seconds) < 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much of a process's memory is its own (RssAnon)")
def test_idle_memory_start_end_and_growth_of_real_processes_are_measured() -> None:
    processes, jobs = part("processes"), part("noop_job")

    done = processes.measure_processes(2, "tcp", processes.Plan([2, 2], jobs.Size("a file", 1, 100_000), 2))

    assert set(done.idle_mb) == set(done.grown_mb) == {"server", "site-1"}
    assert min(done.idle_mb.values()) > 1
    assert [len(done.submit_seconds), len(done.end_seconds), len(done.large_round_seconds)] == [2, 2, 1]


def test_a_simulation_that_does_not_end_in_time_is_ended_and_named() -> None:
    jobs, simulated = part("noop_job"), part("simulated")

    with pytest.raises(part("program").NotMeasured, match=r"not finished within 1 s"):
        simulated.simulate_noop(jobs.SMALL, rounds=1_000_000, sites=2, deadline_seconds=1)


def test_start_up_is_measured_with_the_programs_themselves() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks", "w4", "--json"], cwd=ROOT, capture_output=True, text=True, check=True)

    figures = json.loads(done.stdout)["figures"]
    assert {"sundog --help", "submit to first task, numpy job, tcp"} <= {figure["what"] for figure in figures}
    assert [figure["problem"] for figure in figures if figure["problem"]] == []


# --- two trees ---


def test_a_row_is_slower_only_beyond_ten_per_cent_and_all_that_was_measured_before() -> None:
    compared = part("compare").Compared

    assert compared([1.0, 1.0, 1.3], [1.2, 1.2, 1.2]).is_slower is False
    assert compared([1.0, 1.0, 1.3], [1.4, 1.4, 1.0]).is_slower is True
    assert compared([1.0, 1.0, 1.01], [1.05, 1.05, 1.05]).is_slower is False
    assert compared([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]).is_slower is False


def test_a_row_that_only_one_tree_has_is_left_out_and_named() -> None:
    comparison = part("compare").Comparison()

    comparison.add({"both": 1.0, "old": 1.0}, {"both": 2.0, "new": 1.0})

    assert list(comparison.rows) == ["both"]
    assert comparison.left_out == {"old": "only the old tree has it", "new": "only the new tree has it"}


def test_two_trees_are_measured_each_with_its_own_package(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A tree without an environment of its own is imported from its folder."""
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / "src" / "sundog").symlink_to(ROOT / "src" / "sundog")
    compare = part("compare")

    result = compare.compare(tree, tree, ["help", "simulator"], 1)

    assert result.left_out == {}
    assert set(result.rows) >= {"W4 sundog --help, s", "W1 simulator: empty round, ms"}
    assert capsys.readouterr().err.splitlines() == ["pair 1 of 1: help", "pair 1 of 1: simulator"]


def test_what_a_tree_cannot_run_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "src" / "sundog").mkdir(parents=True)
    (tmp_path / "src" / "sundog" / "__init__.py").write_text("", encoding="utf-8")

    result = part("compare").compare(tmp_path, ROOT, ["help"], 2)

    assert result.rows == {}
    assert str(tmp_path) in result.left_out["help"]
