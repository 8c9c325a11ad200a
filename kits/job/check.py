"""What is wrong with a job that its code and its configs can tell: `python -m sundog.kits.job.check FOLDER` (`sundog job check`).

A process of its own, without the environment's secrets, since it imports the job's code. Specs are compared with
constructors first. Only when everything fits are the server's workflows constructed, to ask them which tasks they send and whom
they wait for. One JSON document goes to stdout; what the job's code prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import msgspec

from ...kernel.context import Context, entered
from ...kernel.errors import Failure, SundogError
from ...kernel.packing import scratch
from ...kernel.roles import Policy, Workflow
from ...kernel.wording import did_you_mean
from ...workflows.policy import SitesPolicy
from ..protocol.answers import CheckedWorkflow, JobCheck, Problem
from ..workspace.job_folder import CONFIG_STEMS, App, JobFolder, read_job
from ..workspace.job_meta import SERVER
from .app import EVERY_TASK, AppPlan, TaskUnserved, plan_app
from .custom_code import CustomCode


class JobChecker:
    """Checks the apps of one job."""

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._mistakes: list[Problem] = []
        self._notes = list(job.notes)
        self._workflows: list[CheckedWorkflow] = []
        self._served: set[str] = set()

    def check(self) -> JobCheck:
        """Look at every app, for each role it is deployed to."""
        for app in self._job.apps.values():
            if any(name != SERVER for name in app.sites):
                self._app(app, "site")
        if self._mistakes:  # an executor with a mistake may serve what nobody else does
            self._served.add(EVERY_TASK)
        for app in self._job.apps.values():
            if app.is_for(SERVER):
                self._app(app, "server")
        return JobCheck(self._job.meta.name, self._mistakes, self._notes, self._workflows)

    def _app(self, app: App, role: str) -> None:
        folder = self._job.path_of(app)
        with CustomCode(folder):
            try:
                plan = plan_app(folder, role)
                mistakes = plan.check()
            except Exception as exc:  # noqa: BLE001  # the job's code, as it is imported
                self._failed(exc)
                return
            self._notes += plan.notes
            self._mistakes += map(Problem.of, mistakes)
            if role == "site":
                self._served |= plan.tasks
            elif not mistakes:
                self._server(app, plan)

    def _server(self, app: App, plan: AppPlan) -> None:
        """Construct the workflows; what they are made of (a model, say) is constructed with them."""
        with tempfile.TemporaryDirectory(prefix="sundog-check-") as folder:
            context = Context(site=SERVER, folder=Path(folder), seed=self._job.meta.seed)
            with entered(context), scratch(Path(folder)):
                for name, planned in plan.workflows:
                    try:
                        workflow = plan.parts.build(planned)
                        if isinstance(workflow, Workflow):
                            self._workflow(app, name, workflow, f"{plan.file}: {planned.at}")
                    except Exception as exc:  # noqa: BLE001  # the job's code
                        self._failed(exc)
        sent = [workflow.tasks for workflow in self._workflows if workflow.app == app.name]
        if len(sent) == len(plan.workflows) and all(sent):  # else some are only known when they are sent
            plan.find_idle_filters({task for tasks in sent for task in tasks})
            self._mistakes += map(Problem.of, plan.parts.findings.errors)

    def _workflow(self, app: App, name: str, workflow: Workflow, at: str) -> None:
        tasks = list(workflow.tasks())
        policy = getattr(workflow, "policy", None)
        words = (policy if isinstance(policy, Policy) else SitesPolicy()).describe()
        self._workflows.append(CheckedWorkflow(app.name, name, tasks, words))
        for task in tasks:
            if task not in self._served and EVERY_TASK not in self._served:
                what = f"it sends the task {task!r}, for which no app has an executor in {CONFIG_STEMS['site']}.json"
                self._mistakes.append(Problem.of(TaskUnserved(f"{what}{did_you_mean(task, self._served)}", where=at)))

    def _failed(self, error: Exception) -> None:
        self._mistakes.append(Problem.of(error if isinstance(error, SundogError) else Failure.of(error)))


def main(folder: Path) -> None:
    """Check the job in this folder and print the JSON document."""
    document = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with document:
        document.write(msgspec.json.encode(JobChecker(read_job(folder)).check()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
