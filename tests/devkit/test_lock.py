"""The lock file of the compared tools: names, versions and hashes, no URLs."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "devkit" / "bench"


def test_every_tool_is_locked_by_version_and_hash_without_a_url():
    lock = (FOLDER / "requirements.lock").read_text()
    required = (FOLDER / "requirements.in").read_text().split()
    locked = set(re.findall(r"^([a-z0-9-]+)==\S+", lock, re.MULTILINE))
    assert {re.split("[<>=]", line)[0] for line in required} <= locked
    for entry in re.split(r"\n(?=[a-z0-9])", lock):
        assert "--hash=sha256:" in entry, entry.partition("\n")[0]
    assert "://" not in lock
    assert "-url" not in lock
    assert "--find-links" not in lock
