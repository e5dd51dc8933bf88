"""The host program against other users of a real host: links, variables, and words of a call.

The management user may run it as root with any arguments; other users own folders that apt uses.
"""

import os
import random
import shlex

import pytest

from relight.hosts import host_program
from tests.support.faulty_host import NEW, OLD, FaultyHost
from tests.support.host_program_calls import Call, is_offered, random_call

pytestmark = pytest.mark.lab

USER, PROGRAM = "relight", str(host_program.PROGRAM)
CASES = int(os.environ.get("RELIGHT_FUZZ_CASES", "300"))
NAMES = ("relight", "loaded", "apt.conf", "probe", "relight.0000000000")


def call_as_user(host: FaultyHost, *words: str, before: str = ":", options: str = "") -> str:
    """Call the program as the management user; return the exit code and all output."""
    script = f"{before}; sudo -n {options} {shlex.join([PROGRAM, *words])} 2>&1; echo exit $?"
    return host.sh(f"cd /tmp; runuser -u {USER} -- sh -c {shlex.quote(script)}")


def state(host: FaultyHost) -> str:
    """Return digests of all that root alone may change, and what runs."""
    return host.sh(
        "find /etc /usr /root /boot /opt /var/lib /var/tmp /run/relight"
        " -xdev -type f -exec sha256sum {} + 2>/dev/null | sort -k2 | sha256sum;"
        "dpkg-query -W | sha256sum; systemctl list-units --all --plain --no-legend --type=service"
        " | grep -v -e user@ -e user-runtime -e session- | cut -d' ' -f1 | sha256sum;"
        "systemctl show --property=MainPID,InvocationID lantern-box.service"
    )


async def test_a_link_in_a_folder_of_another_user_truncates_no_file(host: FaultyHost) -> None:
    victim = str(host_program.CONFIGURATION)
    before = host.sh(f"cat {victim}")
    links = "; ".join(f'ln -sf {victim} "$folder/{name}"' for name in NAMES)
    plant = f"find / -xdev -type d -writable 2>/dev/null | while read -r folder; do {links}; done"
    for user in ("_apt", USER, "nobody"):
        host.sh(f"runuser -u {user} -- sh -c {shlex.quote(plant)} 2>/dev/null || true")
    assert host.sh("readlink /var/lib/apt/lists/partial/relight") == victim
    with host.rules("reject with tcp reset"):
        fault = await host.apt_fault()
    assert fault.kind == "repository-unreachable"
    assert host.sh(f"cat {victim}") == before
    await host.swap()
    assert host.sh(f"cat {victim}") == before


async def test_a_full_disk_is_still_reported(host: FaultyHost) -> None:
    lists = "/var/lib/apt/lists"
    host.sh(f"mount -t tmpfs -o nr_inodes=4,mode=755 tmpfs {lists}")
    host.sh(f"cd {lists}; mkdir -m 700 partial; chown _apt partial; touch lock other")
    fault = await host.apt_fault()
    assert fault.kind == "disk-full", fault.stderr_tail


@pytest.mark.parametrize("version", [f"{OLD}-", f"{NEW}-", f"{OLD}+", f"{NEW}+"])
@pytest.mark.parametrize("verb", ["install", "dry-run", "change"])
async def test_a_version_cannot_mean_another_change(
    host: FaultyHost, verb: str, version: str
) -> None:
    """`apt-get install NAME=VERSION-` removes the package."""
    answer = call_as_user(host, verb, version, "upgrade")
    assert "exit 64" in answer or f"Version '{version}' for 'lantern-box' was not found" in answer
    assert host.package() == f"ii {OLD}"


async def test_no_variable_of_the_caller_reaches_a_program(host: FaultyHost) -> None:
    """Not even one that the host's own rules let through, or any if they let callers set some."""
    host.sh(
        "printf 'Defaults setenv\\nDefaults env_keep += \"APT_CONFIG HOME CURL_HOME PATH\"\\n'"
        " >/etc/sudoers.d/zz-open; chmod 440 /etc/sudoers.d/zz-open;"
        "mkdir -p /tmp/mine; cd /tmp/mine;"
        "echo 'APT::Update::Pre-Invoke {\"touch /root/owned\";};' >apt.conf;"
        "printf '#!/bin/sh\\ntouch /root/owned\\n' >apt-get;"
        "cp apt-get dpkg-query; cp apt-get mktemp;"
        "chmod -R a+rx /tmp/mine"
    )
    variables = "export APT_CONFIG=/tmp/mine/apt.conf HOME=/tmp/mine PATH=/tmp/mine:$PATH"
    answer = call_as_user(host, "dry-run", NEW, "upgrade", before=variables)
    assert answer.endswith("exit 0"), answer
    call_as_user(host, "dry-run", NEW, "upgrade", before=variables, options="-E")
    assert "not allowed" in call_as_user(host, "observe", options="LD_PRELOAD=/tmp/mine/x.so")
    assert host.sh("test ! -e /root/owned && echo none") == "none"
    assert host.package() == f"ii {OLD}"


async def test_a_damaged_configuration_is_refused(host: FaultyHost) -> None:
    host.sh(f": >{host_program.CONFIGURATION}")
    assert "does not name a package" in call_as_user(host, "install", NEW, "upgrade")
    assert host.package() == f"ii {OLD}"


async def test_sudo_runs_nothing_else(host: FaultyHost) -> None:
    for command in ("id", "sh", f"/bin/sh {PROGRAM}", "/usr/bin/env", "-u nobody /usr/bin/id"):
        script = f"sudo -n {command} 2>&1; echo exit $?"
        assert host.sh(f"runuser -u {USER} -- sh -c {shlex.quote(script)}").endswith("exit 1")


async def test_random_calls_of_the_management_user_change_nothing(host: FaultyHost) -> None:
    source = random.Random(14)
    calls: list[Call] = []
    while len(calls) < CASES:
        call = random_call(source)
        if not is_offered(call):
            calls.append(call)
    before = state(host)
    for start in range(0, CASES, 100):
        batch = calls[start : start + 100]
        lines = [
            f"sudo -n {shlex.join([PROGRAM, *call])} >/dev/null 2>&1; echo $?" for call in batch
        ]
        script = "\n".join(lines)
        codes = host.sh(f"cd /tmp; runuser -u {USER} -- sh -c {shlex.quote(script)}").split()
        wrong = [call for call, code in zip(batch, codes, strict=True) if code != "64"]
        assert wrong == []
    assert state(host) == before
    await host.subject.prove(OLD)
