"""Only the gate destroys machines: no other code calls a driver's `destroy`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("activities", "devkit", "relight", "starter", "workflows")
GATE = "activities/machine/destruction.py"
CHAOS = "devkit/chaos/drivers/driver_worker.py"
"""It deletes machines of a fake vendor."""

TRIAL = "devkit/services/trial.py"
"""It deletes the machine of the lab that it has made itself."""

DRIVERS = "relight/providers"
NO_ROOM = f"{DRIVERS}/openstack/driver.py"
"""It deletes a server of ours that found no room and never ran, before it tries another zone."""

DOOR = "workflows/machine/remove.py"
"""The one place in workflows that calls the gate."""


def files() -> Iterator[Path]:
    yield ROOT / "worker.py"
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def named(file: Path, *names: str) -> list[int]:
    """Return the lines that name one of these attributes, called or not."""
    tree = ast.parse(file.read_text())
    found = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in names)
        # As in `getattr(driver, "destroy")`.
        or (isinstance(node, ast.Constant) and node.value in names)
    ]
    return sorted(found)


def places(*names: str) -> dict[str, list[int]]:
    found = {str(file.relative_to(ROOT)): named(file, *names) for file in files()}
    return {file: lines for file, lines in found.items() if lines}


def test_only_the_gate_calls_a_drivers_destroy():
    calls: dict[str, list[str]] = {}
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "destroy":
                calls.setdefault(str(file.relative_to(ROOT)), []).append(ast.unparse(node))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                assert all(ast.unparse(each) != "'destroy'" for each in node.args), file
    assert calls == {
        GATE: ["driver.destroy"],
        CHAOS: ["driver.destroy"],
        NO_ROOM: ["self.destroy"],
        TRIAL: ["driver.destroy"],
    }


def test_only_one_place_in_workflows_asks_the_gate_to_destroy():
    assert set(places("destroy_machine")) == {DOOR}


def test_a_providers_request_to_delete_is_only_in_its_driver():
    """Nothing else speaks to a provider in the words of its API."""
    deletes = {
        file
        for file in places("DELETE", "delete_machine", "delete_instance")
        if not file.startswith(("devkit", "starter/local"))
    }
    assert all(file.startswith(f"{DRIVERS}/") for file in deletes), deletes
