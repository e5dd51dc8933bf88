"""What a worker acts on, by its settings: where its releases come from, and its health probe."""

from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
import yaml
from pydantic import ValidationError

from activities.rollout.checks import CommandCheck
from activities.rollout.prometheus import Bounds, PrometheusCheck
from devkit.simulated.written_files import binary_content
from relight.domain.machine import MachinePlan
from relight.gate_check_settings import CommandCheckSettings, PrometheusCheckSettings
from relight.hosts.host_program import CONFIGURATION, PROGRAM, text
from relight.hosts.probe import PatientProbe, TcpProbe
from relight.releases.apt_repository import AptRepository
from relight.releases.github_releases import GitHubReleases
from relight.setting_groups import (
    GitHubSettings,
    RepositorySettings,
    ServiceSettings,
    SettingsError,
    SshSettings,
)
from relight.settings import Settings
from relight.store.store import open_upgraded_store
from tests.support.apt_repository import key_ring
from worker import open_parts

KEY = "/etc/apt/keyrings/relight.gpg"
"""Where hosts have the key of the repository."""

PLAN = MachinePlan(
    key="de-1-g1",
    route_id="de-1",
    track="stable",
    provider="lab",
    region="lab-east",
    release_version="0.0.74",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    open_upgraded_store(f"sqlite:///{tmp_path / 'fleet.db'}").close()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "client_key")
    (tmp_path / "secret").write_text("07" * 32)
    with key_ring() as keys:
        public = keys.public(keys.make("repository"), armoured=True)
    (tmp_path / "key.asc").write_bytes(public)
    return Settings(
        home=tmp_path,
        ssh=SshSettings(client_key=tmp_path / "client_key", host_key_secret=tmp_path / "secret"),
        repository=RepositorySettings(
            url="https://packages.example", signing_key=tmp_path / "key.asc"
        ),
    )


async def files_of(settings: Settings, source: type) -> set[str]:
    """The files that a machine is given; releases come from this kind of source."""
    async with open_parts(settings) as parts:
        assert isinstance(parts.repository, source)
        text = parts.user_data.render(PLAN).text.get_secret_value()
    return {file["path"] for file in yaml.safe_load(text)["write_files"]}


async def test_from_an_apt_repository_its_source_is_written_to_hosts(settings: Settings) -> None:
    assert "/etc/apt/sources.list.d/relight.sources" in await files_of(settings, AptRepository)


async def test_from_github_no_apt_source_is_written_to_hosts(settings: Settings) -> None:
    github = {"github": GitHubSettings(repository="owner/name"), "repository": RepositorySettings()}
    files = await files_of(settings.model_copy(update=github), GitHubReleases)
    assert files
    assert not [path for path in files if path.startswith("/etc/apt/")]


async def test_the_settings_of_hosts_are_the_files_of_their_first_boot(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        user_data = parts.user_data.render(PLAN).text.get_secret_value()
        told = parts.host_settings
    files = yaml.safe_load(user_data)["write_files"]
    written = {file["path"]: binary_content(file) for file in files}
    assert told is not None
    contents = {str(each.path): each.content for each in told.files}
    assert len(contents) == 4
    program = str(PROGRAM)
    assert contents.pop(program) == text()
    assert written[program] == text(first_boot=True, by_apt=True)
    assert contents == {path: written[path] for path in contents}
    with key_ring() as keys:
        assert keys.shown(contents[KEY]) == ["repository@example.org"]


async def test_hosts_trust_the_next_key_of_the_repository_too(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        before = parts.host_settings
    assert settings.repository.signing_key is not None
    with key_ring() as keys:
        following = keys.public(keys.make("following"), armoured=True)
        settings.repository.signing_key.with_name("key.asc.next").write_bytes(following)
        async with open_parts(settings) as parts:
            told = parts.host_settings
        assert told is not None
        [key] = [each.content for each in told.files if str(each.path) == KEY]
        assert keys.shown(key) == ["repository@example.org", "following@example.org"]
    assert before is not None
    assert before != told


async def test_a_release_may_install_several_packages(settings: Settings) -> None:
    service = ServiceSettings(package="redis-server", packages=("redis-server", "redis-tools"))
    async with open_parts(settings.model_copy(update={"service": service})) as parts:
        assert (parts.service.package, parts.service.packages) == ("redis-server", ("redis-tools",))
        assert parts.host_settings is not None
        [told] = [each for each in parts.host_settings.files if each.path == CONFIGURATION]
        assert b"PACKAGES=redis-tools\n" in told.content
    with pytest.raises(SettingsError, match="begins with redis-tools"):
        ServiceSettings(package="redis-server", packages=("redis-tools", "redis-server"))


async def test_another_package_gets_none_of_the_default_ones_files(settings: Settings) -> None:
    service = ServiceSettings(package="redis-server", unit="redis-server.service")
    of_default = {path for path in await files_of(settings, AptRepository) if "lantern-box" in path}
    assert of_default == {"/etc/lantern-box/config.json", "/etc/default/lantern-box"}
    other = settings.model_copy(update={"service": service})
    files = await files_of(other, AptRepository)
    assert "/etc/apt/sources.list.d/relight.sources" in files
    assert not [path for path in files if "lantern-box" in path]


async def test_from_two_places_it_does_not_start(settings: Settings) -> None:
    both = settings.model_copy(update={"github": GitHubSettings(repository="owner/name")})
    with pytest.raises(SettingsError, match="both set"):
        async with open_parts(both):
            pass


async def test_the_health_probe_is_the_one_that_was_chosen(settings: Settings) -> None:
    service = ServiceSettings(probe="tcp", probe_port=443, probe_patience=timedelta(seconds=1))
    async with open_parts(settings.model_copy(update={"service": service})) as parts:
        assert parts.probe == PatientProbe(
            TcpProbe(443, timedelta(seconds=3)), timedelta(seconds=1)
        )


async def test_the_checks_of_gates_are_the_ones_that_were_named(settings: Settings) -> None:
    named = {
        "errors": PrometheusCheckSettings(
            kind="prometheus", url="http://prom:9090/x", query="up", min_value=1
        ),
        "smoke": CommandCheckSettings(kind="command", command=("smoke",)),
    }
    async with open_parts(settings.model_copy(update={"gate_checks": named})) as parts:
        assert parts.checks == {
            "errors": PrometheusCheck(
                "http://prom:9090/x", "up", Bounds(min_value=1), timedelta(seconds=10)
            ),
            "smoke": CommandCheck(("smoke",), timedelta(minutes=1)),
        }


async def test_machines_are_tagged_as_the_fleets_that_was_named(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        assert parts.fleet_owner == "relight"
    async with open_parts(settings.model_copy(update={"fleet_owner": "lantern-eu"})) as parts:
        assert parts.fleet_owner == "lantern-eu"


@pytest.mark.parametrize("owner", ["Relight", "-relight", "re light", "r" * 49])
def test_a_tag_that_no_provider_would_take_is_refused(owner: str) -> None:
    with pytest.raises(ValidationError, match="fleet_owner"):
        Settings(fleet_owner=owner)
