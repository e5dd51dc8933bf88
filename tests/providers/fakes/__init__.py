"""Vendors' APIs in memory, one file each: each passes through its vendor's traps."""

from collections.abc import Mapping

from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.base import VendorFake
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.linode import LinodeFake
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.openstack import OpenStackFake

FAKES: Mapping[str, type[VendorFake]] = {
    AlibabaFake.name: AlibabaFake,
    FakeGcore.name: FakeGcore,
    LinodeFake.name: LinodeFake,
    OciFake.name: OciFake,
    OpenStackFake.name: OpenStackFake,
}
"""By the driver's name. A new fake is one line here; the contract then runs against its driver."""
