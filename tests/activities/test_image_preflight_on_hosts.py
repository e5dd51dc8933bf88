"""Before a rollout, a real machine of an image is held to the contract."""

import pytest

from activities.image.preflight import ImagePreflight
from relight.images.contract_file import parse_contract
from relight.images.provision import MARKER
from tests.support.faulty_host import FaultyHost

pytestmark = pytest.mark.lab

CONTRACT = parse_contract(
    b"""\
packages:
  - nftables
  - sudo
files:
  - path: /etc/image.conf
    mode: "0640"
    content: one
  - path: /etc/hidden/token
masked:
  - apt-daily.timer
sysctls:
  net.ipv4.tcp_slow_start_after_idle: 0
absent:
  packages: [snapd]
absent_until_first_boot:
  packages: [lantern-box]
  paths: [/etc/ssh/ssh_host_*]
""",
    "mine.yaml",
)
HOLDS = f"""
mkdir -p {MARKER.rpartition("/")[0]} && touch {MARKER}
printf one >/etc/image.conf && chmod 0640 /etc/image.conf
mkdir -m 0700 -p /etc/hidden
ln -sf /dev/null /etc/systemd/system/apt-daily.timer
echo 'net.ipv4.tcp_slow_start_after_idle = 0' >/etc/sysctl.d/80-image.conf
/usr/lib/systemd/systemd-sysctl
"""
VIOLATES = """
rm /etc/systemd/system/apt-daily.timer
chmod 0644 /etc/image.conf
printf two >/etc/image.conf
sed -i '/^Package: nftables$/,/^Status:/ s/^Status: .*/Status: deinstall ok config-files/' \
    /var/lib/dpkg/status
"""


async def problem(host: FaultyHost) -> str | None:
    async with host.subject.hosts.connect(host.subject.machine) as shell:
        return await ImagePreflight(CONTRACT).problem(shell)


async def test_a_machine_of_an_image_is_held_to_the_contract(host: FaultyHost) -> None:
    host.sh(f"rm -f {MARKER}")
    assert await problem(host) is None, "an adopted machine is held to nothing"
    host.sh(HOLDS)
    assert await problem(host) is None
    host.sh(VIOLATES)
    said = await problem(host)
    assert said is not None
    lines = [
        "mine.yaml:2 packages: nftables is not installed: config-files",
        "mine.yaml:6 files: the mode of /etc/image.conf is 0644, not 0640",
        "mine.yaml:7 files: /etc/image.conf has another content",
        "mine.yaml:10 masked: apt-daily.timer is not masked: ",
    ]
    places = [said.find(line) for line in lines]
    assert -1 not in places, said
    assert places == sorted(places)
    assert host.subject.machine.key in said
    assert "RELIGHT_IMAGES__PREFLIGHT=false" in said
