"""A release on GitHub, installed on real machines from a fake GitHub server."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from ipaddress import IPv4Network

import pytest
from pydantic import SecretStr

from devkit.simulated.parts import first_boot_parts
from relight.domain.release import Release
from relight.hosts.errors import CommandFailedError, PackageError
from relight.providers.lab import LabDriver
from relight.releases.github_releases import GitHubReleases
from tests.support.contract_hosts import (
    CLIENT_KEY,
    LAB_PROBE,
    LAB_SERVICE,
    Subject,
    lab_hosts,
    lab_subject,
    new_store,
    plan,
    running,
    spec_of,
)
from tests.support.fake_github import (
    DOWNLOADS,
    REPOSITORY,
    FakeGitHub,
    fake_github,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

OLD, NEW = "0.0.73", "0.0.74"


@pytest.fixture(scope="module")
def github(lab: Lab) -> Iterator[FakeGitHub]:
    """A fake GitHub with the lab's packages, at the only address that the machines reach."""
    with fake_github(str(IPv4Network(lab.network)[1])) as github:
        for version in (OLD, NEW):
            (deb,) = lab.state.glob(f"repository/pool/**/lantern-box_{version}_*.deb")
            # As GitHub encodes a tag with a plus: systemd and curl must not change it.
            asset = github.attach(github.release(f"v{version}"), deb.name, deb.read_bytes())
            path = asset["browser_download_url"].removeprefix(github.url)
            github.files[f"{path}+%"] = github.files.pop(path)
            asset["browser_download_url"] += "%2B%25"
        yield github


async def resolved(github: FakeGitHub, version: str) -> Release:
    source = GitHubReleases(
        repository=REPOSITORY,
        package="lantern-box",
        api_url=github.url,
        token=SecretStr("squirrel"),
        cache_time=timedelta(0),
    )
    try:
        return await source.resolve(f"v{version}", [])
    finally:
        await source.close()


@pytest.fixture(scope="module")
async def subject(lab: Lab, github: FakeGitHub) -> AsyncIterator[Subject]:
    """A machine on which apt installed the old release."""
    key = f"github-{uuid.uuid4().hex[:6]}-g1"
    async with lab_subject(lab, key, OLD, deb_urls=f"{github.url}{DOWNLOADS}/") as subject:
        await subject.first_boot()
        await subject.prove(OLD)
        yield subject


def sh(lab: Lab, subject: Subject, script: str) -> str:
    return lab.run(lab.machine_id(subject.machine.key), "sh", "-ec", script).stdout.strip()


async def test_a_machine_is_swapped_from_apts_release_to_githubs_and_back(
    lab: Lab, github: FakeGitHub, subject: Subject
) -> None:
    before, release = await subject.prove(OLD), await resolved(github, NEW)
    wrong = release.model_copy(
        update={
            "deb_files": tuple(
                deb_file.model_copy(update={"sha256": "0" * 64}) for deb_file in release.deb_files
            )
        }
    )
    with pytest.raises(PackageError, match="the SHA-256 of") as caught:
        await subject.swap(wrong)
    assert caught.value.kind == "repository-inconsistent"
    assert (await subject.prove(OLD)).invocation_id == before.invocation_id

    swapped = await subject.swap(release)
    assert swapped.proof.version == NEW
    assert sh(lab, subject, "ls -d /var/tmp/relight.* 2>/dev/null || true") == ""

    # The same file repairs damage. An older release needs permission.
    file = "/usr/bin/lantern-box"
    sh(lab, subject, f"cp {file} {file}.new; echo damaged >>{file}.new; mv {file}.new {file}")
    assert sh(lab, subject, "dpkg --verify lantern-box | grep -v ' c /'")
    await subject.swap(release)
    assert sh(lab, subject, "dpkg --verify lantern-box | grep -v ' c /' || true") == ""
    older = await resolved(github, OLD)
    with pytest.raises(PackageError) as refused:
        await subject.swap(older)
    assert refused.value.kind == "downgrade-refused"
    await subject.swap(older, allow_downgrade=True)


async def test_a_file_from_another_address_is_refused(
    lab: Lab, github: FakeGitHub, subject: Subject
) -> None:
    release = await resolved(github, NEW)
    (deb_file,) = release.deb_files
    other_address = deb_file.model_copy(update={"filename": f"{github.url}/somebody/else.deb"})
    with pytest.raises(CommandFailedError, match="packages come from") as caught:
        await subject.swap(release.model_copy(update={"deb_files": (other_address,)}))
    assert (caught.value.exit_code, caught.value.retryable) == (64, False)
    await subject.prove(OLD)


async def test_a_first_boot_installs_githubs_release_without_an_apt_source(
    lab: Lab, github: FakeGitHub
) -> None:
    key = f"github-{uuid.uuid4().hex[:6]}-g1"
    user_data, settings = first_boot_parts(
        CLIENT_KEY, by_apt=False, deb_urls=f"{github.url}{DOWNLOADS}/"
    )
    driver = LabDriver(lab.api_url, SecretStr(lab.token))
    release = await resolved(github, NEW)
    planned = plan(key, NEW).model_copy(update={"deb_file": release.deb_files[0]})
    spec = spec_of(planned, user_data)
    machine = await running(driver, key, spec)
    try:
        with new_store() as store:
            subject = Subject(
                machine, lab_hosts(), user_data, LAB_SERVICE, LAB_PROBE, store, planned, settings
            )
        await subject.first_boot()
        assert (await subject.prove(NEW)).version == NEW
        assert sh(lab, subject, "ls /etc/apt/sources.list.d/relight* 2>/dev/null || true") == ""
    finally:
        await driver.destroy(machine.ref)
        await driver.close()
