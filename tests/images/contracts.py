"""A contract that asks for each kind of requirement, and the check of a folder against one."""

import hashlib
import subprocess
from pathlib import Path

from relight.domain.image.contract import ContractChecked
from relight.images.check import check_script, parse_check
from relight.images.contract_file import ContractFile, parse_contract
from relight.images.requirements import Subject, requirements
from tests.images.roots import pem

EVERYTHING = f"""\
packages:
  - tzdata
  - libstdc++6
downloads:
  - package: collector
    files:
      amd64: {{url: "https://example.com/c.deb", sha256: "{"c" * 64}"}}
directories:
  - path: /var/lib/service
    mode: "0750"
    owner: root:root
files:
  - path: /etc/service/token
    mode: "0600"
    owner: root:root
    content: ""
    filled_at_first_boot: true
  - path: /usr/bin/tool
    mode: "04755"
    sha256: "{hashlib.sha256(b"").hexdigest()}"
drop_ins:
  - unit: service@.service
    name: 10-more.conf
    content: |
      [Service]
      Nice=5
users:
  - name: manager
    shell: /bin/sh
    groups: [sudo, adm]
masked: [apt-daily.timer]
sysctls:
  net.ipv4.tcp_rmem: 4096 131072 6291456
certificates:
  - name: private-ca
    sha256: "{hashlib.sha256(pem("private").encode()).hexdigest()}"
    pem: |
{"".join(f"      {line}" + chr(10) for line in pem("private").splitlines())}
absent:
  packages: [unattended-upgrades]
  paths: ["/etc/cron.*/*update*"]
  units: [update.timer]
absent_until_first_boot:
  packages: [service]
  passwords: true
  paths: ["/etc/ssh/ssh_host_*"]
"""
ALL = parse_contract(EVERYTHING.encode(), "all.yaml")
ASKED = requirements(ALL, Subject.IMAGE)


def checked(
    file: ContractFile, root: Path, subject: Subject = Subject.IMAGE, *, unprivileged: bool = False
) -> ContractChecked:
    """Run the program on a folder, and read its answer."""
    argv = ["sh", "-s", "--", str(root)]
    if unprivileged:
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]
    script = check_script(file, subject)
    ended = subprocess.run(argv, input=script, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended
    assert ended.stderr == ""
    return parse_check(file, subject, ended.stdout)


def texts(result: ContractChecked) -> list[str]:
    return [str(each) for each in result.violations]
