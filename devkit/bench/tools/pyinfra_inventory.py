"""pyinfra's inventory: the hosts in the file that the variable BENCH_FLEET names."""

import json
import os
from pathlib import Path

_FLEET = json.loads(Path(os.environ["BENCH_FLEET"]).read_text())
_ACCESS = {
    "ssh_user": _FLEET["user"],
    "ssh_key": _FLEET["client_key"],
    "ssh_known_hosts_file": _FLEET["known_hosts"],
    "ssh_strict_host_key_checking": "yes",
}

machines = [(host["address"], _ACCESS) for host in _FLEET["hosts"]]
