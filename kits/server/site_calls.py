"""What a server asks of the sites of a job that is to start: Check, Deploy, StartRun, each with its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...kernel.errors import MAX_WHAT_CHARACTERS, Failure, JobError
from ...kernel.messages import Message
from ...kernel.wording import cut
from ...transports.link.link import Link
from ..protocol.messages import Cancel, Check, Checked, Deploy, Deployed, Started, StartRun
from ..supervisor.travel import offer_folder, withdraw_folder
from ..workspace.job_folder import App, JobFolder
from ..workspace.job_state import Job
from ..workspace.manifest import Manifest

CHECK_SECONDS = 15.0
DEPLOY_SECONDS = 600.0


class SiteNotReady(JobError):
    """A site did not answer while a job was being started there.

    Cause: its link was lost, or its disk or its resource manager is very slow.

    Cure: `check_status client` shows whether it is there; the job is tried again when it comes back.
    """

    code = "SD-4201"


class DeployFailed(JobError):
    """A site could not take its app.

    Cause: the message is the site's own.

    Cure: mend what it names at that site.
    """

    code = "SD-4202"

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what, where=failure.site)
        self.failure = failure


class SiteRefuses(JobError):
    """A site cannot give a job the resources that it wants now.

    Cause: the message is that of the site's resource manager; as a rule, other jobs hold them.

    Cure: wait: the job is tried again when a job has ended; or ask for less in its "resource_spec".
    """

    code = "SD-4271"


@dataclass(frozen=True)
class Prepared:
    """A job that is about to be dispatched: its folder, and the manifest of it all."""

    folder: JobFolder
    manifest: Manifest

    def app_manifest(self, app: App) -> Manifest:
        """The files of one app, relative to it; an app that is the whole folder keeps its config/ and custom/."""
        return self.manifest.below(app.folder)


@dataclass(frozen=True)
class Dispatched:
    """A job whose sites hold resources for it."""

    job: Job
    prepared: Prepared
    sites: tuple[str, ...]


class SiteCalls:
    """Questions to sites; an answer that does not come ends with the site's link, or after some time.

    Args:
        links: gives the sites that are connected.
    """

    def __init__(self, links: Callable[[], dict[str, Link]]) -> None:
        self.links = links
        self._answers: dict[tuple[str, str, type[Message]], asyncio.Future[Any]] = {}
        self._unanswered: set[tuple[str, str]] = set()
        """(site, job) of Checks that are not answered, whether or not they are still waited for."""

    def link(self, site: str) -> Link:
        """The link to a site.

        Raises:
            SiteNotReady: it is down.
        """
        link = self.links().get(site)
        if link is None:
            raise SiteNotReady("its link was lost", where=site)
        return link

    async def check(self, run: str, site: str, spec: dict[str, Any]) -> str:
        """Reserve, or renew the reservation; gives the token.

        Raises:
            SiteNotReady: it does not answer.
            SiteRefuses: it has no room.
        """
        if (site, run) in self._unanswered:
            raise SiteNotReady("it has not answered the Check before", where=site)
        answer = self._ask(self.link(site), Check(run, spec), Checked)
        self._unanswered.add((site, run))
        checked: Checked = await _within(CHECK_SECONDS, answer, site, "Check")
        if not checked.token:
            raise SiteRefuses(cut(checked.reason, MAX_WHAT_CHARACTERS), where=site)
        return checked.token

    async def deploy(self, dispatched: Dispatched, site: str) -> None:
        """Let a site fetch its app.

        Raises:
            SiteNotReady: it does not answer.
            DeployFailed: it says why it cannot.
        """
        folder, link = dispatched.prepared.folder, self.link(site)
        app = folder.app_for(site)
        if app is None:
            raise DeployFailed(Failure(DeployFailed.code, "no app of the job is for it", site=site))
        manifest = dispatched.prepared.app_manifest(app)
        offer_folder(link, manifest, folder.path_of(app))
        try:
            deploy = Deploy(dispatched.job.id, {"threads": folder.meta.threads, "durability": folder.meta.durability})
            answer = self._ask(link, deploy, Deployed, manifest.encode())
            deployed: Deployed = await _within(DEPLOY_SECONDS, answer, site, "Deploy")
        finally:
            withdraw_folder(link, manifest, folder.path_of(app))
        if deployed.failure is not None:
            raise DeployFailed(deployed.failure)

    def start_run(self, site: str, message: StartRun) -> asyncio.Future[Started]:
        """Say StartRun; the future is the site's answer, or SiteNotReady when its link is lost before."""
        return self._ask(self.link(site), message, Started)

    def cancel(self, site: str, run: str, token: str) -> None:
        """Give a reservation back, if the site is connected; one whose link is lost does it by itself."""
        link = self.links().get(site)
        if link is not None:
            link.send(Cancel(run, token))

    def answered(self, site: str, message: Checked | Deployed | Started) -> bool:
        """A site's answer came in; True if it is late: that of a Check that was asked, but is not waited for any more."""
        if isinstance(message, Checked):
            if (site, message.run) not in self._unanswered:
                return False
            self._unanswered.discard((site, message.run))
        waiting = self._answers.get((site, message.run, type(message)))
        if waiting is None or waiting.done():
            return isinstance(message, Checked)
        waiting.set_result(message)
        return False

    def site_lost(self, site: str) -> None:
        """A site's link is down: who waits for an answer of it need not wait longer."""
        self._unanswered = {one for one in self._unanswered if one[0] != site}
        for (name, _, _), waiting in self._answers.items():
            if name == site and not waiting.done():
                waiting.set_exception(SiteNotReady("its link was lost", where=site))

    def _ask(self, link: Link, message: Check | Deploy | StartRun, wanted: type[Message], *body: bytes) -> asyncio.Future[Any]:
        key = (link.peer.name, message.run, wanted)
        answer = self._answers[key] = asyncio.get_running_loop().create_future()

        def forget(_: object) -> None:
            if self._answers.get(key) is answer:
                del self._answers[key]

        answer.add_done_callback(forget)
        try:
            link.send(message, *body)
        except Exception:
            answer.cancel()
            raise
        return answer


async def _within(seconds: float, answer: asyncio.Future[Any], site: str, asked: str) -> Any:
    """Raises: SiteNotReady."""
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise SiteNotReady(f"no answer to {asked} within {seconds:g} s", where=site) from None
