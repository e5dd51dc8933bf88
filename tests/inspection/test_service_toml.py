"""A service file that was written is read as what was found."""

import tomllib
from pathlib import Path

import pytest

from relight.domain.service import OnChange
from relight.inspection.service import InspectedService
from relight.inspection.service_toml import service_toml
from relight.service_file import read_service_file
from relight.setting_groups import ServiceSettings
from tests.inspection.conftest import Inspect, unit

FOUND = InspectedService(
    package="box",
    version="5:1.0-1",
    architecture="amd64",
    unit="box@*.service",
    reason="the only one",
    model="notify, instances",
    more_units=("box.socket", r"box\x2dweb.service"),
    executable='/opt/b"ox/\u00fcber run',
    on_change=OnChange.TRY_RESTART,
    probe="tcp",
    probe_port=8080,
    packages=("box", "box-tools"),
    configuration=tuple(f"/etc/box/{number}.conf" for number in range(30)),
    notes=("It can be reloaded.",),
    unknown=("x " * 200,),
)


@pytest.mark.parametrize(
    "found", [FOUND, FOUND.model_copy(update={"probe": "none", "probe_port": None, "packages": ()})]
)
def test_it_is_read_as_what_was_found(tmp_path: Path, found: InspectedService) -> None:
    (tmp_path / "service.toml").write_text(service_toml(found))
    values = read_service_file(tmp_path, None)
    assert ServiceSettings.model_validate(values) == found.settings()
    assert set(values) == set(found.values)


def test_what_is_no_setting_is_a_comment_of_bounded_length() -> None:
    text = service_toml(FOUND)
    assert max(map(len, text.splitlines())) <= 100
    assert "# - /etc/box/19.conf\n# - and 10 more\n" in text
    assert "# What could not be told:\n# - x x" in text
    assert "found in box 5:1.0-1 (amd64)" in text


def test_a_comment_does_not_end_where_a_package_wants_it_to(inspect: Inspect) -> None:
    hostile = '\x0bunit = "evil.service"\x85probe = "http"\u2028package = "evil"'
    found = inspect({"box.service": unit(unit=(f"ConditionHost={hostile}",))})
    values = tomllib.loads(service_toml(found))
    assert (values["unit"], values["package"], values["probe"]) == ("box.service", "box", "none")
