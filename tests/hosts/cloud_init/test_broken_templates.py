"""Templates that cannot be rendered: refused as early as possible, and named."""

from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from devkit.simulated.parts import user_data_renderer
from relight.hosts.cloud_init.user_data import (
    SERVICE_FILES,
    UserDataTemplate,
)
from relight.hosts.templates import TemplateError
from tests.hosts.cloud_init.test_user_data import (
    PLAN,
    SECRETS,
    SOURCE,
    write_templates,
)

CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")


def render(folder: Path, secrets: dict[str, str] | None = None) -> None:
    user_data_renderer(CLIENT_KEY, service_files=folder, secrets=secrets).render(PLAN)


@pytest.mark.parametrize("part", ["url", "suite", "component"])
@pytest.mark.parametrize("text", ["a\nTrusted: yes", "a b", ""])
def test_a_repository_address_that_is_not_one_word_is_refused(part: str, text: str) -> None:
    source = replace(SOURCE, **{part: text})  # type: ignore[arg-type]
    with pytest.raises(TemplateError, match=r"^relight\.sources\.j2: "):
        UserDataTemplate(source, SERVICE_FILES, SECRETS)


def test_an_undefined_secret_is_an_error_with_template_and_name(
    tmp_path: Path,
) -> None:
    folder = write_templates(tmp_path, **{"etc__x.j2": "{{ secrets.MISSING }}"})
    with pytest.raises(TemplateError, match=r"^etc/x\.j2: .*MISSING"):
        render(folder)


@pytest.mark.parametrize("name", ["", "A B", "A\nB", "1A", "A-B", "é"])
def test_an_invalid_secret_name_is_refused(name: str) -> None:
    with pytest.raises(TemplateError, match="valid name of a secret"):
        UserDataTemplate(SOURCE, SERVICE_FILES, {name: "squirrel"})


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("a\n{{ plan.", r"etc/x\.j2, line 2: "),
        ("{% if %}", r"etc/x\.j2, line 1: "),
        ("{{ 'a' | nonsense }}", r"etc/x\.j2, line 1: .*nonsense"),
        ("{% include 'absent' %}", r"etc/x\.j2: 'absent' not found"),
        ("{{ plan.nothing }}", r"etc/x\.j2: .*nothing"),
        ("{{ nobody }}", r"etc/x\.j2: 'nobody' is undefined"),
        ("{{ 1 + 'a' }}", r"etc/x\.j2: unsupported operand"),
        ("{{ 1 / 0 }}", r"etc/x\.j2: division by zero"),
    ],
)
def test_an_invalid_template_is_an_error_that_names_it(
    tmp_path: Path, text: str, pattern: str
) -> None:
    folder = write_templates(tmp_path, **{"etc__x.j2": text})
    with pytest.raises(TemplateError, match=f"^{pattern}"):
        render(folder)


@pytest.mark.parametrize("content", [b"{% if %}", b"\xff\xfe"])
def test_a_syntax_or_encoding_error_is_refused_when_the_template_is_loaded(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.j2").write_bytes(content)
    with pytest.raises(TemplateError, match=r"^x\.j2"):
        UserDataTemplate(SOURCE, tmp_path, SECRETS)


def test_an_error_does_not_show_a_secrets_value(tmp_path: Path) -> None:
    folder = write_templates(tmp_path, **{"x.j2": "{{ secrets.TOKEN | env }}"})
    with pytest.raises(TemplateError) as caught:
        render(folder, secrets={"TOKEN": "squirrel\0"})
    assert "squirrel" not in str(caught.value)


@pytest.mark.parametrize("present", [False, True])
def test_a_folder_without_templates_is_refused(tmp_path: Path, present: bool) -> None:
    folder = tmp_path / "folder"
    if present:
        write_templates(folder, README="not a template")
    with pytest.raises(TemplateError, match=f"no template NAME.j2 in {folder}"):
        UserDataTemplate(SOURCE, folder, SECRETS)
