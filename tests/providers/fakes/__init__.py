"""Vendors' APIs in memory, one file each: each passes through its vendor's traps."""

from collections.abc import Mapping

from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.base import VendorFake
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.linode import LinodeFake
from tests.providers.fakes.oci import OciFake

FAKES: Mapping[str, type[VendorFake]] = {
    AlibabaFake.name: AlibabaFake,
    LinodeFake.name: LinodeFake,
    OciFake.name: OciFake,
    FakeGcore.name: FakeGcore,
from tests.providers.fakes.openstack import OpenStackFake

FAKES: Mapping[str, type[VendorFake]] = {
    LinodeFake.name: LinodeFake,
    OpenStackFake.name: OpenStackFake,
}
"""By the driver's name. A new fake is one line here; the contract then runs against its driver."""
