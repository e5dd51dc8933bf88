"""All traces of a lab on this computer, found without the lab's own code."""

import json
import os
import subprocess
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from tests.support.processes import alive

BRIDGES = "rl-"
"""How the names of all labs' bridges begin."""


def traces(name: str, network: str | None = None) -> list[str]:
    """Return the traces of the lab with this unique name, and of its address range."""
    found = [f"process {line}" for line in _processes(name)]
    found += [f"mount {line}" for line in _lines("/proc/mounts") if name in line]
    found += [f"cgroup {path}" for path in _below("/sys/fs/cgroup") if name in path.name]
    found += [str(path) for path in _below("/run/systemd/nspawn") if name in str(path)]
    found += [str(path) for path in _below("/run/netns") if name in path.name]
    found += [str(path) for path in _below("/run/lock") if name in path.name]
    found += [f"socket {line}" for line in _lines("/proc/net/unix") if name in line]
    for link in _ip("link"):
        if name in link["ifname"] or name in link.get("ifalias", ""):
            found.append(f"link {link['ifname']}")
    if network is not None:
        found += _addresses_and_routes(IPv4Network(network), name)
    return found


def _addresses_and_routes(network: IPv4Network, name: str) -> list[str]:
    addresses = [
        (entry["local"], link["ifname"])
        for link in _ip("-4", "address")
        for entry in link.get("addr_info", [])
    ]
    routes = [
        (route["dst"], route.get("dev", "")) for route in _ip("-4", "route", "show", "table", "all")
    ]
    return [
        f"address or route {text} at {device}"
        for text, device in [*addresses, *routes]
        if text != "default"
        and IPv4Interface(text).ip in network
        # Another lab may have begun meanwhile, and have this network now.
        and not (device.startswith(BRIDGES) and name not in device)
    ]


def _processes(name: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if not alive(int(process.name)):  # ended, but not yet reaped by its parent
            continue
        command = _text(process / "cmdline").replace("\0", " ")
        if f"--name {name}" in command or f"-{name}-" in command:
            found.append(f"{process.name} {command}")
        elif name in _text(process / "cgroup"):
            found.append(f"{process.name} in the cgroup of the lab")
    return found


def _below(folder: str) -> list[Path]:
    # Not rglob: folders of another lab may be removed meanwhile.
    return sorted(
        Path(root, name) for root, folders, files in os.walk(folder) for name in folders + files
    )


def _lines(path: str) -> list[str]:
    return _text(Path(path)).splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _ip(*query: str) -> list[dict[str, Any]]:
    output = subprocess.run(["ip", "-json", *query], capture_output=True, check=True).stdout
    listed: list[dict[str, Any]] = json.loads(output or b"[]")
    return [entry for entry in listed if entry]
