"""`relight settings`: the settings of the whole fleet, kept in the store."""

from typing import Annotated

import typer

from relight.domain.names import DEFAULT_RELEASE_SETTING
from starter.cli.errors import RefusedError
from starter.cli.kept_configuration import with_kept
from starter.cli.names import UncheckedOption, tag_of
from starter.cli.output import (
    JsonOption,
    print_done,
    print_json,
    print_line,
    print_table,
)
from starter.cli.repository import require_release
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
)

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As in default_release_tag.")]


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(help="One setting. Default: all.")] = None,
    json: JsonOption = False,
) -> None:
    """Show one setting, or all.

    [bold]Examples:[/]

      relight settings get
      relight settings get default_release_tag
    """
    with fleet_store(reads_only=True) as store:
        if name is None:
            values = store.fleet_settings.all()
        else:
            value = store.fleet_settings.get(name)
            if value is None:
                msg = f"{name} is not set"
                raise RefusedError(msg)
            values = {name: value}
    if json:
        print_json(values)
    elif not values:
        print_line("nothing is set: without default_release_tag, provisioning is refused")
    elif name is None:
        print_table(("setting", "value"), values.items())
    else:
        print_line(values[name])


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="A tag or an exact version, as in v0.0.74.")],
    unchecked: UncheckedOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Set a setting. It applies to routes provisioned from now on; a rollout updates the others.

    A release that the repository does not have is refused. Without `@REVISION` it keeps the
    configuration that is declared now.

    [bold]Example:[/]

      relight settings set default_release_tag v0.0.73 --reason "first release"
    """
    is_release = name == DEFAULT_RELEASE_SETTING
    if is_release:
        tag_of(value)
    with fleet_store() as store:
        if is_release:
            value = with_kept(value, store.fleet_settings.get(name))
            require_release(store, value, unchecked=unchecked)
        store.fleet_settings.set(name, value, operation(reason))
    print_done(f"{name} is {value}", {name: value}, as_json=json)


@app.command()
def unset(name: Name, reason: ReasonOption = DEFAULT_REASON, json: JsonOption = False) -> None:
    """Unset a setting. Without a default release, provisioning is refused.

    [bold]Example:[/]

      relight settings unset default_release_tag
    """
    with fleet_store() as store:
        was_set = store.fleet_settings.unset(name, operation(reason))
    print_done(
        f"{name} is unset" if was_set else f"{name} was not set",
        {"name": name, "was_set": was_set},
        as_json=json,
    )
