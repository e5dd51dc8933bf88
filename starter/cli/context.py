"""`relight context`: names for home folders, stores and Temporal servers."""

from pathlib import Path
from typing import Annotated

import typer

from relight.context import (
    LOCAL,
    RESERVED,
    RESOLUTION,
    Context,
    SavedContext,
    SavedContexts,
    contexts_file,
    current_context,
    named_context,
    saved_contexts,
)
from relight.engine.errors import NoHomeError
from relight.home import is_home, no_home
from relight.person import config_folder
from relight.settings import Settings
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.names import context_name_of
from starter.cli.output import (
    JsonOption,
    note,
    print_done,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import fleet_of, store_name
from starter.local.home import make_private_folder, write_private

app = typer.Typer(
    no_args_is_help=True,
    help=f"Names for home, store and Temporal, and which one is used here.\n\n{RESOLUTION}",
)

NewName = Annotated[str, typer.Argument(metavar="NAME", parser=context_name_of, help="As in prod.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `relight context list` shows it.")]


@app.command()
def add(
    name: NewName,
    home: Annotated[
        Path | None,
        typer.Option(
            help="The home folder. Without it, a folder beside the file of contexts, for the file "
            "`env`."
        ),
    ] = None,
    store_url: Annotated[
        str, typer.Option(help="The store, without a password; by default the home folder's.")
    ] = "",
    temporal_address: Annotated[
        str, typer.Option(help="HOST:PORT; by default the server that `relight up` starts.")
    ] = "",
    temporal_namespace: Annotated[str, typer.Option(help="Its namespace.")] = "",
    temporal_config_file: Annotated[
        Path | None,
        typer.Option(help="The TOML file of the Temporal SDK, with certificates and keys."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Save a context. It is not used yet: that is `relight context use`.

    The file of contexts holds no secret. Keys, tokens and a store's address with a password stay in
    the file `env` of the home folder, or in files that it names.

    [bold]Examples:[/]

      relight context add staging --home /srv/staging/.relight
      relight context add prod --home /srv/prod/.relight --temporal-address temporal.example:7233
      relight context add prod --store-url postgresql://db/relight --temporal-address temporal:7233
    """
    saved = saved_contexts()
    if name in saved.contexts:
        msg = f"there is a context {name} already: `relight context remove {name}` removes it"
        raise RefusedError(msg)
    new = SavedContext(
        home=(home or config_folder() / name).absolute(),
        store_url=store_url,
        temporal_address=temporal_address,
        temporal_namespace=temporal_namespace,
        temporal_config_file=temporal_config_file and temporal_config_file.absolute(),
    )
    _require_usable(new)
    _save(saved.model_copy(update={"contexts": {**saved.contexts, name: new}}))
    if json:
        print_json({"name": name, **new.model_dump(mode="json")})
        return
    print_line(f"{name} is saved: `relight context use {name}` uses it")


@app.command()
def use(name: Name, json: JsonOption = False) -> None:
    """Use a context wherever none is named and the current folder has no .relight.

    `local` ends that: no context is used then outside of such a folder.

    [bold]Examples:[/]

      relight context use prod
      relight context use local
    """
    saved = saved_contexts()
    if name == LOCAL:
        _save(saved.model_copy(update={"in_use": None}))
        line = "no context is in use; a folder .relight in the current folder is `local`"
        print_done(line, {"in_use": None}, as_json=json)
        return
    saved.get(name)
    _save(saved.model_copy(update={"in_use": name}))
    print_done(f"{name} is in use", {"in_use": name}, as_json=json)
    here = current_context()
    if here.name != name:
        note(f"here it is {here.name}, because of {here.chosen_by}")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the contexts; `*` marks the one that commands work in here.

    [bold]Examples:[/]

      relight context list
      relight context list --json | jq '.[] | select(.here)'
    """
    saved, here = saved_contexts(), current_context()
    found = [(name, saved.get(name)) for name in sorted(saved.contexts)]
    if here.name in RESERVED:
        found.insert(0, (here.name, _as_saved(here)))
    rows = [
        {
            "name": name,
            "here": name == here.name,
            "in_use": name == saved.in_use,
            **each.model_dump(mode="json"),
        }
        for name, each in found
    ]
    if json:
        print_json(rows)
        return
    if not rows:
        print_line("no contexts: `relight context add` saves one, `relight up` makes one here")
        return
    print_table(
        ("here", "context", "home", "store", "Temporal"),
        (
            (
                "*" if row["here"] else "",
                row["name"],
                row["home"],
                row["store_url"] or "of the home",
                row["temporal_address"] or row["temporal_config_file"] or "of the home",
            )
            for row in rows
        ),
    )


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="By default the one that commands work in here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a context, and its fleet; without NAME, what makes it the one that is used here.

    [bold]Examples:[/]

      relight context show
      relight context show prod --json
    """
    if name is None:
        context = current_context()
        if context.name == "":
            raise NoHomeError(no_home(context))
    else:
        context = named_context(name, saved_contexts().get(name))
    settings = Settings.of(context)
    answer = {
        "name": context.name,
        "chosen_by": context.chosen_by,
        "home": str(context.home),
        "store": store_name(settings),
        "temporal_address": context.temporal.get("TEMPORAL_ADDRESS"),
        "temporal_namespace": context.temporal.get("TEMPORAL_NAMESPACE"),
        "temporal_config_file": context.temporal.get("TEMPORAL_CONFIG_FILE"),
        "fleet": fleet_of(settings),
    }
    if json:
        print_json(answer)
        return
    print_table(("part", "is"), (row for row in answer.items() if row[1] is not None))


@app.command()
def remove(name: Name, json: JsonOption = False) -> None:
    """Remove a context from the file. Its home folder, store and Temporal stay as they are.

    [bold]Example:[/]

      relight context remove prod
    """
    saved = saved_contexts()
    saved.get(name)
    others = {each: saved.contexts[each] for each in saved.contexts if each != name}
    in_use = None if saved.in_use == name else saved.in_use
    _save(SavedContexts(in_use=in_use, contexts=others))
    line = f"{name} is removed" + ("; no context is in use" if saved.in_use == name else "")
    print_done(line, {"removed": name, "in_use": in_use}, as_json=json)


def _require_usable(new: SavedContext) -> None:
    """Refuse a context with which no command could work, and one that would hold a secret."""
    from relight.store.database import parse_url  # noqa: PLC0415 - slow to import

    if new.store_url:
        url = parse_url(new.store_url)
        if url.password is not None:
            msg = (
                "--store-url has a password, and the file of contexts holds no secret: write"
                f" RELIGHT_STORE_PASSWORD_FILE=FILE to {new.home / 'env'}, or use ~/.pgpass"
            )
            raise BadInputError(msg)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_absolute():
            msg = "--store-url needs the whole path of the file, as in sqlite:////srv/fleet.db"
            raise BadInputError(msg)
    file = new.temporal_config_file
    if file is not None and not file.is_file():
        msg = f"--temporal-config-file: there is no file {file}"
        raise BadInputError(msg)
    if not is_home(new.home) and not (new.store_url and new.temporal):
        msg = (
            f"{new.home} is no home of Relight. Name one that `relight up` or `relight init` has"
            " made (--home), or both --store-url and --temporal-address or --temporal-config-file"
        )
        raise BadInputError(msg)


def _save(contexts: SavedContexts) -> None:
    make_private_folder(contexts_file().parent)
    write_private(contexts_file(), contexts.model_dump_json(indent=2, exclude_defaults=True) + "\n")


def _as_saved(context: Context) -> SavedContext:
    file = context.temporal.get("TEMPORAL_CONFIG_FILE")
    return SavedContext(
        home=context.home,
        temporal_address=context.temporal.get("TEMPORAL_ADDRESS", ""),
        temporal_namespace=context.temporal.get("TEMPORAL_NAMESPACE", ""),
        temporal_config_file=Path(file) if file else None,
    )
