"""A job's folder is read, wrapped or refused; each refusal names file, field and value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sundog.kits.workspace.job_folder import ConfigMissing, JobRefused, NoJob, read_config, read_job
from sundog.kits.workspace.job_meta import JobMeta

JOBS = Path(__file__).parent.parent.parent / "data" / "jobs"

REFUSALS = {
    "duplicate_clients": "meta.json: deploy_map: site-1 stands 2 times, in app and app_two",
    "duplicate_server": "meta.json: deploy_map: server stands 2 times, in app and app_two",
    "invalid_resource_spec_data_type": 'meta.json: resource_spec[...]: expected object, got str: {"site-1": "one gpu"}',
    "mandatory_not_met": "meta.json: mandatory_clients[1]: 'site-3' is not in deploy_map; did you mean",
    "min_clients_value_range": "meta.json: min_clients: expected int >= 1, got 0",
    "missing_app": "meta.json: deploy_map.ap_two: the job has no folder 'ap_two'; did you mean 'app_two'?",
    "missing_client_config": "meta.json: deploy_map.app: server, site-1, site-2: wanted config_fed_client.json in app/config",
    "missing_server_config": "meta.json: deploy_map.app: server, site-1, site-2: wanted config_fed_server.json in app/config",
    "no_deployment": "meta.json: deploy_map: wanted at least one app, got {}",
    "not_enough_clients": "meta.json: min_clients: wanted at most 2, the sites in deploy_map, got 3",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_wrong_job_is_refused_for_its_one_mistake(name: str) -> None:
    """T039."""
    with pytest.raises(JobRefused) as refusal:
        read_job(JOBS / name)

    assert REFUSALS[name] in str(refusal.value)
    assert len(refusal.value.findings) == 1


@pytest.mark.parametrize("name", ["valid_app_as_job", "valid_job", "valid_job_deployment_all_idle"])
def test_a_right_job_is_accepted(name: str) -> None:
    """T039."""
    assert read_job(JOBS / name).meta.name == name


def test_every_fixture_is_in_a_test() -> None:
    """T039."""
    assert {path.name for path in JOBS.iterdir() if path.is_dir() and not path.name.startswith("valid_")} == REFUSALS.keys()


def test_an_app_without_meta_is_a_job_for_everybody() -> None:
    """T038."""
    job = read_job(JOBS / "valid_app_as_job")

    assert job.meta.deploy_map == {"app": ["@ALL"]}
    assert job.meta.sites is None
    for participant in ("server", "site-1", "hospital.example"):
        app = job.app_for(participant)
        assert app is not None
        assert job.path_of(app) == job.root


def copy(tmp_path: Path, **meta: Any) -> Path:
    """valid_job with a second app, and with keys of meta.json replaced."""
    job = tmp_path / "job"
    shutil.copytree(JOBS / "valid_job", job)
    shutil.copytree(job / "app", job / "other")
    found = json.loads((job / "meta.json").read_text())
    (job / "meta.json").write_text(json.dumps({**found, **meta}))
    return job


def test_each_participant_has_the_app_that_deploy_map_gives_it(tmp_path: Path) -> None:
    """T040."""
    job = read_job(copy(tmp_path, deploy_map={"app": ["server", "site-1"], "other": ["site-2"]}))

    apps = {name: job.app_for(name) for name in ("server", "site-1", "site-2", "site-3")}

    assert {name: app and app.name for name, app in apps.items()} == {"server": "app", "site-1": "app", "site-2": "other", "site-3": None}
    assert job.meta.sites == ("site-1", "site-2")


def test_all_sites_may_be_written_in_small_letters_beside_an_idle_app(tmp_path: Path) -> None:
    job = read_job(copy(tmp_path, deploy_map={"app": ["@all"], "other": []}))

    assert job.app_for("site-9") == job.apps["app"]
    assert not job.apps["other"].is_for("site-9")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"deploy_map": {"app": ["@ALL", "site-1"]}}, "@ALL must be alone and once, got @ALL, site-1"),
        ({"deploy_map": {"app": ["@ALL"], "other": ["@ALL"]}}, "@ALL must be alone and once"),
        ({"deploy_map": {"app": ["site-1", "site-2"]}}, 'no app is for "server", got site-1, site-2'),
        ({"deploy_map": {"../app": ["@ALL"]}}, "no app may be called '../app'"),
        ({"deploy_map": {"app": ["server", "../site"]}}, "deploy_map.app[1]: no site may be called '../site'"),
        ({"deploy_map": {"app": "@ALL"}}, "deploy_map[...]: expected array, got str"),
        ({"min_clients": 1_000_001}, "min_clients: expected int <= 1000000, got 1000001"),
        ({"min_clients": "2"}, 'min_clients: expected int | null, got str: "2"'),
        ({"min_client": 2}, "nobody reads the key 'min_client'; did you mean 'min_clients'?"),
        ({"seed": -1}, "seed: expected int >= 0, got -1"),
        ({"durability": "paper"}, "durability: invalid enum value 'paper'"),
    ],
)
def test_other_mistakes_in_meta_json_are_named_too(tmp_path: Path, meta: dict[str, Any], words: str) -> None:
    with pytest.raises(JobRefused) as refusal:
        read_job(copy(tmp_path, **meta))

    assert words in str(refusal.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    job = copy(tmp_path, deploy_map={"app": ["server", "site-1", "site-1"], "othr": ["site-2"]}, mandatory_clients=["site-5"])

    with pytest.raises(JobRefused, match="3 mistakes") as refusal:
        read_job(job)

    assert [finding.code for finding in refusal.value.findings] == ["SD-4028", "SD-4030", "SD-4025"]


def test_what_a_server_adds_to_meta_json_is_noted_not_refused(tmp_path: Path) -> None:
    job = read_job(copy(tmp_path, job_id="x", status="FINISHED:COMPLETED"))

    assert [note.split(": ")[1] for note in job.notes] == ["job_id", "status"]


def test_no_job_asks_for_less_than_nothing(tmp_path: Path) -> None:
    """It would wait for ever."""
    with pytest.raises(JobRefused, match=r"SD-4173.*resource_spec\.site-1\.gpu: wanted a number from 0 on, got -1"):
        read_job(copy(tmp_path, resource_spec={"site-1": {"gpu": -1, "memory": "16 GB", "cpu": 0.5}}))


def test_a_misspelt_site_in_resource_spec_is_noted(tmp_path: Path) -> None:
    job = read_job(copy(tmp_path, resource_spec={"site-11": {"gpu": 1}}))

    assert job.notes == ("meta.json: resource_spec.site-11: deploy_map does not name it; did you mean 'site-1'?",)


def test_the_same_job_in_yaml_is_the_same(tmp_path: Path) -> None:
    """T048."""
    job = copy(tmp_path)
    before = read_job(job), read_config(job / "app" / "config", "config_fed_server")[0]
    for path in (job / "meta.json", job / "app" / "config" / "config_fed_server.json"):
        path.with_suffix(".yml").write_text(yaml.safe_dump(json.loads(path.read_text())))
        path.unlink()

    assert read_job(job).meta == before[0].meta
    assert read_config(job / "app" / "config", "config_fed_server")[0] == before[1]


def test_a_config_with_a_slip_is_a_mistake_of_the_job(tmp_path: Path) -> None:
    job = copy(tmp_path)
    (job / "app" / "config" / "config_fed_client.json").write_text('{"a": 1,\n "a": 2}')

    with pytest.raises(JobRefused, match=r"app/config/config_fed_client.json: a: the key 'a' is there a second time \(line 2, column 2\)"):
        read_job(job)


def test_a_misspelt_config_is_suggested(tmp_path: Path) -> None:
    job = copy(tmp_path)
    (job / "app" / "config" / "config_fed_server.json").rename(job / "app" / "config" / "config_fed_sever.json")

    with pytest.raises(ConfigMissing, match=r"wanted config_fed_server.json; did you mean 'config_fed_sever.json'"):
        read_config(job / "app" / "config", "config_fed_server")


def test_a_linked_app_is_no_app(tmp_path: Path) -> None:
    job = copy(tmp_path, deploy_map={"linked": ["@ALL"]})
    (job / "linked").symlink_to(job / "app")

    with pytest.raises(JobRefused, match="the job has no folder 'linked'"):
        read_job(job)


def test_a_folder_that_is_no_job_says_what_it_could_be(tmp_path: Path) -> None:
    (tmp_path / "app" / "config").mkdir(parents=True)

    with pytest.raises(NoJob, match=r"neither meta.json nor config/; app in it could be apps"):
        read_job(tmp_path)
    with pytest.raises(NoJob, match="there is no such folder"):
        read_job(tmp_path / "missing")


MAP = {"app": ["server", "site-1", "site-2", "site-3"]}


@pytest.mark.parametrize(
    ("meta", "present", "words"),
    [
        (JobMeta(deploy_map=MAP), ["site-1", "site-3"], "waits for site-2: 2 of the 3 sites needed are there"),
        (JobMeta(deploy_map=MAP), ["site-1", "site-2", "site-3", "site-4"], ""),
        (JobMeta(deploy_map=MAP, min_clients=2), ["site-1", "site-3"], ""),
        (JobMeta(deploy_map=MAP, min_clients=2), ["site-1", "site-9"], "waits for site-2, site-3: 1 of the 2 sites needed are there"),
        (JobMeta(deploy_map=MAP, min_clients=2, mandatory_clients=["site-2"]), ["site-1", "site-3"], "waits for site-2 (mandatory)"),
        (JobMeta(deploy_map={"app": ["@ALL"]}), [], "waits for 1 more site: 0 of the 1 sites needed are there"),
        (JobMeta(deploy_map={"app": ["@ALL"]}, min_clients=2), ["x", "y"], ""),
        (JobMeta(deploy_map={"app": []}), [], ""),
    ],
)
def test_a_job_says_for_whom_it_waits(meta: JobMeta, present: list[str], words: str) -> None:
    """T041."""
    assert meta.waits_for(present) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10**30, r"resource_spec.site-1.gpu: wanted a whole number of at most 64 bits, got one of 100"),
        (-(2**63) - 1, r"resource_spec.site-1.gpu: wanted a whole number of at most 64 bits, got one of 64"),
        ([{"deep": 2**64}], r"resource_spec.site-1.gpu[0].deep: wanted a whole number"),
        ("\ud800", r"resource_spec.site-1.gpu: wanted a text in Unicode, got '\ud800'"),
    ],
)
def test_a_value_that_no_record_can_hold_is_refused_with_its_path(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(JobRefused) as refused:
        read_job(copy(tmp_path, resource_spec={"site-1": {"gpu": value}}))

    assert any(f"[SD-4181] meta.json: {words}" in str(finding) for finding in refused.value.findings)


def test_the_largest_numbers_that_a_record_can_hold_are_taken(tmp_path: Path) -> None:
    spec = {"site-1": {"gpu": 2**64 - 1, "ratio": 0.5}}

    assert read_job(copy(tmp_path, resource_spec=spec)).meta.resource_spec == spec
