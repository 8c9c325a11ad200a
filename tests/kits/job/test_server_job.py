"""The server's job process, without the process: what it asks for, and how it comes to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sundog.kernel.errors import Failure
from sundog.kernel.messages import Message, Payload, split_body
from sundog.kernel.shareable import Kind, Shareable
from sundog.kits.handover import messages as say
from sundog.kits.job.server_job import ServerJob
from sundog.kits.protocol.messages import Grew

from .desk import Desk, packed, start, write_app

CODE = """
from sundog import Shareable, Task, Tracker, Workflow, observe

class Flow(Workflow):
    def __init__(self, rounds: int = 2, act: str = "", policy: str = "all"):
        self.rounds = rounds
        self.act = act

    def run(self, run):
        model = run.state or Shareable("WEIGHTS", {"w": [0.0, 0.0]})
        for step in run.steps(self.rounds):
            if self.act:
                exec(self.act, {"run": run, "ctx": run.context})
            results = list(run.scatter(Task("train", model, {"lr": 0.5})))
            model = results[0].shareable
            run.commit(model, {"loss": 0.5})

class Counter:
    def __init__(self):
        self.count = 0

    @observe
    def before_commit(self):
        self.count += 1

    def state(self):
        return Shareable("MODEL", meta={"count": self.count})

    def restore(self, state):
        self.count = state.meta["count"]

class Thrower:
    @observe
    def step_started(self):
        raise ValueError("I only watch")

class Lines(Tracker):
    def __init__(self, file: str = "lines.txt", fails: list = ()):
        self.lines, self.file, self.fails = [], file, fails

    def open(self, folder):
        self.folder = folder

    def write(self, metric):
        if metric.site in self.fails:
            raise ValueError("disk full")
        self.lines.append(f"{metric.site} {metric.tag} {metric.value}")

    def flush(self): ...

    def close(self):
        (self.folder / self.file).write_text("\\n".join(self.lines))
"""


def part(name: str, kind: str, **args: Any) -> dict[str, Any]:
    return {"id": name, "path": f"flow_h11.{kind}", "args": args}


class Played:
    """A server's job with a supervisor that records whatever it is asked to, and sites that answer at once."""

    def __init__(self, folder: Path, components: list[dict[str, Any]] | None = None, code: str = CODE, **args: Any) -> None:
        config = {"workflows": [part("flow", "Flow", **args)], "components": components or []}
        write_app(folder, "server", config, {"flow_h11.py": code})
        (folder / "metrics").mkdir()
        self.folder = folder
        self.desk = Desk(folder, on_message=self.hear)
        self.job = ServerJob(self.desk, self.desk.mailbox)
        self.answer: Callable[[str, str], tuple[Message, bytes]] = self.result

    def run(self, **more: Any) -> say.Finish:
        self.job.on(say.Start("run"), start(self.folder, "server", "server", **more))
        finish = self.desk.of(say.Finish)[0]
        assert isinstance(finish, say.Finish)
        return finish

    def hear(self, message: Message) -> None:
        match message:
            case say.OpenStep():
                self.tell(say.StepOpened(message.workflow, message.step))
                for task_id, site, *_ in reversed(message.tasks):
                    self.tell(*self.answer(task_id, site))
            case say.CommitStep():
                self.tell(say.StepClosed(message.workflow, message.step))
            case say.Finish():
                self.tell(say.Finished())

    def tell(self, message: Message, body: bytes = b"") -> None:
        def deliver() -> None:
            self.job.on(message, body)

        self.job.on_arrival(message)
        self.desk.mailbox.post(deliver)

    def result(self, task_id: str, site: str) -> tuple[Message, bytes]:
        payload, body = packed(self.folder, Shareable(Kind.WEIGHTS, {"w": np.ones(2)}, {"metrics": {"loss": 1.0}}))
        return say.ResultFor(task_id, site, payload), body


def test_a_workflow_opens_and_closes_its_steps_and_finishes(tmp_path: Path) -> None:
    played = Played(tmp_path)

    finish = played.run()

    kinds = [type(message).__name__ for message, _ in played.desk.said]
    assert kinds == ["Ready", "OpenStep", "CommitStep", "OpenStep", "CommitStep", "EndWorkflow", "Finish"]
    assert finish == say.Finish()
    opened = played.desk.of(say.OpenStep)[0]
    assert [(site, index) for _, site, index, _ in opened.tasks] == [("site-1", 0), ("site-2", 0)]
    assert opened.policy.startswith("every step needs all its sites")
    closed = played.desk.of(say.CommitStep)[1]
    assert closed.used == [task_id for task_id, *_ in played.desk.of(say.OpenStep)[1].tasks]
    assert (closed.metrics.own, closed.metrics.sites) == ({"loss": 0.5}, {"site-1": {"loss": 1.0}, "site-2": {"loss": 1.0}})
    assert played.job.is_done


def committed_by(played: Played, step: int, folder: Path, workflow: str = "flow") -> dict[str, Any]:
    """A commit as its supervisor gives it to the next job process."""
    message, body = next((m, b) for m, b in played.desk.said if isinstance(m, say.CommitStep) and m.step == step)
    kept = []
    pieces = split_body([*message.payloads, *(payload for _, payload in message.files if payload is not None)], body)
    for number, (payload, (meta, inline)) in enumerate(zip(message.payloads, pieces, strict=False)):
        kept.append(say.StateFile(meta, str(folder / str(number))))
        played.desk.received(payload, meta, inline)[0].blob().save(folder / str(number))
    return {"committed": {workflow: say.CommittedState(step, kept[0])}, "parts": kept[1] if len(kept) > 1 else None}


def last_commit(played: Played) -> tuple[Message, bytes]:
    return [(m, b) for m, b in played.desk.said if isinstance(m, say.CommitStep)][-1]


def test_it_goes_on_after_the_last_commit_with_model_and_components(tmp_path: Path) -> None:
    """PROTOCOL §8 line 6."""
    whole = Played(tmp_path / "whole", [part("counter", "Counter")], rounds=3)
    whole.run()

    rest = Played(tmp_path / "rest", [part("counter", "Counter")], rounds=3)
    rest.run(**committed_by(whole, 1, tmp_path))

    assert [message.step for message in rest.desk.of(say.OpenStep)] == [2]
    assert rest.desk.of(say.OpenStep)[0].tasks == whole.desk.of(say.OpenStep)[2].tasks
    assert last_commit(rest) == last_commit(whole)


STATEFUL = f"""{CODE}
from sundog import Filter

class CountingFlow(Flow):
    "Stateful itself, with a nested part that is, too, and has no id."
    def __init__(self, nested: Counter, rounds: int = 3):
        super().__init__(rounds)
        self.nested, self.count = nested, 0

    def run(self, run):
        self.count += 1
        super().run(run)

    state, restore = Counter.state, Counter.restore

class CountingFilter(Filter, Counter):
    def process(self, shareable, ctx):
        self.count += 1
        return shareable
"""


def counting(folder: Path) -> Played:
    played = Played(folder, [part("outer", "Counter")], STATEFUL)
    spec: dict[str, Any] = {"path": "flow_h11.Counter"}
    config = {
        "workflows": [{"id": "a/b", "path": "flow_h11.CountingFlow", "args": {"nested": spec}}],
        "components": [part("outer", "Counter")],
        "task_data_filters": [{"tasks": ["train"], "filters": [{"path": "flow_h11.CountingFilter"}]}],
        "task_result_filters": [{"tasks": ["train"], "filters": [{"path": "flow_h11.CountingFilter"}]}],
    }
    (folder / "app" / "config" / "config_fed_server.json").write_text(json.dumps(config))
    return played


def counts(played: Played, folder: Path) -> dict[str, int]:
    """Component → the count that its last commit keeps."""
    message, body = last_commit(played)
    assert isinstance(message, say.CommitStep)
    meta, inline = split_body(message.payloads, body)[-1]
    return {name: state.meta["count"] for name, state in played.desk.received(message.payloads[-1], meta, inline)[0].members().items()}


def test_a_commit_has_the_state_of_every_component_nested_ones_filters_and_workflows_included(tmp_path: Path) -> None:
    """PROTOCOL §2, exactly repeated: with an id or without."""
    whole = counting(tmp_path / "whole")
    whole.run()
    assert counts(whole, tmp_path) == {
        "outer": 3,
        "a%2Fb": 1,
        "workflows[0].args.nested": 3,
        "task_data_filters[0].filters[0]": 6 + 3,
        "task_result_filters[0].filters[0]": 6 + 3,
    }

    rest = counting(tmp_path / "rest")
    rest.run(**committed_by(whole, 1, tmp_path, "a/b"))

    assert counts(rest, tmp_path) == {**counts(whole, tmp_path), "a%2Fb": 2}


def test_a_commit_has_the_files_that_components_keep_and_a_restart_puts_them_back_first(tmp_path: Path) -> None:
    act = """
from pathlib import Path
step = ctx.step
best = ctx.folder / "best.txt"
assert step == 0 or best.read_text() == "step " + str(step - 1)
best.write_text("step " + str(step))
ctx.keep("best.txt")
"""
    whole = Played(tmp_path / "whole", rounds=3, act=act)
    assert whole.run() == say.Finish()
    commits = [(m, b) for m, b in whole.desk.said if isinstance(m, say.CommitStep)]
    assert [[path for path, _ in message.files] for message, _ in commits] == [["best.txt"]] * 3
    assert [body[-6:] for _, body in commits] == [b"step 0", b"step 1", b"step 2"]

    rest = Played(tmp_path / "rest", rounds=3, act=act)
    (tmp_path / "rest" / "best.txt").write_text("step 2, and then a death")
    (tmp_path / "blob").write_text("step 1")
    kept = say.KeptFile("best.txt", "ab" * 32, str(tmp_path / "blob"))
    finish = rest.run(**committed_by(whole, 1, tmp_path), files=[kept])

    assert finish == say.Finish()
    assert (tmp_path / "rest" / "best.txt").read_text() == "step 2"


TAIL = CODE.replace(
    '            run.commit(model, {"loss": 0.5})\n',
    """            run.commit(model, {"loss": 0.5})
        seen = run.context.folder / "seen.txt"
        seen.write_text((seen.read_text() if seen.exists() else "") + run.context.workflow + " ")
        run.context.keep("seen.txt")
""",
)


def test_a_workflow_that_has_ended_is_not_run_again(tmp_path: Path) -> None:
    def two(folder: Path) -> Played:
        played = Played(folder, code=TAIL)
        config = {"workflows": [part(name, "Flow") for name in ("one", "two")], "components": []}
        (folder / "app" / "config" / "config_fed_server.json").write_text(json.dumps(config))
        return played

    whole = two(tmp_path / "whole")
    assert whole.run() == say.Finish()
    commits = [message for message, _ in whole.desk.said if isinstance(message, say.CommitStep)]
    assert [len(message.files) for message in commits] == [0, 0, 0, 0]
    assert [len(message.files) for message in whole.desk.of(say.EndWorkflow)] == [1, 1]

    rest = two(tmp_path / "rest")
    (tmp_path / "blob").write_text("one ")
    kept = say.KeptFile("seen.txt", "ab" * 32, str(tmp_path / "blob"))
    one = committed_by(whole, 1, tmp_path, "one")["committed"]
    rest.run(committed=one | {"two": say.CommittedState(0)}, ended=["one"], files=[kept])

    assert (tmp_path / "rest" / "seen.txt").read_text() == (tmp_path / "whole" / "seen.txt").read_text() == "one two "


EVALUATION = (
    CODE.replace("\nfrom sundog", "\nimport numpy as np\nfrom sundog", 1)
    + """
MODEL = Shareable("WEIGHTS", {"w": np.zeros(20_000)})

class Evaluation(Workflow):
    def run(self, run):
        run.scatter(Task("validate", MODEL))
"""
)


def test_behind_the_end_of_a_workflow_a_model_is_handed_over_again(tmp_path: Path) -> None:
    """The supervisor may have removed it by then, as behind a commit."""
    played = Played(tmp_path, code=EVALUATION)
    config = {"workflows": [part(name, "Evaluation") for name in ("one", "two")], "components": []}
    (tmp_path / "app" / "config" / "config_fed_server.json").write_text(json.dumps(config))

    assert played.run() == say.Finish()

    assert [bool(message.payloads[0].name) for message in played.desk.of(say.OpenStep)] == [True, True]


def test_an_exception_of_the_workflow_is_the_failure_of_the_run_with_its_line(tmp_path: Path) -> None:
    finish = Played(tmp_path, act="raise ValueError('no idea')").run()

    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.what) == ("SD-4090", "ValueError: no idea")
    assert (finish.failure.site, finish.failure.component) == ("server", "flow")


def test_a_constructor_that_raises_is_the_failure_of_the_run(tmp_path: Path) -> None:
    finish = Played(tmp_path, code=CODE.replace("self.count = 0", "raise ValueError('no')"), components=[part("counter", "Counter")]).run()

    assert finish.failure is not None
    assert finish.failure.code == "SD-1113"
    assert "custom/flow_h11.py:" in finish.failure.what


def test_a_workflow_may_end_the_job_as_aborted(tmp_path: Path) -> None:
    assert Played(tmp_path, act="run.abort('enough is enough')").run() == say.Finish(aborted="enough is enough")


def test_a_panic_is_the_reason_of_the_end(tmp_path: Path) -> None:
    """T146, at the server."""
    finish = Played(tmp_path, act="ctx.panic('the moon is full')").run()

    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.what) == ("SD-4002", "the moon is full")


def test_an_abort_ends_the_waiting_for_sites(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.answer = lambda task_id, site: (say.Abort("by alice"), b"")

    assert played.run() == say.Finish(aborted="by alice")


def test_a_failure_of_a_site_is_the_failure_of_the_run(tmp_path: Path) -> None:
    boom = Failure("SD-4090", "ValueError: boom", "custom/train.py:3", site="site-2")
    played = Played(tmp_path)

    def answer(task_id: str, site: str) -> tuple[Message, bytes]:
        return (say.ResultFor(task_id, site, None, boom), b"") if site == "site-2" else played.result(task_id, site)

    played.answer = answer

    assert played.run().failure == boom


def test_a_result_that_cannot_be_read_is_rejected_and_named(tmp_path: Path) -> None:
    played = Played(tmp_path)
    played.answer = lambda task_id, site: (say.ResultFor(task_id, site, Payload(1, "ab" * 32, 3)), b"mabc")

    finish = played.run()

    assert len(played.desk.of(say.Reject)) >= 1
    assert finish.failure is not None
    assert (finish.failure.code[:5], finish.failure.site) == ("SD-12", "site-1")  # both were there: the first by name


def test_an_observer_that_raises_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    """T149."""
    finish = Played(tmp_path, [part("thrower", "Thrower"), part("counter", "Counter")]).run()

    assert finish.failure is None
    (fault,) = finish.faults
    assert (fault.component, fault.what) == ("thrower", "step_started: ValueError: I only watch (2 times)")


@pytest.mark.parametrize(("fails", "kept"), [(["site-1"], "site-2 loss 0.5"), (["site-1", "site-2"], "")])
def test_metrics_of_sites_reach_every_tracker_but_for_the_sites_at_which_one_raised(tmp_path: Path, fails: list[str], kept: str) -> None:
    played = Played(tmp_path, [part("good", "Lines"), part("bad", "Lines", file="bad.txt", fails=fails)])
    line = {"kind": "scalar", "tag": "loss", "value": 0.5, "step": 0, "time": 1.0}
    for site in ("site-1", "site-2"):
        (tmp_path / "metrics" / f"{site}.jsonl").write_text(json.dumps(line) + "\n")
    size = (tmp_path / "metrics" / "site-1.jsonl").stat().st_size

    played.tell(Grew("run", "site-1", "metrics.jsonl", size))
    finish = played.run()

    assert [fault.what for fault in finish.faults] == ["ValueError: disk full"]
    assert sorted((tmp_path / "lines.txt").read_text().split("\n")) == ["site-1 loss 0.5", "site-2 loss 0.5"]
    assert (tmp_path / "bad.txt").read_text() == kept


def test_what_it_is_told_out_of_turn_does_nothing(tmp_path: Path) -> None:
    played = Played(tmp_path)
    payload, body = packed(tmp_path, Shareable(Kind.METRICS))

    for message in (say.ResultFor("t", "site-1", payload), say.SiteGone("site-1", Failure("SD-4105", "x")), say.SiteBack("site-1")):
        played.job.on(message, body)

    assert played.desk.said == []
    assert msgspec.msgpack.decode(start(tmp_path, "server", "server"), type=say.StartDocument).committed == {}
