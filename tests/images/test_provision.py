"""The script that makes an image."""

import shutil
import subprocess

import pytest

from relight.images.contract_file import parse_contract, read_contract
from relight.images.provision import provision_steps

EVERY_QUOTE = """\
packages: [tzdata]
files:
  - path: /etc/service/motd
    content: "it's \\"$HOME\\" `id` \\\\ *\\n"
"""


def test_it_is_a_shell_script_in_which_no_value_is_a_command():
    for file in (read_contract(), parse_contract(EVERY_QUOTE.encode(), "mine.yaml")):
        checked = subprocess.run(["sh", "-n"], input=provision_steps(file), text=True, check=False)
        assert checked.returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing_in_it():
    # SC2016: contents of files are meant as they stand.
    argv = ["shellcheck", "--exclude=SC2016", "-"]
    script = provision_steps(read_contract())
    checked = subprocess.run(argv, input=script, text=True, capture_output=True, check=False)
    assert checked.stdout == ""


def test_it_names_the_digest_of_its_contract():
    file = read_contract()
    assert file.sha256 in provision_steps(file)
