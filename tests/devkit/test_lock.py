"""The other tools' lock file: names, versions and hashes, and never a host."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "devkit" / "bench"


def test_it_names_every_tool_by_version_and_hash_and_no_host():
    lock = (FOLDER / "requirements.lock").read_text()
    asked = (FOLDER / "requirements.in").read_text().split()
    locked = set(re.findall(r"^([a-z0-9-]+)==\S+", lock, re.MULTILINE))
    assert {re.split("[<>=]", line)[0] for line in asked} <= locked
    for entry in re.split(r"\n(?=[a-z0-9])", lock):
        assert "--hash=sha256:" in entry, entry.partition("\n")[0]
    assert "://" not in lock
    assert "-url" not in lock
    assert "--find-links" not in lock
