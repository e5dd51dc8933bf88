"""The settings of a location at Alibaba Cloud."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from relight.providers.alibaba.settings import AlibabaSettings, extra_of
from relight.providers.locations import LocationSettings


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ({"zones": ("vsw-1",), "extra": {}}, r"locations\.eu\.extra\.security_group: Field req"),
        ({"zones": ("vsw-1",), "extra": {"security_group": "sg-1", "x": 1}}, r"extra\.x: Extra"),
        (
            {"zones": ("vsw-1",), "extra": {"security_group": "sg-1", "bandwidth_mbits": 101}},
            "bandwidth_mbits",
        ),
        ({"extra": {"security_group": "sg-1"}}, "name the vSwitch of each zone"),
    ],
)
def test_what_a_location_lacks_is_named(location, words):
    eu = LocationSettings(shapes=("ecs.g7.large",), image="m-1", **location)
    with pytest.raises(ValidationError, match=words):
        AlibabaSettings(key_id="LTAI", key_file=Path("secret"), locations={"eu": eu})


def test_the_documents_example_is_one_that_the_settings_take():
    page = Path(__file__).parents[3] / "docs/howto/alibaba-cloud.md"
    examples = re.findall(r"^```toml\n(.+?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    settings = AlibabaSettings.model_validate(tomllib.loads("\n".join(examples))["alibaba"])
    [(region, location)] = settings.locations.items()
    assert region == "ap-southeast-1"
    assert extra_of(location).bandwidth_mbits == 50
