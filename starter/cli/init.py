"""`relight init`."""

import asyncio
from typing import Annotated

import typer

from relight.doctor.setting_origins import given_settings
from relight.engine.connection import connect, require_search_attributes
from relight.home import is_home, own_temporal_runs
from relight.settings import Settings, load_settings
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import JsonOption, print_json, print_table
from starter.cli.session import announce
from starter.local.home import SshSecrets, make_private_folder, prepare_home, write_env
from starter.local.membership import join_fleet, prepare_store

app = typer.Typer(add_completion=False)

AdoptOption = Annotated[
    bool,
    typer.Option(
        "--adopt-temporal",
        help="The Temporal namespace is this store's from now on, although the store has worked "
        "with another, or workflows of an unnamed fleet are in it.",
    ),
]


PackageArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="PACKAGE|FILE.deb",
        help="Write the service file of this package, instead of making a fleet.",
        show_default=False,
    ),
]

ForceOption = Annotated[
    bool, typer.Option("--force", help="With a package: write over an existing service file.")
]

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="With a package: print the service file, and write none.")
]


@app.command()
def init(
    package: PackageArgument = None,
    adopt: AdoptOption = False,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Make a fleet, or complete one; or write the service file of a package.

    [bold]Without an argument[/] a fleet is made: its store and keys, and its mark in Temporal. A
    store without tables gets them, with a random fleet id; without RELIGHT_STORE_URL it is made
    in the home folder, with the keys. The namespace of the Temporal that TEMPORAL_ADDRESS or
    TEMPORAL_CONFIG_FILE names is marked with the id. Commands and workers refuse a store and a
    Temporal of two fleets. It is safe to repeat. `relight up` does all this for its own server.

    The settings that the environment has, and those of the keys, are kept in the file `env` of the
    home folder (mode 0600). A context with this home has them in every shell.

    [bold]With a package[/] its .deb is inspected, and `service.toml` is written in the home folder,
    or to RELIGHT_SERVICE_FILE: its units, how they take a new release, a port to probe, the
    packages that move together; as comments what could not be told. Read are a file and the .debs
    beside it that it depends on; or by its name the newest package of the source of releases, else
    of this computer's apt. Variables RELIGHT_SERVICE__* count before that file.

    [bold]Examples:[/]

      RELIGHT_HOME=/srv/fleet TEMPORAL_ADDRESS=temporal.example:7233 relight init
      relight init --adopt-temporal      the namespace of before is lost
      relight init redis-server
      relight init ./box_1.0_amd64.deb --force
      relight init nginx-light --dry-run
    """
    if package is not None:
        if adopt:
            raise BadInputError("--adopt-temporal is of a fleet, not of a package")
        # Slow to import, and of packages only.
        from starter.cli.service_file import write_service_file  # noqa: PLC0415

        write_service_file(package, force=force, dry_run=dry_run, json=json)
        return
    if force or dry_run:
        raise BadInputError("--force and --dry-run are of a package: name it")
    settings = load_settings(to_make=True)
    kept = given_settings(settings)
    if "RELIGHT_STORE_URL" in kept and settings.store_file.exists():
        msg = (
            f"the home {settings.home} has a store of its own, and RELIGHT_STORE_URL names another."
            " Nothing was changed. Set RELIGHT_HOME to a folder for that one"
        )
        raise RefusedError(msg)
    announce(settings)
    if settings.has_embedded_store:
        kept = {**_of_keys(settings, prepare_home(settings.home)), **kept}
    fleet_id, temporal = asyncio.run(_init(settings, adopt=adopt))
    if kept:
        make_private_folder(settings.home)
        write_env(settings.home, kept)
    home = settings.home if is_home(settings.home) else None
    if json:
        print_json({"fleet": fleet_id, "temporal": temporal, "home": home})
        return
    rows = (
        ("Fleet", fleet_id),
        ("Home", home),
        ("Temporal", temporal or "none is set: `relight up` starts one, or set TEMPORAL_ADDRESS"),
    )
    print_table(("part", "is"), (row for row in rows if row[1] is not None))


def _of_keys(settings: Settings, made: SshSecrets) -> dict[str, str]:
    """Return the settings of the keys in the home folder, as far as no others are set."""
    ssh = settings.ssh
    return {
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key or made.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret or made.host_key_secret),
    }


async def _init(settings: Settings, *, adopt: bool) -> tuple[str, str | None]:
    """Return the fleet's id, and the address and namespace of its Temporal."""
    own_server = not settings.context.names_a_server
    if own_server and not own_temporal_runs(settings.home):
        with await asyncio.to_thread(prepare_store, settings) as store:
            return (await asyncio.to_thread(store.fleet_identity.get)).fleet_id, None
    client = await connect(settings)
    await require_search_attributes(client)
    identity = await join_fleet(client, settings, own_server=own_server, adopt=adopt)
    address = client.service_client.config.target_host
    return identity.fleet_id, f"{address}, namespace {client.namespace}"
