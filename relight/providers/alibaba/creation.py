"""The parameters of a creation at Alibaba Cloud."""

import base64

from relight.providers.alibaba.region import AlibabaRegion
from relight.providers.driver import MachineSpec
from relight.providers.locations import Attempt
from relight.providers.tags import tags_of


def creation(key: str, spec: MachineSpec, region: AlibabaRegion) -> dict[str, str]:
    """Return the parameters that are the same in each zone, but for the image."""
    params = {
        # A name begins with a letter. The key is in the tags.
        "InstanceName": key if key[:1].isalpha() else f"relight-{key}",
        "Amount": "1",
        "SecurityGroupId": region.extra.security_group,
        "InstanceChargeType": "PostPaid",
        "InternetChargeType": "PayByTraffic",
        "InternetMaxBandwidthOut": str(region.extra.bandwidth_mbits),
        "SystemDisk.Category": region.extra.disk_category,
        "UserData": base64.b64encode(spec.user_data.get_secret_value()).decode(),
    }
    if region.location.disk_gib is not None:
        params["SystemDisk.Size"] = str(region.location.disk_gib)
    for number, (name, value) in enumerate(tags_of(key, spec).items(), start=1):
        params |= {f"Tag.{number}.Key": name, f"Tag.{number}.Value": value}
    return params


def where(region: AlibabaRegion, attempt: Attempt) -> dict[str, str]:
    """Return the parameters of one zone and shape."""
    return {
        "InstanceType": attempt.shape,
        "VSwitchId": attempt.zone or region.location.subnet,
    }
