"""Rendering of the service's configuration for one host."""

import pytest

from relight.domain.configuration import (
    MAX_BYTES,
    Configuration,
    ConfigurationFile,
    ConfiguredMachine,
)
from relight.hosts.configuration import HostConfiguration
from relight.hosts.configuration_templates import render
from relight.hosts.templates import TemplateError

MACHINE = ConfiguredMachine(
    key="r-1-g1", route_id="r-1", track="beta", provider="lab", region="lab-east"
)
SECRETS = {"TOKEN": "squirrel"}


def rendered(
    *templates: str, machine: ConfiguredMachine = MACHINE, key: bytes = b"key", **fields: object
) -> HostConfiguration:
    files = [
        ConfigurationFile(path=f"/etc/{number}", template=text, mode="0644")
        for number, text in enumerate(templates)
    ]
    made = Configuration.model_validate({"files": files, **fields})
    return render(made, machine, SECRETS, key)


def test_a_template_sees_the_machine_the_values_and_the_secrets():
    text = "{{ plan.key }} {{ plan.track }} {{ values.level }} {{ secrets.TOKEN }}"
    [file] = rendered(text, values={"level": 1}, routes={"r-1": {"level": 2}}).files
    assert file.content == b"r-1-g1 beta 2 squirrel"


def test_a_file_that_uses_a_secret_is_its_owners_alone():
    made = rendered(
        "{{ secrets.TOKEN }}",
        "{% include 'parts/a' %}",
        "plain",
        parts={"parts/a": "{{ secrets }}"},
    )
    assert [each.mode for each in made.files] == ["600", "600", "644"]


def test_the_digest_tells_every_difference_and_needs_the_key():
    first = rendered("{{ secrets.TOKEN }} {{ plan.route_id }}")
    assert first.digest == rendered("{{ secrets.TOKEN }} {{ plan.route_id }}").digest
    pooled = MACHINE.model_copy(update={"route_id": None})
    others = [
        rendered("squirrel {{ plan.route_id }}"),  # another mode
        rendered("{{ secrets.TOKEN }} {{ plan.route_id }}", machine=pooled),
        rendered("{{ secrets.TOKEN }} {{ plan.route_id }}", key=b"other"),
        rendered("{{ secrets.TOKEN }} {{ plan.route_id }}", check=("true",)),
        rendered("{{ secrets.TOKEN }} {{ plan.route_id }}", on_change="none"),
    ]
    assert len({each.digest for each in (first, *others)}) == 6


def test_no_secret_is_shown():
    made = rendered("{{ secrets.TOKEN }}")
    assert "squirrel" not in repr(made)
    assert made.masked("unknown directive squirrel in line 1") == "unknown directive *** in line 1"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ values.missing }}", r"^etc/0\.j2: .*missing"),
        ("{{ secrets.MISSING }}", r"^etc/0\.j2: .*MISSING"),
        ("{% if %}", r"^etc/0\.j2, line 1: "),
        ("{% include 'none' %}", r"^etc/0\.j2: "),
        ("{{ plan.__class__.__mro__ }}", r"^etc/0\.j2: "),
        ("{{ secrets.update({'a': 'b'}) }}", r"^etc/0\.j2: "),
        ("{% for i in range(200000) %}x{% endfor %}", r"^etc/0\.j2: "),
        (f"{{{{ 'x' * {MAX_BYTES + 1} }}}}", r"^etc/0\.j2: it has more than"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_named(template: str, text: str):
    with pytest.raises(TemplateError, match=text):
        rendered(template)


def test_all_files_together_are_bounded():
    half = f"{{{{ 'x' * {MAX_BYTES // 2 + 1} }}}}"
    with pytest.raises(TemplateError, match="all files together"):
        rendered(half, half)
