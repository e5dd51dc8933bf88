"""Templates that cannot be rendered: refused as soon as that can be known, and named."""

from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from relight.hosts.cloud_init.user_data import (
    SERVICE_FILES,
    TemplateError,
    UserDataTemplate,
)
from tests.hosts.cloud_init.test_user_data import (
    PLAN,
    SECRETS,
    SOURCE,
    own_files,
)
from tests.support.installation import user_data_renderer

CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")


def render(folder: Path, secrets: dict[str, str] | None = None) -> None:
    user_data_renderer(CLIENT_KEY, service_files=folder, secrets=secrets).render(PLAN)


@pytest.mark.parametrize("part", ["url", "suite", "component"])
@pytest.mark.parametrize("text", ["a\nTrusted: yes", "a b", ""])
def test_a_repository_whose_address_breaks_out_of_its_line_is_refused(part: str, text: str) -> None:
    source = replace(SOURCE, **{part: text})  # type: ignore[arg-type]
    with pytest.raises(TemplateError, match=r"^relight\.sources\.j2: "):
        UserDataTemplate(source, SERVICE_FILES, SECRETS)


def test_a_secret_that_nobody_gave_is_an_error_that_names_template_and_secret(
    tmp_path: Path,
) -> None:
    folder = own_files(tmp_path, **{"etc__x.j2": "{{ secrets.MISSING }}"})
    with pytest.raises(TemplateError, match=r"^etc/x\.j2: .*MISSING"):
        render(folder)


@pytest.mark.parametrize("name", ["", "A B", "A\nB", "1A", "A-B", "é"])
def test_a_secret_with_a_name_that_no_template_can_name_is_refused(name: str) -> None:
    with pytest.raises(TemplateError, match="name of a secret"):
        UserDataTemplate(SOURCE, SERVICE_FILES, {name: "squirrel"})


@pytest.mark.parametrize(
    ("text", "words"),
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
def test_a_broken_template_is_an_error_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    folder = own_files(tmp_path, **{"etc__x.j2": text})
    with pytest.raises(TemplateError, match=f"^{words}"):
        render(folder)


@pytest.mark.parametrize("content", [b"{% if %}", b"\xff\xfe"])
def test_what_can_be_known_to_be_broken_is_refused_before_any_machine_is_planned(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.j2").write_bytes(content)
    with pytest.raises(TemplateError, match=r"^x\.j2"):
        UserDataTemplate(SOURCE, tmp_path, SECRETS)


def test_an_error_does_not_show_a_secrets_value(tmp_path: Path) -> None:
    folder = own_files(tmp_path, **{"x.j2": "{{ secrets.TOKEN | env }}"})
    with pytest.raises(TemplateError) as caught:
        render(folder, secrets={"TOKEN": "squirrel\0"})
    assert "squirrel" not in str(caught.value)


@pytest.mark.parametrize("present", [False, True])
def test_a_folder_without_templates_is_refused(tmp_path: Path, present: bool) -> None:
    folder = tmp_path / "folder"
    if present:
        own_files(folder, README="not a template")
    with pytest.raises(TemplateError, match=f"no template NAME.j2 in {folder}"):
        UserDataTemplate(SOURCE, folder, SECRETS)
