"""Addresses of Oracle Cloud Infrastructure: an instance has two interfaces."""

from typing import Any

from tests.providers.fakes.oci_account import OciAccount, time_text
from tests.providers.fakes.oci_refusals import not_found


def attachments(account: OciAccount, region: str, instance: str | None) -> list[dict[str, Any]]:
    """The attachments of VNICs, of one instance or of all."""
    now = account.now()
    shown: list[dict[str, Any]] = []
    for each in account.listed(region):
        if instance not in {None, each.id}:
            continue
        state = {"PROVISIONING": "ATTACHING", "TERMINATED": "DETACHED"}.get(
            each.state(now), "ATTACHED"
        )
        # The second one comes first: only the VNIC itself says whether it is the primary.
        for kind in ("second", "first"):
            vnic_id = each.id.replace("instance", "vnic") + f".{kind}"
            shown.append(
                {
                    "id": vnic_id.replace("vnic", "vnicattachment"),
                    "availabilityDomain": each.details["availabilityDomain"],
                    "compartmentId": account.compartment,
                    "instanceId": each.id,
                    "lifecycleState": state,
                    "subnetId": account.subnet(region),
                    "timeCreated": time_text(each.created_at),
                    "vnicId": None if state == "ATTACHING" else vnic_id,
                }
            )
    return shown


def vnic(account: OciAccount, vnic_id: str) -> dict[str, Any]:
    instance_id, _, kind = vnic_id.replace("vnic", "instance").rpartition(".")
    found = account.instances.get(instance_id)
    if found is None or found.state(account.now()) == "TERMINATED":
        raise not_found()
    is_primary = kind == "first"
    is_public = is_primary and found.details["createVnicDetails"].get("assignPublicIp", True)
    low = f"{found.number // 250 % 250}.{found.number % 250 + 1}"
    return {
        "id": vnic_id,
        "availabilityDomain": found.details["availabilityDomain"],
        "compartmentId": account.compartment,
        "displayName": found.details["displayName"],
        "isPrimary": is_primary,
        "lifecycleState": "AVAILABLE",
        "macAddress": "02:00:17:00:00:01",
        "privateIp": f"10.{0 if is_primary else 1}.{low}",
        "publicIp": f"198.51.{low}" if is_public else None,
        "subnetId": account.subnet(found.region),
        "timeCreated": time_text(found.created_at),
    }


def subnet(account: OciAccount, region: str, subnet_id: str) -> dict[str, Any]:
    if subnet_id != account.subnet(region):
        raise not_found()
    return {
        "id": subnet_id,
        "cidrBlock": "10.0.0.0/8",
        "compartmentId": account.compartment,
        "lifecycleState": "AVAILABLE",
        "prohibitPublicIpOnVnic": False,
        "routeTableId": f"ocid1.routetable.oc1.{region}.fleet",
        "vcnId": f"ocid1.vcn.oc1.{region}.fleet",
        "virtualRouterIp": "10.0.0.1",
        "virtualRouterMac": "02:00:17:00:00:00",
    }
