"""Is this folder a job, what does it ask for, and which app goes to whom (FLARE21 §1.5)?

A job is a folder with meta.json and a folder for each app. An app holds config/config_fed_server.json and
config/config_fed_client.json (or .yml) and, for code of its own, custom/. A folder without meta.json but with config/
is an app alone: it counts as a job that sends this app to everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...kernel.errors import JobError, SundogError
from ...kernel.findings import Findings
from ...kernel.wording import did_you_mean
from .documents import Document, find_document, read_document, typed
from .folders import is_name
from .job_meta import ALL_SITES, FLARE_KEYS, SERVER, JobMeta, check_meta, is_for_all

WRAPPED_APP = "app"
"""What the app of a folder without meta.json is called."""
CONFIG_STEMS = {"server": "config_fed_server", "site": "config_fed_client"}


class NoJob(JobError):
    """The folder is no job.

    Cause: it has neither meta.json nor config/; perhaps it is a folder of jobs, or the path is misspelt.

    Cure: name the folder that holds meta.json, or an app's folder, which holds config/.
    """

    code = "SD-4023"


class JobRefused(JobError):
    """The job's folder has mistakes; the message lists all of them, each with its own code.

    Cause: meta.json, or an app it names, is not as the sites need it.

    Cure: correct what the lines name; `sundog job check JOB` looks again.
    """

    code = "SD-4024"

    def __init__(self, job: str, findings: list[SundogError]) -> None:
        self.findings = tuple(findings)
        count = f"{len(findings)} mistake{'' if len(findings) == 1 else 's'}:"
        super().__init__(count + "".join(f"\n  {finding}" for finding in findings), where=job)


class AppMissing(JobError):
    """deploy_map names an app that the job's folder does not have.

    Cause: the app's folder was renamed, or its name in meta.json is misspelt.

    Cure: make the name in deploy_map that of a folder beside meta.json.
    """

    code = "SD-4025"


class ConfigMissing(JobError):
    """An app lacks the config for a role it is deployed to.

    Cause: the server needs config/config_fed_server.json, a site config/config_fed_client.json (.yml is read too).

    Cure: add the file, or take the role out of this app's list in deploy_map.
    """

    code = "SD-4026"


@dataclass(frozen=True, slots=True)
class App:
    """One app of a job: where it lies in the job's folder ("" is the folder itself), and who runs it."""

    name: str
    folder: str
    sites: tuple[str, ...]
    """Names as in deploy_map: the server, sites, or @ALL alone; empty: nobody, the app is idle."""

    def is_for(self, participant: str) -> bool:
        """Whether the server or a site of this name runs it."""
        return participant in self.sites or is_for_all(self.sites)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job that can be submitted."""

    root: Path
    meta: JobMeta
    apps: Mapping[str, App]
    notes: tuple[str, ...]
    """What FLARE has and is not needed here; no mistakes."""

    def app_for(self, participant: str) -> App | None:
        """The app of a site, or of "server"; None if it has no part in the job."""
        return next((app for app in self.apps.values() if app.is_for(participant)), None)

    def path_of(self, app: App) -> Path:
        """Where an app's config/ and custom/ lie."""
        return self.root / app.folder


def read_job(folder: Path) -> JobFolder:
    """Read a job, JSON or YAML, and check what can be known from its files alone; no code of it runs.

    Raises:
        NoJob: there is neither meta.json nor config/.
        JobRefused: lists every mistake; each names file, field and value.
    """
    found = find_document(folder, "meta") if folder.is_dir() else None
    if found is None:
        return _wrapped(folder)
    findings = Findings(found.name)
    try:
        document = read_document(found, found.name)
    except SundogError as exc:
        raise JobRefused(folder.name, [exc]) from exc
    meta = typed(document, JobMeta, findings, FLARE_KEYS)
    if meta is None:
        raise JobRefused(folder.name, findings.errors)
    check_meta(meta, findings)
    apps = {name: App(name, name, tuple(sites)) for name, sites in meta.deploy_map.items()}
    mistakes = [*findings.errors, *(mistake for app in apps.values() for mistake in _app_mistakes(folder, app, found.name))]
    if mistakes:
        raise JobRefused(folder.name, mistakes)
    return JobFolder(folder, meta if meta.name else _named(meta, folder), apps, tuple(findings.notes))


def read_config(folder: Path, stem: str) -> tuple[dict[str, Any], str]:
    """The config of an app from its config/ folder, and what messages call it: `stem` is one of CONFIG_STEMS' values.

    Raises:
        ConfigMissing: there is none.
        SpecError: it cannot be read.
    """
    found = find_document(folder, stem)
    if found is None:
        others = [path.name for path in _entries(folder) if path.stem not in CONFIG_STEMS.values()]
        raise ConfigMissing(f"wanted {stem}.json{did_you_mean(f'{stem}.json', others)}", where=f"{folder.parent.name}/{folder.name}")
    document: Document = read_document(found, f"{folder.parent.name}/{folder.name}/{found.name}")
    return document.data, document.file


def _wrapped(folder: Path) -> JobFolder:
    if not (folder / "config").is_dir():
        inside = [path.name for path in _entries(folder) if (path / "config").is_dir()]
        hint = f"; {', '.join(inside)} in it could be apps, but no meta.json says who runs them" if inside else ""
        what = "it has neither meta.json nor config/" if folder.is_dir() else "there is no such folder"
        raise NoJob(f"{what}{hint}", where=str(folder))
    app = App(WRAPPED_APP, "", (ALL_SITES,))
    if mistakes := list(_app_mistakes(folder, app, folder.name)):
        raise JobRefused(folder.name, mistakes)
    meta = JobMeta(name=folder.resolve().name, deploy_map={app.name: list(app.sites)})
    return JobFolder(folder, meta, {app.name: app}, (f"{folder.name} has no meta.json: its app goes to the server and to all sites",))


def _named(meta: JobMeta, folder: Path) -> JobMeta:
    return meta.replace(name=folder.resolve().name)


def _app_mistakes(job: Path, app: App, file: str) -> Iterator[SundogError]:
    """Whether the app's folder is there, has the configs its roles need, and these can be read."""
    if app.folder and not is_name(app.folder):
        return  # check_meta refused the name already
    where, root = f"{file}: deploy_map.{app.name}", job / app.folder
    if not root.is_dir() or root.is_symlink():
        folders = [path.name for path in _entries(job) if path.is_dir()]
        yield AppMissing(f"the job has no folder {app.name!r}{did_you_mean(app.name, folders)}", where=where)
        return
    for stem in (stem for role, stem in CONFIG_STEMS.items() if _has_role(app, role)):
        try:
            read_config(root / "config", stem)
        except ConfigMissing as exc:
            yield ConfigMissing(f"{', '.join(app.sites)}: {exc.what} in {exc.where}", where=where)
        except SundogError as exc:
            yield exc


def _has_role(app: App, role: str) -> bool:
    if is_for_all(app.sites):
        return True
    return SERVER in app.sites if role == "server" else any(site != SERVER for site in app.sites)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
