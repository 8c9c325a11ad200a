"""Whole jobs in the simulator: server, sites, links and journal are the real ones."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.kits.protocol.answers import JobReport
from sundog.kits.server.server import Server
from sundog.kits.simulator import simulate as simulator
from sundog.kits.simulator.simulate import TooFewVirtualSites, VirtualSiteRefused, simulate
from sundog.kits.workspace.job_folder import JobRefused
from sundog.kits.workspace.kit import Limits

from .jobs import NUMPY, JobFolder, custom, executor, training

ROOT = Path(__file__).resolve().parents[2]
FLARE = ROOT / "tests/data/flare21"
COMPLETED, FAILED, ABORTED = "FINISHED:COMPLETED", "FINISHED:EXECUTION_EXCEPTION", "FINISHED:ABORTED"


def run(job: JobFolder | Path, workspace: Path, **arguments: Any) -> JobReport:
    return simulate(job.write() if isinstance(job, JobFolder) else job, workspace=workspace, **arguments)


def model_of(report: JobReport) -> np.ndarray[Any, Any]:
    found = Path(report.model_path).parent
    array: np.ndarray[Any, Any] = np.load(found / "server.npy")
    return array


def run_folder(workspace: Path, participant: str) -> Path:
    (folder,) = (workspace / participant / "runs").iterdir()
    return folder


# --- jobs of FLARE, and ours ---


def test_hello_numpy_sag_of_flare_runs_unchanged(tmp_path: Path) -> None:
    """T037, T038, T115, T155 (inproc): an app folder without meta.json; three rounds, two sites, the 3×3 model is 1…9 plus 3."""
    report = run(FLARE / "hello-numpy-sag", tmp_path)

    assert report.status == COMPLETED, report
    assert report.name == "hello-numpy-sag"
    assert [done.used for done in report.rounds] == [["site-1", "site-2"]] * 3
    np.testing.assert_array_equal(model_of(report), np.arange(1, 10, dtype=np.float32).reshape(3, 3) + 3)


@pytest.mark.parametrize("example", ["hello-numpy", "script-api"])
def test_an_example_completes(tmp_path: Path, example: str) -> None:
    """T179; script-api: T177."""
    report = run(ROOT / "examples" / example, tmp_path)

    assert report.status == COMPLETED, report
    assert Path(report.model_path).is_file()


def test_the_torch_example_learns_and_writes_its_charts(tmp_path: Path) -> None:
    """T179, T117, T122: training, then every model at every site; accuracy on held-out data; event files of each site."""
    report = run(ROOT / "examples/hello-pt-tb", tmp_path)

    assert report.status == COMPLETED, report
    assert (report.metrics["accuracy"] or 0) >= 0.90
    folder = run_folder(tmp_path, "server")
    assert sorted(path.name for path in (folder / "tb_events").iterdir()) == ["site-1", "site-2"]
    matrix = json.loads((folder / "cross_site_val/cross_val_results.json").read_text())
    assert all(set(row) >= {"site-1", "site-2"} for row in matrix.values())
    assert report.faults == []


def test_each_site_gets_its_own_app_only_though_their_modules_have_one_name(tmp_path: Path) -> None:
    """T040."""
    job = JobFolder(tmp_path / "job")
    code = "from sundog import Executor, Shareable\n\nclass Add(Executor):\n    def execute(self, task, ctx):\n"
    code += "        return task.model.replace(tensors={n: a + %s for n, a in task.model.tensors.items()}, meta={'num_examples': 1})\n"
    client = {"executors": [executor(custom("Add"))]}
    job.write_app("one", job.server, client, code % 1)
    job.write_app("two", None, client, code % 3)
    meta = {"deploy_map": {"one": ["server", "site-1"], "two": ["site-2"]}}
    (job.root / "meta.json").write_text(json.dumps(meta))

    report = run(job.root, tmp_path / "w")

    assert report.status == COMPLETED, report
    assert model_of(report)[0, 0] == 1 + 2 + 2  # the mean of 1 and 3, twice
    assert "+ 1" in (run_folder(tmp_path / "w", "site-1") / "app/custom/code_e2e.py").read_text()
    assert "+ 3" in (run_folder(tmp_path / "w", "site-2") / "app/custom/code_e2e.py").read_text()
    assert not (run_folder(tmp_path / "w", "site-2") / "app/config/config_fed_server.json").exists()


def test_models_of_more_than_64_kib_travel_as_files(tmp_path: Path) -> None:
    """Tasks, results and states lie in in/ and out/, and the evaluation sends a site's model to the others."""
    code = """
import numpy as np
from sundog import Kind, Persistor, Shareable

class Big(Persistor):
    def load(self):
        return Shareable(Kind.WEIGHTS, {"w": np.zeros(50_000, np.float32), "b": np.ones(3)})

    def save(self, model, name=""):
        assert model.tensors["w"][0] == 3
"""
    evaluation = {"id": "eval", "name": "CrossSiteModelEval"}
    executors = [executor(NUMPY, "train", "submit_model"), executor({"name": "NPValidator"}, "validate")]
    job = JobFolder(tmp_path / "job", [training(3, persistor_id="big"), evaluation], executors, components=[custom("Big") | {"id": "big"}])
    job.code = code

    report = run(job, tmp_path / "w", sites=3)

    assert report.status == COMPLETED, report
    assert Path(report.model_path).stat().st_size > 200_000
    assert list((tmp_path / "w" / "server" / "state" / "blobs").rglob("*.*")) == []


def test_a_model_that_does_not_change_is_sent_again_and_again(tmp_path: Path) -> None:
    """Its file at a site goes with a verdict just as the next task asks for the same one."""
    code = "import numpy as np\nfrom sundog import Kind, Shareable, Task, Workflow\n\nclass Same(Workflow):\n    def run(self, run):\n"
    code += "        model = Shareable(Kind.WEIGHTS, {'w': np.zeros(50_000)})\n        for step in run.steps(8):\n"
    code += "            list(run.scatter(Task('train', model)))\n            run.commit(model)\n"
    job = JobFolder(tmp_path / "job", [{"id": "same", **custom("Same")}], code=code)

    assert run(job, tmp_path / "w").status == COMPLETED


# --- what a job may be made of ---

TRACE = """
from sundog import Executor, Filter, Key, Kind, Shareable, Task, Workflow, observe

HOPS = Key("hops", str)
SEEN = Key("seen", str)

class Probe(Filter):
    def __init__(self, name: str):
        self.name = name

    def process(self, shareable, ctx):
        ctx.shared[HOPS] = (ctx.shared.get(HOPS) or "") + f"{self.name}@{ctx.site} "
        return shareable

class Nothing(Executor):
    def execute(self, task, ctx):
        count = ctx.state.meta["count"] + 1 if ctx.state else 1
        ctx.state = Shareable("MODEL", meta={"count": count})
        meta = {"count": count, "local": ctx.local.get(SEEN), "num_examples": 1}
        ctx.local[SEEN] = "yes"
        return Shareable("WEIGHTS", task.model.tensors, meta)

class Trace(Workflow):
    def run(self, run):
        lines = []
        for step in run.steps(2):
            for result in run.scatter(Task("train", Shareable("WEIGHTS", {"w": [1.0]}))):
                meta = result.shareable.meta
                lines.append(f"{result.site} {result.shared['hops']}count {meta['count']} local {meta['local']}")
            run.commit(metrics={"step": step})
        (run.context.folder / "trace.txt").write_text("\\n".join(lines))
"""


def test_filters_act_in_both_directions_on_both_sides_and_the_three_contexts_live_as_long_as_they_should(tmp_path: Path) -> None:
    """T046: server-out, client-in, client-out, server-in. T143: shared travels there and back, state stays, local dies."""
    job = JobFolder(tmp_path / "job", [{"id": "trace", **custom("Trace")}], [executor(custom("Nothing"))], code=TRACE)
    names = {"task_data_filters": ("server-out", "client-in"), "task_result_filters": ("server-in", "client-out")}
    for key, (at_server, at_site) in names.items():
        for config, name in ((job.server, at_server), (job.client, at_site)):
            config[key] = [{"tasks": ["train"], "filters": [custom("Probe", name=name)]}]

    report = run(job, tmp_path / "w")

    assert report.status == COMPLETED, report
    trace = (run_folder(tmp_path / "w", "server") / "trace.txt").read_text().split("\n")
    hops = "server-out@server client-in@{0} client-out@{0} server-in@server"
    assert trace == [f"{s} {hops.format(s)} count {n} local None" for n in (1, 2) for s in ("site-1", "site-2")]


KINDS = """
import numpy as np
from sundog import Executor, Kind, Shareable, Task, Workflow

def examples():
    array = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 2)), "point": np.array(7)}
    plain = [Shareable(kind, array, {"deep": {"list": [1, None, "ü", float("inf")]}}) for kind in Kind if kind is not Kind.COLLECTION]
    return [*plain, Shareable.collection({"one": plain[0], "two": plain[1]})]

class Echo(Executor):
    def execute(self, task, ctx):
        return task.model

class Kinds(Workflow):
    def run(self, run):
        for _ in run.steps(1):
            for sent in examples():
                for result in run.scatter(Task("train", sent)):
                    assert result.shareable == sent, (result.shareable, sent)
            run.commit()
"""


def test_every_kind_goes_there_and_back_unchanged(tmp_path: Path) -> None:
    """T144, on inproc: six kinds, also empty and 0-d tensors and nested meta."""
    job = JobFolder(tmp_path / "job", [{"id": "kinds", **custom("Kinds")}], [executor(custom("Echo"))], code=KINDS)

    assert run(job, tmp_path / "w").status == COMPLETED


def test_a_workflow_of_twenty_lines(tmp_path: Path) -> None:
    """T123: a plain class in custom/, nothing else."""
    code = '''
from sundog import Task, Workflow

class Cyclic(Workflow):
    """The model goes from site to site."""

    def __init__(self, persistor: object, rounds: int = 2):
        self.persistor = persistor
        self.rounds = rounds

    def run(self, run):
        model = run.state or self.persistor.load()
        for step in run.steps(self.rounds):
            for site in run.sites:
                model = run.wait(run.send(Task("train", model), site)).shareable
            run.commit(model, {"first": float(model.tensors["numpy_key"][0, 0])})
        self.persistor.save(model)
'''
    workflow = {"id": "cyclic", **custom("Cyclic", persistor={"ref": "persistor"})}

    report = run(JobFolder(tmp_path / "job", [workflow], code=code), tmp_path / "w", sites=3)

    assert report.status == COMPLETED, report
    assert [done.own_metrics["first"] for done in report.rounds] == [4, 7]
    assert model_of(report)[0, 0] == 7


def test_federated_averaging_is_the_mean_weighted_by_examples(tmp_path: Path) -> None:
    """T124: by hand, (1·1 + 3·2 + 8·9) / (1 + 3 + 8) = 79 / 12 above the initial 1."""
    code = """
from sundog import Executor, Shareable

class Uneven(Executor):
    def execute(self, task, ctx):
        count, delta = {"site-1": (1, 1), "site-2": (3, 2), "site-3": (8, 9)}[ctx.site]
        return Shareable("WEIGHTS", {n: a + delta for n, a in task.model.tensors.items()}, {"num_examples": count, "metrics": {"d": delta}})
"""
    report = run(JobFolder(tmp_path / "job", [training(1)], [executor(custom("Uneven"))], code=code), tmp_path / "w", sites=3)

    assert model_of(report)[0, 0] == pytest.approx(1 + 79 / 12, abs=1e-6)
    assert report.rounds[0].metrics == {"site-1": {"d": 1}, "site-2": {"d": 2}, "site-3": {"d": 9}}


def test_the_events_of_each_round_come_in_order(tmp_path: Path) -> None:
    """T141, T045: two observers of one class, each told of everything."""
    code = """
from pathlib import Path
from sundog import observe
from sundog.kernel.context import current_context

HOOKS = (
    "run_started workflow_started step_started initial_model_loaded before_task_sent after_task_sent result_received result_accepted "
    "before_aggregation after_aggregation model_updated before_commit after_commit step_ended before_model_saved after_model_saved "
    "workflow_ended run_ended"
)

class Watch:
    def __init__(self, name: str):
        self.name = name

    def note(self, hook):
        with (current_context().folder / self.name).open("a") as file:
            file.write(hook + "\\n")

def noting(hook):
    return observe(lambda self: self.note(hook), specname=hook)

for hook in HOOKS.split():
    setattr(Watch, hook, noting(hook))
"""
    watchers = [{"id": name, **custom("Watch", name=name)} for name in ("a.txt", "b.txt")]
    report = run(JobFolder(tmp_path / "job", [training(2)], components=watchers, code=code), tmp_path / "w", sites=1)

    assert (report.status, report.faults) == (COMPLETED, []), report
    a, b = ((run_folder(tmp_path / "w", "server") / name).read_text().split() for name in ("a.txt", "b.txt"))
    step = "step_started before_task_sent after_task_sent result_received result_accepted before_aggregation after_aggregation "
    step += "model_updated before_commit after_commit step_ended"
    ends = "before_model_saved after_model_saved workflow_ended run_ended"
    assert a == b
    assert " ".join(a) == f"run_started workflow_started initial_model_loaded {step} {step} {ends}"


# --- the same seed, the same bits ---

RANDOM = """
import random
import numpy as np
from sundog import Executor, Shareable

class Noise(Executor):
    def __init__(self):
        self.offset = random.random()

    def execute(self, task, ctx):
        noise = self.offset + random.random() + np.random.rand() + ctx.rng.random()
        return Shareable("WEIGHTS", {n: a + noise for n, a in task.model.tensors.items()}, {"num_examples": 1})
"""


def test_a_seed_decides_every_bit(tmp_path: Path) -> None:
    """T174 in part: the same seed gives the same model, another seed another one."""
    job = JobFolder(tmp_path / "job", [training(3)], [executor(custom("Noise"))], code=RANDOM).write()

    first, second, other = (run(job, tmp_path / str(number), sites=3, seed=seed) for number, seed in enumerate((7, 7, 8)))

    assert first.model_sha256 == second.model_sha256 != ""
    assert other.model_sha256 != first.model_sha256


# --- what goes wrong ---


def failing(root: Path, body: str, **more: Any) -> JobFolder:
    code = "import numpy as np\nfrom sundog import Executor, Shareable\n\nclass Trainer(Executor):\n    def execute(self, task, ctx):\n"
    code += f"        {body}\n"
    return JobFolder(root, [training(2, **more)], [executor(custom("Trainer"))], code=code)


def test_a_trainer_that_raises_is_named_with_its_line(tmp_path: Path) -> None:
    """The submitter sees code, site and the line of the user's own file, as it lies in the job."""
    report = run(failing(tmp_path / "job", "raise ValueError('no data')"), tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.site, report.failure.what) == ("SD-4090", "site-1", "ValueError: no data")
    assert report.failure.where == "custom/code_e2e.py:6"
    assert "custom/code_e2e.py:6" in report.reason


@pytest.mark.parametrize("status", [0, 3])
def test_a_trainer_that_exits_has_failed(tmp_path: Path, status: int) -> None:
    report = run(failing(tmp_path / "job", f"raise SystemExit({status})"), tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.what, report.failure.where) == (f"SystemExit: {status}", "custom/code_e2e.py:6")


def test_a_site_that_fails_can_be_done_without_and_the_end_says_so(tmp_path: Path) -> None:
    body = "return task.model.replace(meta={'num_examples': 1}) if ctx.site == 'site-1' else 1 / 0"
    policy = {"name": "SitesPolicy", "args": {"require": 1}}

    report = run(failing(tmp_path / "job", body, policy=policy), tmp_path / "w")

    assert (report.status, report.reason) == ("FINISHED:DEGRADED", "without site-2 in some steps")
    assert [(done.used, list(done.rejected)) for done in report.rounds] == [(["site-1"], ["site-2"])] * 2
    assert "ZeroDivisionError: division by zero" in report.rounds[0].rejected["site-2"]


@pytest.mark.parametrize("site", ["site-1", "site-2"])
def test_a_panic_ends_the_job_with_its_reason_whatever_the_policy(tmp_path: Path, site: str) -> None:
    """T146."""
    body = f"if ctx.site == {site!r}: ctx.panic('the disk smokes')\n        return task.model.replace(meta={{'num_examples': 1}})"
    policy = {"name": "SitesPolicy", "args": {"require": 1, "on_missing": "continue"}}

    report = run(failing(tmp_path / "job", body, policy=policy), tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.what, report.failure.site) == ("SD-4002", "the disk smokes", site)
    assert "the disk smokes" in report.reason


def test_a_weight_that_is_no_number_is_refused_by_site_and_tensor(tmp_path: Path) -> None:
    body = "n = float('nan') if ctx.site == 'site-2' else 1.0\n"
    body += "        return Shareable('WEIGHTS', {'numpy_key': np.full((3, 3), n, np.float32)}, {'num_examples': 1})"

    report = run(failing(tmp_path / "job", body), tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert report.failure.site == "site-2"
    assert "numpy_key" in f"{report.failure.where} {report.failure.what}"


def test_a_constructor_that_raises_at_a_site_is_named_there(tmp_path: Path) -> None:
    code = "class Part:\n    def __init__(self):\n        raise ValueError('no licence')\n"
    job = JobFolder(tmp_path / "job", code=code)
    job.client["components"] = [{"id": "part", **custom("Part")}]

    report = run(job, tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-1113", "site-1")
    assert "app/config/config_fed_client.json: components[0]" in report.failure.where
    assert "ValueError: no licence (custom/code_e2e.py:3)" in report.failure.what


def test_a_constructor_that_raises_at_the_server_is_named_there(tmp_path: Path) -> None:
    code = "class Part:\n    def __init__(self):\n        raise ValueError('no licence')\n"

    report = run(JobFolder(tmp_path / "job", components=[{"id": "part", **custom("Part")}], code=code), tmp_path / "w")

    assert report.failure is not None
    assert (report.failure.code, report.failure.site) == ("SD-1113", "server")


def test_mistakes_of_a_config_are_told_with_place_and_hint_before_anything_is_built(tmp_path: Path) -> None:
    """T043, T044."""
    job = JobFolder(tmp_path / "job", [training(2, num_ronds=3)], [executor({"name": "NPTrainr"})])

    report = run(job, tmp_path / "w")

    assert report.status == FAILED
    assert report.failure is not None
    assert "did you mean 'num_rounds'?" in report.reason or "did you mean 'NPTrainer'?" in report.reason
    assert report.rounds == []


def test_a_tensor_that_all_sites_forget_is_named_after_the_first_round(tmp_path: Path) -> None:
    code = "import sundog\nfor task in sundog.site().tasks():\n    sundog.site().send({'bias': [1.0]}, num_examples=1)\n"
    job = JobFolder(tmp_path / "job", [training(2)], [executor({"name": "ScriptExecutor", "args": {"script": "code_e2e.py"}})], code=code)
    persistor = {"id": "persistor", "name": "NPModelPersistor", "args": {"model_name": "start.npz"}}
    job.server["components"] = [persistor if part["id"] == "persistor" else part for part in job.server["components"]]
    folder = job.write()
    (folder / "app" / "models").mkdir()
    np.savez(folder / "app" / "models" / "start.npz", coef=np.zeros(3), bias=np.zeros(1))

    report = run(folder, tmp_path / "w")

    assert report.status == COMPLETED, report
    assert [done.notes for done in report.rounds] == [["no site sends tensor 'coef': it stays as it was"], []]


def test_a_throwing_observer_is_named_in_the_report_and_the_job_goes_on(tmp_path: Path) -> None:
    """T149."""
    code = "from sundog import observe\n\nclass Bad:\n    @observe\n    def step_started(self):\n        raise ValueError('oops')\n"

    report = run(JobFolder(tmp_path / "job", components=[{"id": "bad", **custom("Bad")}], code=code), tmp_path / "w")

    assert report.status == COMPLETED
    assert [(fault.component, fault.what, fault.where) for fault in report.faults] == [
        ("bad", "step_started: ValueError: oops (2 times)", "custom/code_e2e.py:6")
    ]


def test_a_workflow_may_abort_its_job(tmp_path: Path) -> None:
    """T137: executors tidy up, also then."""
    code = """
from pathlib import Path
from sundog import Executor, Task, Workflow

class Quits(Workflow):
    def run(self, run):
        for step in run.steps(3):
            list(run.scatter(Task("train")))
            run.abort("enough is enough")

class Tidy(Executor):
    def execute(self, task, ctx):
        from sundog import Shareable
        return Shareable("METRICS")

    def stop(self, ctx):
        (ctx.folder / "tidied").touch()
"""
    report = run(JobFolder(tmp_path / "job", [{"id": "q", **custom("Quits")}], [executor(custom("Tidy"))], code=code), tmp_path / "w")

    assert (report.status, report.reason) == (ABORTED, "enough is enough")
    assert all((run_folder(tmp_path / "w", site) / "tidied").exists() for site in ("site-1", "site-2"))


def test_an_abort_in_the_middle_of_training_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T137: the trainer looks between batches, and leaves by itself; what was committed stays."""
    ours, theirs = os.pipe()
    code = f"""
import os, threading
from sundog import Executor, Shareable
from sundog.kernel.context import RunAborted

class Slow(Executor):
    def execute(self, task, ctx):
        if task.step == 1:
            os.write({theirs}, ctx.run_id.encode())
        try:
            while task.step == 1:
                ctx.abort.check()
                threading.Event().wait(0.01)
        except RunAborted as exc:
            (ctx.folder / "left").write_text(str(exc))
            raise
        return task.model.replace(meta={{"num_examples": 1}})
"""
    job = JobFolder(tmp_path / "job", [training(5)], [executor(custom("Slow"))], code=code)
    start = Server.start

    async def with_alice(server: Server) -> None:
        asyncio.get_running_loop().add_reader(ours, lambda: server.start_abort(os.read(ours, 100).decode(), "by alice"))
        await start(server)

    monkeypatch.setattr(Server, "start", with_alice)
    report = run(job, tmp_path / "w")
    for end in (ours, theirs):
        os.close(end)

    assert (report.status, report.reason) == (ABORTED, "by alice")
    assert len(report.rounds) == 1
    left = [run_folder(tmp_path / "w", site) / "left" for site in ("site-1", "site-2")]
    assert {path.read_text() for path in left if path.exists()} == {"[SD-4001] by alice"}  # asked, not interrupted two seconds later


def test_a_learner_is_called_in_order(tmp_path: Path) -> None:
    """T137: initialize, validate, train, finalize."""
    code = """
from sundog import Learner, Shareable

class Notes(Learner):
    def note(self, ctx, word):
        with (ctx.folder / "notes.txt").open("a") as file:
            file.write(word + " ")

    def initialize(self, ctx):
        self.note(ctx, "initialize")

    def train(self, task, ctx):
        self.note(ctx, "train")
        return task.model.replace(meta={"num_examples": 1})

    def validate(self, task, ctx):
        self.note(ctx, "validate")
        return Shareable("METRICS", meta={"metrics": {"accuracy": 0.5}, "num_examples": 1})

    def finalize(self, ctx):
        self.note(ctx, "finalize")
"""
    learner = {"name": "LearnerExecutor", "args": {"learner": custom("Notes")}}

    report = run(JobFolder(tmp_path / "job", [training(2)], [executor(learner)], code=code), tmp_path / "w")

    assert report.status == COMPLETED, report
    notes = (run_folder(tmp_path / "w", "site-1") / "notes.txt").read_text()
    assert notes == "initialize validate train validate train finalize "


# --- what a job asks for ---


@pytest.mark.parametrize("seed", [-1, 2**63, "7", True])
def test_a_seed_that_is_none_is_refused_before_anything_starts(tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed: wanted a whole number from 0 to 2\*\*63 - 1, got"):
        simulate(tmp_path / "job", seed=seed)


def test_too_few_sites_are_refused_and_named(tmp_path: Path) -> None:
    """T041."""
    job = JobFolder(tmp_path / "job")
    job.meta |= {"min_clients": 3}

    with pytest.raises(TooFewVirtualSites, match="2 of the 3 sites needed"):
        run(job, tmp_path / "w")

    job.meta |= {"min_clients": 1, "mandatory_clients": ["clinic"]}
    (job.root / "meta.json").write_text(json.dumps(job.meta))
    with pytest.raises(TooFewVirtualSites, match=r"waits for clinic \(mandatory\)"):
        simulate(job.root, workspace=tmp_path / "w")


def test_there_is_room_for_more_sites_than_a_kit_allows_by_default(tmp_path: Path) -> None:
    sites = Limits().max_sites + 1

    report = run(JobFolder(tmp_path / "job"), tmp_path / "w", sites=sites)

    assert [len(done.used) for done in report.rounds] == [sites, sites]


def test_a_site_that_the_server_refuses_ends_the_simulation_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "_limits_for", lambda _: Limits(max_sites=2))

    with pytest.raises(VirtualSiteRefused, match="the server refuses site-3: 2 sites are linked, the limit is 2"):
        run(JobFolder(tmp_path / "job"), tmp_path / "w", sites=3)


def test_a_simulation_leaves_no_descriptor_open(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "job").write()
    simulate(job, workspace=tmp_path / "w")
    before = _open_descriptors()

    for _ in range(5):
        simulate(job, workspace=tmp_path / "w")

    assert _open_descriptors() == before


def _open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_folder_that_is_no_valid_job_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match="deploy_map"):
        simulate(ROOT / "tests/data/jobs/no_deployment", workspace=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_is_done_leaves_results_and_nothing_else(tmp_path: Path) -> None:
    """In/, out/, blobs and outbox are empty; a second run finds its place beside the first."""
    job = JobFolder(tmp_path / "job").write()

    assert [run(job, tmp_path / "w").status for _ in range(2)] == [COMPLETED] * 2

    for participant in ("server", "site-1", "site-2"):
        runs = list((tmp_path / "w" / participant / "runs").iterdir())
        assert len(runs) == 2
        assert not any((folder / name).exists() for folder in runs for name in ("in", "out"))
        left = [path for name in ("blobs", "outbox") for path in (tmp_path / "w" / participant / "state" / name).glob("*")]
        assert left == []


def test_without_a_workspace_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()

    report = simulate(JobFolder(tmp_path / "job").write())

    assert report.status == COMPLETED
    assert list((tmp_path / "tmp").iterdir()) == []
