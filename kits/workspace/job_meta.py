"""What may meta.json say, and does it make sense?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, Self

import msgspec

from ...kernel.errors import JobError
from ...kernel.findings import Findings
from ...kernel.wording import did_you_mean
from .folders import is_name

ALL_SITES = "@ALL"
"""In deploy_map: the server and every site."""
SERVER = "server"
"""In deploy_map: the server, whatever it is called."""

FLARE_KEYS = {
    **dict.fromkeys(
        ("job_id", "job_folder_name", "submit_time", "submit_time_iso", "start_time", "duration", "status", "approvals", "format_version"),
        "the server keeps it itself",
    ),
    **dict.fromkeys(
        ("submitter_name", "submitter_org", "submitter_role", "content_location", "result_location", "data_storage_format", "cloned_from"),
        "the server keeps it itself",
    ),
    **dict.fromkeys(("launcher_spec", "scope", "custom_props", "job_template", "stats_pool_config"), "later FLARE versions read it"),
}
"""Key → why it is not needed here; a downloaded job has some of them and can be submitted again."""


class NoDeployment(JobError):
    """deploy_map is empty.

    Cause: the job says of no app who runs it.

    Cure: "deploy_map": {"app": ["@ALL"]} sends the app in the folder app to the server and to all sites.
    """

    code = "SD-4027"


class DeploymentUnclear(JobError):
    """deploy_map does not say exactly one app for each participant.

    Cause: a site or the server stands in it twice, "@ALL" is not alone, or sites are named but no app is for the server.

    Cure: name each participant once, "server" among them, or use "@ALL" alone and once.
    """

    code = "SD-4028"


class NameRefused(JobError):
    """An app or a site in meta.json has a name that cannot be used.

    Cause: names become parts of paths: letters, digits and `._-`, at most 63, the first a letter or digit.

    Cure: rename it.
    """

    code = "SD-4029"


class TooFewSites(JobError):
    """min_clients or mandatory_clients asks for sites that deploy_map does not have.

    Cause: a site was taken out of deploy_map, misspelt, or min_clients is larger than the number of sites named.

    Cure: make the lists in meta.json agree.
    """

    code = "SD-4030"


class ResourcesBelowZero(JobError):
    """A job asks a site for less than nothing.

    Cause: a number in "resource_spec" of meta.json is negative.

    Cure: ask for 0 or more, or leave the resource out.
    """

    code = "SD-4173"


class NotRecordable(JobError):
    """A value in meta.json cannot be recorded.

    Cause: a whole number of more than 64 bits, or a text with half of a surrogate pair, as JSON can escape it.

    Cure: take a smaller number, a fraction, or a text in its place.
    """

    code = "SD-4181"


class JobMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What meta.json says; every key but deploy_map may be left out."""

    name: str = ""
    """What lists show; the folder's name if left out."""
    deploy_map: dict[str, list[str]]
    """App → who runs it: "server", names of sites, or "@ALL" alone; an empty list: nobody."""
    resource_spec: dict[str, dict[str, Any]] = {}
    """Site → what its resource manager is asked for, such as {"gpu": 1}."""
    min_clients: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """How many sites must be there, with their resources, before the job starts; left out: all that deploy_map names, or one with @ALL."""
    mandatory_clients: list[str] = []
    """Sites without which it does not start."""
    priority: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = 0
    """Waiting jobs with a higher one are tried first; what else it means, the server's scheduler decides."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """From it, component, step and site come the seeds of everything random."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    """How many threads numeric libraries use in a job process; results depend on it bit for bit."""
    durability: Literal["none", "process", "disk"] | None = None
    """What the run survives: nothing, kill -9, a power cut; left out: what the server's kit says."""

    @property
    def sites(self) -> tuple[str, ...] | None:
        """The sites that deploy_map names, in order; None: all there are."""
        named = self.participants
        return None if is_for_all(named) else tuple(name for name in named if name != SERVER)

    @property
    def participants(self) -> list[str]:
        """All that stands in deploy_map, in order."""
        return [site for sites in self.deploy_map.values() for site in sites]

    @property
    def min_sites(self) -> int:
        """How many sites it needs at least."""
        if self.min_clients is not None:
            return self.min_clients
        return 1 if self.sites is None else len(self.sites)

    def waits_for(self, present: Collection[str]) -> str:
        """Why the job cannot start with the sites that are present, in words; empty if it can."""
        absent = [site for site in self.mandatory_clients if site not in present]
        if absent:
            return f"waits for {', '.join(absent)} (mandatory)"
        wanted = self.sites
        there = len(present) if wanted is None else len(set(wanted) & set(present))
        needed = self.min_sites
        if there >= needed:
            return ""
        more = f"{needed - there} more site{'' if needed - there == 1 else 's'}"
        missing = more if wanted is None else ", ".join(site for site in wanted if site not in present)
        return f"waits for {missing}: {there} of the {needed} sites needed are there"

    def replace(self, **changes: Any) -> Self:
        """A copy with other values."""
        return msgspec.structs.replace(self, **changes)


def is_for_all(sites: Iterable[str]) -> bool:
    """Whether @ALL is among them, in upper or lower case."""
    return any(site.casefold() == ALL_SITES.casefold() for site in sites)


def check_meta(meta: JobMeta, findings: Findings) -> None:
    """Compare the keys with each other; mistakes go to the findings."""
    if not meta.deploy_map:
        findings.add(NoDeployment, "deploy_map", "wanted at least one app, got {}")
        return
    _check_recordable(msgspec.to_builtins(meta), "", findings)
    _check_names(meta, findings)
    _check_resources(meta, findings)
    named = meta.participants
    has_all = is_for_all(named)
    if has_all and len(named) > 1:
        findings.add(DeploymentUnclear, "deploy_map", f"{ALL_SITES} must be alone and once, got {', '.join(named)}")
    _check_each_once(meta, findings)
    if named and not has_all and SERVER not in named:
        findings.add(DeploymentUnclear, "deploy_map", f'no app is for "{SERVER}", got {", ".join(named)}')
    if not has_all:
        _check_sites(meta, [site for site in named if site != SERVER], findings)


def _check_recordable(value: Any, at: str, findings: Findings) -> None:
    """What msgpack cannot hold must not become a job: no record of it can be written."""
    match value:
        case int() if not -(2**63) <= value < 2**64:
            findings.add(NotRecordable, at, f"wanted a whole number of at most 64 bits, got one of {value.bit_length()}")
        case str() if not _is_unicode(value):
            findings.add(NotRecordable, at, f"wanted a text in Unicode, got {value!a:.80}")
        case dict():
            for name, item in value.items():
                _check_recordable(name, at, findings)
                _check_recordable(item, f"{at}.{name}".lstrip("."), findings)
        case list():
            for index, item in enumerate(value):
                _check_recordable(item, f"{at}[{index}]", findings)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_names(meta: JobMeta, findings: Findings) -> None:
    for app, sites in meta.deploy_map.items():
        if not is_name(app):
            findings.add(NameRefused, "deploy_map", f"no app may be called {app!r:.80}")
        for index, site in enumerate(sites):
            if not is_name(site) and not is_for_all([site]):
                findings.add(NameRefused, f"deploy_map.{app}[{index}]", f"no site may be called {site!r:.80}")


def _check_resources(meta: JobMeta, findings: Findings) -> None:
    """What else a value may be is for the site's resource manager to say."""
    for site, spec in meta.resource_spec.items():
        for name, value in spec.items():
            if isinstance(value, int | float) and value < 0:
                findings.add(ResourcesBelowZero, f"resource_spec.{site}.{name}", f"wanted a number from 0 on, got {value}")


def _check_each_once(meta: JobMeta, findings: Findings) -> None:
    for site, count in Counter(meta.participants).items():
        if count > 1 and not is_for_all([site]):
            apps = [app for app, sites in meta.deploy_map.items() if site in sites]
            findings.add(DeploymentUnclear, "deploy_map", f"{site} stands {count} times, in {' and '.join(apps)}; wanted once")


def _check_sites(meta: JobMeta, sites: list[str], findings: Findings) -> None:
    if meta.min_clients is not None and meta.min_clients > len(set(sites)):
        findings.add(TooFewSites, "min_clients", f"wanted at most {len(set(sites))}, the sites in deploy_map, got {meta.min_clients}")
    for index, site in enumerate(meta.mandatory_clients):
        if site not in sites:
            findings.add(TooFewSites, f"mandatory_clients[{index}]", f"{site!r} is not in deploy_map{did_you_mean(site, sites)}")
    for site in meta.resource_spec:
        if site not in sites and site != SERVER:
            findings.note(f"resource_spec.{site}", f"deploy_map does not name it{did_you_mean(site, sites)}")
