"""The templates of Packer, which run the script of the contract: Debian's packer is the judge."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from relight.images.recipe import FOLDER

TEMPLATES = FOLDER / "packer"


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the builders of clouds want to know before they look at a template."""
    folder = tmp_path_factory.mktemp("login")
    key = folder / "key.pem"
    subprocess.run(
        ["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True
    )
    (folder / "oci").write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..example\nfingerprint=00:00\n"
        f"tenancy=ocid1.tenancy.oc1..example\nregion=us-ashburn-1\nkey_file={key}\n"
    )
    return {
        "ALICLOUD_ACCESS_KEY": "id",
        "ALICLOUD_SECRET_KEY": "secret",
        "PKR_VAR_oci_config": str(folder / "oci"),
    }


@pytest.mark.skipif(shutil.which("packer") is None, reason="there is no packer here")
@pytest.mark.parametrize("builder", ["null", "qemu", "alicloud-ecs", "oracle-oci"])
def test_packer_accepts_the_template(builder: str, login: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            *("packer", "validate", f"-only={builder}.base"),
            *("-var", "image_name=relight-base-0.0.74-amd64", TEMPLATES),
        ],
        env={**os.environ, **login, "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_template_that_was_not_validated_says_so() -> None:
    assert "never validated" in (TEMPLATES / "linode/linode.pkr.hcl").read_text()


@pytest.mark.parametrize(
    "template", sorted(TEMPLATES.rglob("*.pkr.hcl")), ids=lambda path: path.stem
)
def test_every_template_runs_the_script_of_the_contract_and_no_other(template: Path) -> None:
    scripts = [
        line.partition("${path.root}/")[2].rstrip('"')
        for line in template.read_text().splitlines()
        if line.strip().startswith("script ")
    ]
    assert all(
        (template.parent / script).resolve() == FOLDER / "provision.sh" for script in scripts
    )
    assert scripts or "build {" not in template.read_text()
