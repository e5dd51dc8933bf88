"""The apt sources of this computer, which builds of images use."""

import subprocess


def has_source_of(codename: str) -> bool:
    """Return whether this computer has an apt source of a distribution's version."""
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(RELEASE)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        return False
    return codename in listed.split()
