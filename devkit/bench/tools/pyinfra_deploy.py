"""The swap with pyinfra's own operations, and the check of every general tool."""

import json
import os
import time
import urllib.request
from pathlib import Path

from pyinfra import host
from pyinfra.operations import apt, python, server, systemd

_FLEET = json.loads(Path(os.environ["BENCH_FLEET"]).read_text())
_VERSION = os.environ["BENCH_VERSION"]
_PROBE_SECONDS = 3.0


def probe() -> None:
    """Probe the service of the host from the controller."""
    url = f"http://{host.name}:{_FLEET['port']}{_FLEET['path']}"
    deadline = time.monotonic() + _PROBE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_PROBE_SECONDS):
                return  # any status but success raises an error
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
        except urllib.error.URLError as error:
            if time.monotonic() > deadline or not isinstance(error.reason, ConnectionError):
                raise
        time.sleep(0.05)


apt.packages(
    name="Install the release",
    packages=[f"lantern-box={_VERSION}"],
    update=True,
    no_recommends=True,
    _sudo=True,
)
systemd.service(
    name="Restart the service",
    service="lantern-box.service",
    restarted=True,
    daemon_reload=True,
    _sudo=True,
)
server.shell(
    name="Check it",
    commands=[f"set -- {_VERSION}\n{(Path(__file__).parent / 'check.sh').read_text()}"],
    _sudo=True,
)
python.call(name="Probe its health", function=probe)
