"""The user-data is valid by the schema of the cloud-init that machines have."""

import subprocess
from pathlib import Path

import asyncssh
import pytest

from devkit.simulated.parts import user_data_renderer
from lab.image import base_image
from tests.hosts.cloud_init.test_user_data import PLAN
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

# In its own mount namespace: the image is shared and never written to.
_VALIDATE = """\
set -e
mount -t tmpfs tmpfs "$1/tmp"
cat >"$1/tmp/user-data"
exec chroot "$1" cloud-init schema --config-file /tmp/user-data
"""


@pytest.fixture(scope="module")
async def image(lab: Lab) -> Path:
    """The root folder of the image of the lab's machines."""
    return await base_image()


@pytest.fixture(scope="module")
def user_data(lab: Lab) -> str:
    renderer = user_data_renderer(
        asyncssh.generate_private_key("ssh-ed25519"), signing_key=lab.signing_key.read_bytes()
    )
    return renderer.render(PLAN).text.get_secret_value()


def validate(image: Path, user_data: str) -> tuple[int, str]:
    """Return the validator's exit code and output."""
    done = subprocess.run(
        ["unshare", "--mount", "--", "sh", "-c", _VALIDATE, "validate", image],
        input=user_data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_the_user_data_is_valid_without_a_warning(image: Path, user_data: str) -> None:
    assert validate(image, user_data) == (0, "Valid cloud-config: /tmp/user-data\n")


@pytest.mark.parametrize(
    ("right", "wrong", "text"),
    [
        ("ssh_pwauth: false", "ssh_pwauth: [never]", "ssh_pwauth"),
        ("encoding: text/plain", "encoding: rot13", "rot13"),
        ("ssh_deletekeys: true", "ssh_genkeytypes: []", "ssh_genkeytypes"),
        ("no_ssh_fingerprints: true", "no_ssh_fingerprint: {", "parsing"),
    ],
)
def test_an_invalid_value_is_reported(
    image: Path, user_data: str, right: str, wrong: str, text: str
) -> None:
    assert right in user_data
    code, output = validate(image, user_data.replace(right, wrong))
    assert code != 0
    assert text in output


def test_a_deprecated_key_is_reported(image: Path, user_data: str) -> None:
    code, output = validate(image, user_data.replace("lock_passwd: true", "lock-passwd: true"))
    assert (code, output) != (0, "Valid cloud-config: /tmp/user-data\n")
