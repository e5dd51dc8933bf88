"""Vendors' APIs in memory, one file each: each passes through its vendor's traps."""

from collections.abc import Mapping

from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.base import VendorFake
from tests.providers.fakes.linode import LinodeFake

FAKES: Mapping[str, type[VendorFake]] = {
    AlibabaFake.name: AlibabaFake,
    LinodeFake.name: LinodeFake,
}
"""By the driver's name. A new fake is one line here; the contract then runs against its driver."""
