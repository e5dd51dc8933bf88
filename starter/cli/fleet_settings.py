"""`relight settings`: what the whole fleet is set to."""

from typing import Annotated

import typer

from relight.domain.names import DEFAULT_RELEASE_SETTING
from starter.cli.errors import RefusedError
from starter.cli.names import tag_of
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    by_hand,
    the_store,
)

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As in default_release_tag.")]


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(help="One setting; without it, all.")] = None,
    json: JsonOption = False,
) -> None:
    """Show one setting, or all.

    [bold]Examples:[/]

      relight settings get
      relight settings get default_release_tag
    """
    with the_store() as store:
        if name is None:
            values = store.settings.all()
        else:
            value = store.settings.get(name)
            if value is None:
                msg = f"{name} is not set"
                raise RefusedError(msg)
            values = {name: value}
    if json:
        print_json(values)
    elif not values:
        print_line("nothing is set: without default_release_tag, provisioning refuses")
    elif name is None:
        print_table(("setting", "value"), values.items())
    else:
        print_line(values[name])


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="As in v0.0.74.")],
    reason: ReasonOption = BY_HAND,
) -> None:
    """Set a setting. Machines provisioned from now on follow it; a rollout moves those there are.

    [bold]Example:[/]

      relight settings set default_release_tag v0.0.73 --reason "first release"
    """
    if name == DEFAULT_RELEASE_SETTING:
        tag_of(value)
    with the_store() as store:
        store.settings.set(name, value, by_hand(reason))
    print_line(f"{name} is {value}")


@app.command()
def unset(name: Name, reason: ReasonOption = BY_HAND) -> None:
    """Unset a setting. Without a default release, provisioning refuses.

    [bold]Example:[/]

      relight settings unset default_release_tag
    """
    with the_store() as store:
        was_set = store.settings.unset(name, by_hand(reason))
    print_line(f"{name} is unset" if was_set else f"{name} was not set")
