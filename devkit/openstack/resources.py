"""What is in the cloud: its services, and all that a fleet needs to create machines there."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx

from devkit.openstack.rest import HOST, PORTS, Login, RefusedError, Rest, endpoint
from lab.network import POOL, LabNetwork

REGION, FLAVOR, IMAGE = "RegionOne", "relight-512", "debian-12"
FLEET = "relight"
"""The name of the fleet's user, project, network and security group."""

_FLAVOR = {"ram": 512, "vcpus": 1, "disk": 3}
_PIECE_BYTES = 1 << 20
_AGENTS = 3
_COMPUTE = {"nova-conductor", "nova-scheduler", "nova-compute"}


async def register_services(admin: Rest, secret: str) -> None:
    """Register the services in the catalog, and their user.

    Raises:
        RefusedError: a service refused it.
    """
    project = await _identity(admin, "project", name="service", domain_id="default")
    user = await _identity(admin, "user", name="service", domain_id="default", password=secret)
    await _grant(admin, project, user, "admin")
    for kind in PORTS.keys() - {"identity"}:
        service = await _identity(admin, "service", type=kind, name=kind)
        for interface in ("public", "internal"):
            await _identity(
                admin,
                "endpoint",
                service_id=service,
                interface=interface,
                url=endpoint(HOST, kind),
                region_id=REGION,
            )


async def add_fleet(admin: Rest, secret: str) -> Login:
    """Add the fleet's project, and its user, who has no rights elsewhere.

    Raises:
        RefusedError: a service refused it.
    """
    project = await _identity(admin, "project", name=FLEET, domain_id="default")
    user = await _identity(admin, "user", name=FLEET, domain_id="default", password=secret)
    await _grant(admin, project, user, "member")
    return Login(FLEET, FLEET, secret)


async def add_images(admin: Rest, guest: Path) -> None:
    """Add the flavor and the image of machines.

    Raises:
        RefusedError: a service refused it.
    """
    flavor = {"flavor": {"name": FLAVOR, **_FLAVOR}}
    await admin.post("compute", "/flavors", flavor)
    await _upload(admin, IMAGE, guest)


async def add_network(admin: Rest, fleet: Rest, net: LabNetwork) -> None:
    """Add the network of machines, which is the lab's own, and the fleet's security group.

    Raises:
        RefusedError: a service refused it.
    """
    network = {
        "name": FLEET,
        "project_id": fleet.project_id,
        "provider:network_type": "flat",
        "provider:physical_network": "provider",
    }
    made = await admin.post("network", "/v2.0/networks", {"network": network})
    pool: IPv4Network = list(net.range.subnets(prefixlen_diff=1))[1]
    subnet = {
        "name": FLEET,
        "network_id": made["network"]["id"],
        "project_id": fleet.project_id,
        "ip_version": 4,
        "cidr": str(net.range),
        # No route out, as in the lab; but one to the repositories of labs on this computer.
        "gateway_ip": None,
        "host_routes": [{"destination": str(POOL), "nexthop": str(net.gateway)}],
        "allocation_pools": [{"start": str(pool[10]), "end": str(pool[-2])}],
    }
    await admin.post("network", "/v2.0/subnets", {"subnet": subnet})
    group = {"security_group": {"name": FLEET}}
    added = await fleet.post("network", "/v2.0/security-groups", group)
    for protocol in ("tcp", "icmp"):
        rule = {
            "security_group_id": added["security_group"]["id"],
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": protocol,
        }
        await fleet.post("network", "/v2.0/security-group-rules", {"security_group_rule": rule})


async def publish_endpoints(admin: Rest, address: str) -> None:
    """Let the catalog name an address that can be reached from outside of the computer.

    Raises:
        RefusedError: a service refused it.
    """
    listed = await admin.get("identity", "/v3/endpoints?interface=public")
    for each in listed["endpoints"]:
        url = str(httpx.URL(each["url"]).copy_with(host=address))
        await admin.patch("identity", f"/v3/endpoints/{each['id']}", {"endpoint": {"url": url}})


async def unhealthy(address: str, login: Login, since: datetime) -> list[str]:
    """Return what is not in order, one line each: services that have not reported since a time."""
    try:
        async with Rest(address, login) as admin:
            services = (await admin.get("compute", "/os-services"))["services"]
            agents = (await admin.get("network", "/v2.0/agents"))["agents"]
            await admin.get("image", "/v2/images?limit=1")
            placed = (await admin.get("placement", "/resource_providers"))["resource_providers"]
            hypervisors = (await admin.get("compute", "/os-hypervisors"))["hypervisors"]
    except (RefusedError, httpx.HTTPError) as error:
        return [str(error) or type(error).__name__]
    up = {
        each["binary"]
        for each in services
        if each["state"] == "up" and _is_later(each["updated_at"], since)
    }
    alive = [
        each for each in agents if each["alive"] and _is_later(each["heartbeat_timestamp"], since)
    ]
    lacking = [f"{binary} has not reported" for binary in sorted(_COMPUTE - up)]
    if len(alive) < _AGENTS:
        lacking.append(f"{len(alive)} of {_AGENTS} agents of the network have reported")
    if not placed or not hypervisors:
        lacking.append("no computer for machines is known")
    return lacking


def _is_later(text: str | None, since: datetime) -> bool:
    return text is not None and datetime.fromisoformat(text).replace(tzinfo=UTC) > since


async def _identity(admin: Rest, kind: str, **values: Any) -> str:
    made = await admin.post("identity", f"/v3/{kind}s", {kind: values})
    return str(made[kind]["id"])


async def _grant(admin: Rest, project: str, user: str, role: str) -> None:
    [found] = (await admin.get("identity", f"/v3/roles?name={role}"))["roles"]
    await admin.put("identity", f"/v3/projects/{project}/users/{user}/roles/{found['id']}")


async def _upload(admin: Rest, name: str, disk: Path) -> None:
    image = {
        "name": name,
        "visibility": "public",
        "disk_format": "qcow2",
        "container_format": "bare",
        "architecture": "x86_64",
    }
    made = await admin.post("image", "/v2/images", image)
    headers = {"Content-Type": "application/octet-stream"}
    await admin.put(
        "image", f"/v2/images/{made['id']}/file", content=_pieces(disk), headers=headers
    )


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            yield piece
