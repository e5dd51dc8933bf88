"""A lab's network: a bridge with its own address range, and one namespace and link per machine.

The ranges are part of 198.18.0.0/15, which is reserved for tests. Machines have no route out of the
range and no name server, so every connection to the internet fails immediately. The computer also
has an `unreachable` route for the range, with a lower priority than the bridge's: packets to the
range never leave by the default route.
"""

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from lab.commands import attempt, run
from lab.errors import LabError
from lab.locks import locked
from lab.names import LabNames, link_name

POOL = IPv4Network("198.18.0.0/15")
RANGE_PREFIX = 22
REGIONS = ("lab-east", "lab-west")
_NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class LabNetwork:
    """The network of a running lab.

    Attributes:
        names: the lab's names.
        range: all addresses; each of the two regions has one half.
    """

    names: LabNames
    range: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """This computer's address in the range."""
        return self.range.network_address + 1

    def addresses(self, region: str) -> Iterator[IPv4Address]:
        """Cycle endlessly over a region's addresses, so that each is reused as late as possible."""
        half = list(self.range.subnets(prefixlen_diff=1))[REGIONS.index(region)]
        while True:
            yield from list(half)[10:-1]


async def open_network(names: LabNames, lock: Path) -> LabNetwork:
    """Reserve a free range, and create the bridge of a lab.

    Args:
        names: the lab's names.
        lock: the lock file that all labs share.

    Raises:
        LabError: no range is free.
    """
    async with locked(lock):
        network = LabNetwork(names, _free_range())
        run(
            *("ip", "route", "add", "unreachable", str(network.range)),
            *("metric", str(names.route_metric)),
        )
        bridge = names.bridge
        _batch(
            f"link add {bridge} address {_hardware(network.gateway)} type bridge forward_delay 0",
            f"link set {bridge} alias {names.tag}",
            f"address add {network.gateway}/{network.range.prefixlen} dev {bridge}",
            f"link set {bridge} up",
        )
    return network


def attach(network: LabNetwork, machine_id: str, address: IPv4Address) -> None:
    """Create a machine's namespace, with a link to the bridge."""
    namespace, link = network.names.machine(machine_id), link_name(machine_id)
    _batch(
        f"netns add {namespace}",
        f"link add {link} type veth peer name eth0 address {_hardware(address)} netns {namespace}",
        f"link set {link} alias {network.names.tag}",
        f"link set {link} master {network.names.bridge} up",
    )
    _batch(
        "link set lo up",
        f"address add {address}/{network.range.prefixlen} dev eth0",
        "link set eth0 up",
        namespace=namespace,
    )


def attach_second(network: LabNetwork, machine_id: str) -> None:
    """Give a machine a second link to the bridge, `eth1`, without an address."""
    namespace, link = network.names.machine(machine_id), f"{link_name(machine_id)}-1"
    _batch(
        f"link add {link} type veth peer name eth1 netns {namespace}",
        f"link set {link} alias {network.names.tag}",
        f"link set {link} master {network.names.bridge} up",
    )
    _batch("link set eth1 up", namespace=namespace)


def plug(machine_id: str, *, on: bool) -> None:
    """Switch a machine's link on or off.

    A machine that is off must not answer at all; with its link up it would refuse connections.
    """
    run("ip", "link", "set", link_name(machine_id), "up" if on else "down")


def detach(names: LabNames, machine_id: str) -> None:
    """Remove a machine's link and namespace, if they exist."""
    remove_link(link_name(machine_id))
    remove_namespace(names.machine(machine_id))


def links(names: LabNames) -> list[str]:
    """Return the names of a lab's links on this computer, the bridge last."""
    listed: list[dict[str, Any]] = json.loads(run("ip", "-json", "link", "show") or "[]")
    found = [link["ifname"] for link in listed if link.get("ifalias") == names.tag]
    if names.bridge in [link["ifname"] for link in listed] and names.bridge not in found:
        found.append(names.bridge)
    return sorted(found, key=lambda name: (name == names.bridge, name))


def namespaces(names: LabNames) -> list[str]:
    """Return the names of a lab's network namespaces."""
    if not _NAMESPACES.is_dir():
        return []
    return sorted(path.name for path in _NAMESPACES.iterdir() if names.is_machine(path.name))


def routes(names: LabNames) -> list[str]:
    """Return the destinations of a lab's unreachable routes."""
    query = ("ip", "-json", "route", "show", "type", "unreachable")
    listed: list[dict[str, Any]] = json.loads(run(*query) or "[]")
    return [route["dst"] for route in listed if route.get("metric") == names.route_metric]


def remove_link(name: str) -> None:
    """Remove a link, if it exists."""
    if Path("/sys/class/net", name).exists():
        attempt(("ip", "link", "delete", name))


def remove_namespace(name: str) -> None:
    """Remove a network namespace, if it exists."""
    if (_NAMESPACES / name).exists():
        attempt(("ip", "netns", "delete", name))


def remove_route(names: LabNames, destination: str) -> None:
    """Remove a lab's unreachable route, if it exists."""
    metric = str(names.route_metric)
    attempt(("ip", "route", "delete", "unreachable", destination, "metric", metric))


def _hardware(address: IPv4Address) -> str:
    """Return the hardware address for an IP address: no cached neighbour entry is ever wrong.

    Without one of its own, a bridge takes the lowest address of its links, so that each machine
    that comes or goes could cut the connections of the others for some seconds.
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x52, *address.packed))


def _free_range() -> IPv4Network:
    taken = [IPv4Network(text, strict=False) for text in _destinations()]
    for candidate in POOL.subnets(new_prefix=RANGE_PREFIX):
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise LabError(f"no /{RANGE_PREFIX} of {POOL} is free on this computer")


def _destinations() -> Iterator[str]:
    """Return the destinations of all routes of this computer, without the default route."""
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all") or "[]"):
        try:
            network = ipaddress.IPv4Network(route["dst"], strict=False)
        except ValueError:  # `default`
            continue
        if network.prefixlen > 0:
            yield str(network)


def _batch(*commands: str, namespace: str | None = None) -> None:
    inside = ("-n", namespace) if namespace else ()
    run("ip", *inside, "-batch", "-", stdin="\n".join(commands) + "\n")
