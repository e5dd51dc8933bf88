"""The network of a machine that hosts machines itself."""

import json
from pathlib import Path

import pytest

from lab import lifecycle, network
from lab.commands import run
from lab.names import LabNames, link_name
from tests.support.lab import new_name

pytestmark = pytest.mark.lab


async def test_a_second_link_is_up_has_no_address_and_goes_with_the_lab(tmp_path: Path) -> None:
    names, machine_id = LabNames(new_name()), "0123abcd"
    net = await network.open_network(names, tmp_path / "lock")
    try:
        network.attach(net, machine_id, next(net.addresses("lab-east")))
        network.attach_second(net, machine_id)
        listed = json.loads(run("ip", "-json", "-n", names.machine(machine_id), "address"))
        second = next(link for link in listed if link["ifname"] == "eth1")
        assert "UP" in second["flags"]
        assert [each for each in second["addr_info"] if each["family"] == "inet"] == []
        assert set(network.links(names)) > {link_name(machine_id), names.bridge}
    finally:
        lifecycle.sweep(names.name, tmp_path)
    assert lifecycle.leftovers(names.name, tmp_path) == []
    assert network.links(names) == []
