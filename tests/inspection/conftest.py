"""Small packages of each shape, and what is found in them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from relight.inspection.packages import beside
from relight.inspection.service import InspectedService, inspect_deb
from tests.support.debs import build_deb

Inspect = Callable[..., InspectedService]

ENABLED = """#!/bin/sh
set -e
deb-systemd-helper unmask '{unit}' >/dev/null || true
if deb-systemd-helper --quiet was-enabled '{unit}'; then
    deb-systemd-helper enable '{unit}' >/dev/null || true
fi
"""
"""What debhelper writes into a postinst for a unit that is enabled."""

NOT_ENABLED = """
if deb-systemd-helper debian-installed '{unit}'; then
    deb-systemd-helper unmask '{unit}' >/dev/null || true
    if deb-systemd-helper --quiet was-enabled '{unit}'; then
        deb-systemd-helper enable '{unit}' >/dev/null || true
    fi
fi
"""
"""And for one that is not."""


def unit(*service: str, install: bool = True, unit: tuple[str, ...] = ()) -> str:
    """A unit file: a program of the package, started with the system."""
    lines = service or ("ExecStart=/usr/bin/box",)
    text = "\n".join(("[Unit]", *unit, "[Service]", *lines))
    return text + ("\n[Install]\nWantedBy=multi-user.target\n" if install else "\n")


def made(folder: Path, units: Mapping[str, str], name: str = "box", **given) -> Path:
    """Build a package with these unit files, and with other files by their paths."""
    files = {
        path if path.startswith("/") else f"/lib/systemd/system/{path}": text
        for path, text in units.items()
    }
    target = folder / f"{name}_{given.get('version', '1.0')}_all.deb"
    build_deb(
        target,
        name,
        given.pop("version", "1.0"),
        "all",
        files={"/usr/bin/box": "", **files},
        **given,
    )
    return target


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    """Build a package in a folder of the test's own, and inspect it."""

    def build(units: Mapping[str, str], name: str = "box", **given) -> InspectedService:
        file = made(tmp_path, units, name, **given)
        return inspect_deb(file, beside(file))

    return build
