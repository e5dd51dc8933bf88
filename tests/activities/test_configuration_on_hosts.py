"""The service's configuration on a real host: checked, written, taken and proven."""

import json
from collections.abc import Sequence

import pytest

from activities.configurations import ServiceConfigurations
from relight.domain.configuration import (
    Configuration,
    ConfigurationFile,
    OnConfigurationChange,
)
from relight.domain.fault.fault import FaultClass
from relight.domain.route import OpenRouteInput
from relight.hosts import proof, transaction
from relight.hosts.configuration import HostConfiguration, HostFile
from relight.hosts.host_program import Change
from tests.store.fleets import MANUAL
from tests.support.contract_hosts import lab_subject, plan, release
from tests.support.faulty_host import (
    NEW,
    OLD,
    SELF_STARTING,
    UNIT,
    FaultyHost,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

CONFIG = "/etc/lantern-box/config.json"
POLICY = "/usr/sbin/policy-rc.d"
SECRET = "a-secret-of-the-service"
CHECK = ("sh", "-c", f"python3 -m json.tool {CONFIG} && cat /etc/lantern-box/extra")


def configuration(track: str, *, check: Sequence[str] = CHECK, text: str = "") -> HostConfiguration:
    content = text or json.dumps({"listen": "0.0.0.0:8899", "track": track})
    files = (
        HostFile(CONFIG, "644", "root", "root", content.encode()),
        HostFile("/etc/lantern-box/extra", "600", "nobody", "root", SECRET.encode()),
    )
    change = OnConfigurationChange.RESTART
    return HostConfiguration(files, tuple(check), change, b"key", (SECRET,))


async def swap(host: FaultyHost, version: str, wanted: HostConfiguration | None) -> None:
    """Change a host, and prove that it has the version and the configuration."""
    subject = host.subject
    present = [subject.user_data.keys().secrets[0].host_key(subject.machine.key)]
    unit = transaction.unit_name(subject.new_run())
    change = Change(version, rollback=True)
    async with subject.hosts.connect(subject.machine) as shell:
        ended = await transaction.run_transaction(
            shell, unit, change, subject.service, lambda _: None, None, present, wanted
        )
        await transaction.forget(shell, unit)
        digests = (wanted.digest if wanted else "",)
        await proof.watch(
            shell, subject.service, version, lambda _: None, ended.observation, digests
        )


def starts(host: FaultyHost) -> int:
    return int(host.sh(f"journalctl -q -o cat -u {UNIT} | grep -c '^Started'"))


async def test_package_and_configuration_change_together_and_the_service_starts_once(
    host: FaultyHost,
) -> None:
    host.sh(f"test ! -e {POLICY}")
    before, first = starts(host), host.sh(f"cat {CONFIG}")
    await swap(host, SELF_STARTING, configuration("beta"))
    assert starts(host) == before + 1
    assert host.sh(f"stat -c '%a %U' {CONFIG} /etc/lantern-box/extra") == "644 root\n600 nobody"
    assert host.sh(f"ls -d {POLICY} /run/relight/staged 2>/dev/null || true") == ""
    # Only the configuration, and then back to the host's own.
    pid = host.main_pid()
    await swap(host, SELF_STARTING, configuration("stable"))
    assert host.main_pid() != pid
    await swap(host, OLD, None)
    assert host.sh(f"cat {CONFIG}") == first
    assert SECRET not in host.sh("journalctl -q -o cat")


async def test_a_refused_configuration_is_a_fault_of_the_release_in_the_checks_own_words(
    host: FaultyHost,
) -> None:
    await swap(host, NEW, configuration("stable"))
    pid, first = host.main_pid(), host.sh(f"cat {CONFIG}")
    script = f"cat /etc/lantern-box/extra; python3 -m json.tool {CONFIG} >/dev/null"
    bad = configuration("", check=("sh", "-c", script), text='{"listen": }')
    fault = await host.fault(swap(host, NEW, bad))
    assert (fault.kind, fault.fault_class) == ("configuration-refused", FaultClass.RELEASE)
    assert "Expecting value: line 1 column 12" in fault.summary
    assert SECRET not in fault.model_dump_json()
    assert host.main_pid() == pid
    assert host.sh(f"cat {CONFIG}") == first
    await swap(host, OLD, configuration("stable"))


async def test_a_service_that_its_package_stops_runs_again_if_its_configuration_is_refused(
    host: FaultyHost,
) -> None:
    first = host.sh(f"cat {CONFIG}")
    bad = configuration("beta", check=("false",))
    fault = await host.fault(swap(host, SELF_STARTING, bad))
    assert fault.kind == "configuration-refused"
    assert host.sh(f"systemctl is-active {UNIT}") == "active"
    assert host.sh(f"cat {CONFIG}") == first
    host.sh(f"test ! -e {POLICY}")
    await swap(host, OLD, None)


async def test_an_edited_file_is_drift_and_another_change_heals_it(host: FaultyHost) -> None:
    wanted = configuration("stable")
    await swap(host, NEW, wanted)
    host.sh(f"echo ' ' >>{CONFIG}")
    subject = host.subject
    async with subject.hosts.connect(subject.machine) as shell:
        watching = proof.watch(
            shell, subject.service, NEW, lambda _: None, configurations=(wanted.digest,)
        )
        fault = await host.fault(watching)
    assert (fault.kind, fault.fault_class) == ("configuration-edited", FaultClass.HOST)
    assert f"{CONFIG} was changed" in fault.summary
    await swap(host, NEW, wanted)


async def test_a_new_machine_starts_its_service_once_with_its_configuration(lab: Lab) -> None:
    template = '{"listen": "0.0.0.0:8899", "track": "{{ values.track }}"} '
    made = Configuration(
        files=(
            ConfigurationFile(path="/etc/default/lantern-box", template="T={{ secrets.T }}\n"),
            ConfigurationFile(path=CONFIG, template=template),
        ),
        check=("python3", "-m", "json.tool", CONFIG),
        values={"track": "beta"},
    )
    key = "configured-1-g1"
    planned = plan(key, OLD).model_copy(update={"configuration": made.revision})
    async with lab_subject(lab, key, OLD, planned=planned) as subject:
        assert SECRET not in subject.user_data.render(planned).text.get_secret_value()
        subject.store.configurations.add(made, MANUAL)
        opening = OpenRouteInput(
            route_id="configured-1",
            track="stable",
            provider="lab",
            region="lab-east",
            release_tag=f"v{OLD}",
            origin=MANUAL.origin,
        )
        subject.store.tracks.set("stable", None, MANUAL)
        assert subject.store.routes.open(opening, MANUAL).machine_key == key
        subject.configurations = ServiceConfigurations(
            subject.store, {"T": SECRET}, subject.user_data.keys
        )
        await subject.first_boot()
        tag = f"v{OLD}@{made.revision}"
        proven = await subject.prove(release(OLD).model_copy(update={"tag": tag}))
        assert len(proven.configuration) == 64

        def sh(script: str) -> str:
            return lab.run(subject.machine.provider_id, "sh", "-ec", script).stdout.strip()

        assert sh(f"cat {CONFIG}") == '{"listen": "0.0.0.0:8899", "track": "beta"}'
        assert sh("stat -c %a /etc/default/lantern-box") == "600"
        assert sh(f"journalctl -q -o cat -u {UNIT} | grep -c '^Started'") == "1"
        assert sh(f"test ! -e {POLICY} && systemctl is-enabled {UNIT}") == "enabled"
        # The next release, with another configuration, and back.
        other = made.model_copy(update={"values": {"track": "stable"}})
        subject.store.configurations.add(other, MANUAL)
        for version, revision in ((NEW, other.revision), (OLD, made.revision)):
            named = release(version).model_copy(update={"tag": f"v{version}@{revision}"})
            swapped = await subject.swap(named, allow_downgrade=True)
            assert swapped.proof.release_tag == named.tag
        assert sh(f"grep -c beta {CONFIG}") == "1"
