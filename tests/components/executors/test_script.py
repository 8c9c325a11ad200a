"""A plain training script takes its tasks from `sundog.site()`, in whichever of the two ways it is run."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sundog
from sundog import Context, Kind, Shareable, Task
from sundog.components.executors.script import ScriptExecutor, ScriptExited, ScriptMissing
from sundog.components.executors.script_site import EndedEarly, NoRun, NothingSent, OutOfTurn, TaskSource
from sundog.components.seeding import seed_generators
from sundog.components.trackers.metrics_log import MetricsLog, read_metrics
from sundog.kernel.context import RunAborted, current_context, derive_seed
from sundog.kernel.errors import Failure

LOOP = """
import sundog
with sundog.site() as site:
    for task in site.tasks():
        {body}
"""
PLUS_ONE = "site.send({'w': task.model.tensors['w'] + 1}, num_examples=5, metrics={'loss': 0.5})"

Script = Callable[[str], Path]
Play = Callable[[Path, list[Task]], list[Shareable]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes the body of a script's loop into an app's custom/ folder; gives the run's folder."""

    def write(body: str) -> Path:
        custom = tmp_path / "app" / "custom"
        custom.mkdir(parents=True, exist_ok=True)
        (custom / "train.py").write_text(body if "import" in body else LOOP.format(body=body.replace("\n", "\n        ")))
        return tmp_path

    return write


def weights(value: float = 0) -> Shareable:
    return Shareable(Kind.WEIGHTS, {"w": np.full(3, value)})


def tasks(count: int = 2) -> list[Task]:
    return [Task("train", weights(step), step=step) for step in range(count)]


def context(folder: Path, step: int = -1, site: str = "site-1") -> Context:
    return Context(run_id="run-1", site=site, step=step, seed=derive_seed(0, site, step), folder=folder)


class Listed(TaskSource):
    """Tasks from a list, seeded as the runtime does."""

    def __init__(self, folder: Path, given: list[Task], site: str = "site-1") -> None:
        self.folder, self.given, self.site = folder, list(given), site
        self.answers: list[Shareable] = []

    def next(self) -> tuple[Task, Context] | None:
        if not self.given:
            return None
        task = self.given.pop(0)
        ctx = context(self.folder, task.step, self.site)
        seed_generators(ctx.seed)
        return task, ctx

    def answer(self, result: Shareable) -> None:
        self.answers.append(result)


class Chained(Listed):
    """Each task after the first brings the result of the one before."""

    def next(self) -> tuple[Task, Context] | None:
        given = super().next()
        return given and (replace(given[0], model=self.answers[-1] if self.answers else None), given[1])


def started(folder: Path) -> ScriptExecutor:
    executor = ScriptExecutor("train.py", ["--fast"])
    executor.start(context(folder))
    return executor


def by_drive(folder: Path, given: list[Task]) -> list[Shareable]:
    source = Listed(folder, given)
    started(folder).drive(source)
    return source.answers


def by_execute(folder: Path, given: list[Task]) -> list[Shareable]:
    executor, source = started(folder), Listed(folder, given)
    while (one := source.next()) is not None:
        source.answer(executor.execute(*one))
    executor.stop(context(folder))
    return source.answers


@pytest.fixture(params=[by_drive, by_execute], ids=["its own thread's", "with a baton"])
def play(request: pytest.FixtureRequest) -> Play:
    played: Play = request.param
    return played


# --- what a script can do ---


def test_five_lines_are_enough(script: Script, play: Play) -> None:
    """T177: each task is answered with weights, their weight in a mean, and metrics."""
    first, second = play(script(PLUS_ONE), tasks(2))

    assert (first.kind, first.tensors["w"].tolist(), second.tensors["w"].tolist()) == (Kind.WEIGHTS, [1, 1, 1], [2, 2, 2])
    assert (first.num_examples, first.metrics) == (5, {"loss": 0.5})


def test_it_knows_where_it_is(script: Script, play: Play) -> None:
    body = "note = f'{site.run_id} {task.step} {bool(site.abort)} {site}'\nsite.send(sundog.Shareable('MODEL', meta={'note': note}))"

    [result] = play(script(body), tasks(1))

    assert result.meta["note"] == "run-1 0 False <Site 'site-1', run 'run-1', train task in hand>"


def test_it_finds_its_arguments_its_name_and_its_neighbours(script: Script, play: Play) -> None:
    folder = script(
        "import sys, sundog\nfrom neighbour import VALUE\nassert __name__ == '__main__' and sys.modules['__main__'].VALUE == 7\n"
        "assert sys.argv[0] == __file__ and sys.argv[1:] == ['--fast']\n"
        "for task in sundog.site().tasks(): sundog.site().send(metrics={'value': VALUE})"
    )
    (folder / "app/custom/neighbour.py").write_text("VALUE = 7")
    before = sys.argv, sys.modules["__main__"], list(sys.path)

    [result] = play(folder, tasks(1))

    assert (result.kind, result.metrics) == (Kind.METRICS, {"value": 7})
    assert (sys.argv, sys.modules["__main__"], sys.path) == before
    del sys.modules["neighbour"]


def test_state_survives_to_the_next_task(script: Script, tmp_path: Path) -> None:
    body = (
        "site.state = sundog.Shareable('ANALYTIC', meta={'seen': site.state.meta['seen'] + 1 if site.state else 1})\nsite.send(site.state)"
    )
    executor = started(script(body))
    first, second = context(tmp_path, 0), context(tmp_path, 1)

    executor.execute(Task("train"), first)
    second.state = first.state
    result = executor.execute(Task("train"), second)
    executor.stop(second)

    assert result.meta["seen"] == 2
    assert current_context().site == ""


def test_metrics_go_with_the_rounds_number(script: Script, tmp_path: Path) -> None:
    body = "site.add_scalar('a', 1)\nsite.add_scalars('b', {'x': 2}, 9)\nsite.add_text('c', 'words')\nsite.send(metrics={})"
    executor, ctx = started(script(body)), context(tmp_path, 3)
    ctx.metrics = MetricsLog(tmp_path / "metrics.jsonl")

    executor.execute(Task("train"), ctx)
    executor.stop(ctx)

    found, _ = read_metrics(tmp_path / "metrics.jsonl", 0, "site-1")
    assert [(metric.tag, metric.value, metric.step) for metric in found] == [("a", 1, 3), ("b", {"x": 2}, 9), ("c", "words", 3)]


def test_torch_weights_go_in_and_out(script: Script, play: Play) -> None:
    body = (
        "import torch\nnet = torch.nn.Linear(2, 1)\nnet.load_state_dict(site.state_dict(task.model))\n"
        "site.send(net.state_dict())\nnet.bias.data += 1"
    )
    model = Shareable(Kind.WEIGHTS, {"weight": np.array([[1, 2]], np.float32), "bias": np.array([3], np.float32)})

    [result] = play(script(LOOP.format(body=body.replace("\n", "\n        "))), [Task("train", model, step=0)])

    assert result == model


def test_a_kind_can_be_named_and_a_shareables_meta_completed(script: Script, play: Play) -> None:
    body = (
        "site.send({'w': [1.0]}, kind='WEIGHT_DIFF') if task.step else "
        "site.send(sundog.Shareable('WEIGHTS', {'w': [1.0]}, {'note': 'x'}), num_examples=2)"
    )

    first, second = play(script(body), tasks(2))

    assert first.meta == {"note": "x", "num_examples": 2}
    assert second.kind is Kind.WEIGHT_DIFF


def test_it_may_end_after_the_last_task(script: Script, play: Play) -> None:
    assert len(play(script(f"{PLUS_ONE}\nif task.step == 1: raise SystemExit"), tasks(2))) == 2


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (f"{PLUS_ONE}\n{PLUS_ONE}", OutOfTurn, "sent after the result of task 'train', step 0, was sent"),
        (f"{PLUS_ONE}\nsite.state = task.model", OutOfTurn, "set site.state after the result"),
        ("pass", NothingSent, "wanted a result of task 'train', step 0, got none"),
        ("break", NothingSent, "wanted a result of task 'train', step 0, got none"),
        (f"{PLUS_ONE}\nbreak", EndedEarly, "wanted a result of task 'train', step 1, got the end of the script"),
        ("import sundog", EndedEarly, "wanted a result of task 'train', step 0, got the end of the script"),
        ("import sundog\nsundog.site().send({})", OutOfTurn, "sent without a task in hand"),
        ("import sys; sys.exit('no data')", ScriptExited, r"train.py: sys.exit\('no data'\)"),
    ],
    ids=["twice", "state too late", "never", "broke off before", "broke off after", "no loop", "too early", "gave up"],
)
def test_a_mistake_has_a_code_and_a_cure(script: Script, play: Play, body: str, error: type[sundog.SundogError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        play(script(body), tasks(2))

    assert caught.value.cure


def test_what_is_out_of_turn_is_told_with_the_scripts_own_line(script: Script, play: Play) -> None:
    folder = script(f"{PLUS_ONE}\n{PLUS_ONE}")

    with pytest.raises(OutOfTurn) as caught:
        play(folder, tasks(1))

    lines = (folder / "app" / "custom" / "train.py").read_text().splitlines()
    second = max(number for number, line in enumerate(lines, 1) if "site.send" in line)
    assert Failure.of(caught.value).where.endswith(f"train.py:{second}")


def test_an_exception_comes_out_with_the_scripts_own_line(script: Script, play: Play) -> None:
    folder = script("raise KeyError('age')")

    with pytest.raises(KeyError, match="age") as caught:
        play(folder, tasks(1))

    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(folder / "app/custom/train.py"), 5)


def test_after_its_end_a_script_gives_nothing_more(script: Script, tmp_path: Path) -> None:
    executor, ctx = started(script("raise KeyError('age')")), context(tmp_path, 0)
    with pytest.raises(KeyError):
        executor.execute(tasks()[0], ctx)

    with pytest.raises(EndedEarly, match="got a script that is over"):
        executor.execute(tasks()[1], ctx)
    executor.stop(ctx)


def test_a_missing_script_is_named(tmp_path: Path, play: Play) -> None:
    with pytest.raises(ScriptMissing, match=r"wanted a file 'train\.py' in the app's custom/ folder"):
        play(tmp_path, tasks(1))


def test_outside_of_a_run_there_is_no_site() -> None:
    with pytest.raises(NoRun) as caught:
        sundog.site()

    assert "sundog simulate JOB -n 2" in caught.value.cure


LEAVING = """
import pathlib, sundog
try:
    for task in sundog.site().tasks():
        sundog.site().send(metrics={})
except sundog.SundogError as error:
    pathlib.Path(__file__).with_name("left").write_text(str(error))
    raise
"""


def test_an_abort_ends_the_script_where_it_waits(script: Script, tmp_path: Path) -> None:
    executor, ctx = started(script(LEAVING)), context(tmp_path, 0)
    executor.execute(tasks()[0], ctx)

    ctx.abort.set("by admin")
    executor.stop(ctx)

    assert (tmp_path / "app/custom/left").read_text() == "[SD-4001] by admin"


def test_an_abort_in_the_middle_of_a_task_leaves_at_the_scripts_next_check(script: Script, tmp_path: Path) -> None:
    executor, ctx = started(script("while True: site.abort.check()")), context(tmp_path, 0)
    threading.Timer(0.05, ctx.abort.set, ["by admin"]).start()

    with pytest.raises(RunAborted, match="by admin"):
        executor.execute(tasks()[0], ctx)


# --- the two ways give the same ---

TRAINING = """
import random, numpy, torch, sundog
net = torch.nn.Linear(8, 1)
data = torch.randn(64, 8) + numpy.random.rand() + random.random()
with sundog.site() as site:
    for task in site.tasks():
        if task.step: net.load_state_dict(site.state_dict(task.model))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1 * random.random())
        for batch in torch.randperm(64).split(16):
            optimizer.zero_grad()
            loss = (net(data[batch]) - site.rng.random()).square().mean()
            loss.backward()
            optimizer.step()
        site.send(net.state_dict(), num_examples=64, metrics={"loss": loss.item()})
"""
SUBPROCESS = """
import sys
from pathlib import Path
from sundog import Task
from test_script import Chained, started
assert "torch" not in sys.modules
source = Chained(Path(sys.argv[1]), [Task("train", step=step) for step in range(3)])
started(source.folder).drive(source)
print(*[result.blob().sha256 for result in source.answers])
"""


def test_in_process_and_sub_process_give_equal_weights(script: Script) -> None:
    """T177: bit for bit, though here another site's script takes turns, and there torch is imported by the script only."""
    import torch

    folder = script(TRAINING)
    sites = {
        site: (started(folder), Chained(folder, [Task("train", step=step) for step in range(3)], site)) for site in ("site-1", "site-2")
    }
    for _ in range(3):
        for executor, source in sites.values():
            task, ctx = source.next() or pytest.fail("no task")
            source.answer(executor.execute(task, ctx))
    for executor, _ in sites.values():
        executor.stop(context(folder))
    here = {site: [result.blob().sha256 for result in source.answers] for site, (_, source) in sites.items()}

    environment = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", SUBPROCESS, str(folder)]
    there = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert there.stderr == ""
    assert there.stdout.split() == here["site-1"] != here["site-2"]


@pytest.mark.parametrize("value", ["torch.ones(1, requires_grad=True).mean()", "numpy.float32(1)", "1"])
def test_a_metric_may_be_a_loss_as_it_comes_out_of_torch(script: Script, play: Play, value: str) -> None:
    """Without a warning about its gradient that would name our line."""
    loop = f"for task in sundog.site().tasks(): sundog.site().send(metrics={{'loss': {value}}})"
    [result] = play(script(f"import numpy, torch, sundog\n{loop}"), tasks(1))

    assert result.metrics == {"loss": 1.0}
