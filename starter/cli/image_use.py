"""`relight image list`, `show`, `pin`, `prune`, `forget`: the images that machines are made of."""

from collections import Counter
from typing import Annotated

import typer

from relight.domain.image.prune import KEPT
from relight.domain.image.publication import ImageInRegion, PublicationStatus
from relight.settings import load_settings
from relight.store.images import Place
from relight.store.store import Store
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.names import image_name_of
from starter.cli.output import JsonOption, print_json, print_line, print_table
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation
from starter.cli.times import moment

app = typer.Typer()

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", callback=image_name_of, help="The image's name.")
]
ProviderOption = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Only this provider.")
]
RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="NAME", help="Only this region of --provider.")
]

_STYLES = {"published": "green", "failed": "bold red"}


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the images on record, the newest first: in how many regions each is, and what uses it.

    [bold]Examples:[/]

      relight image list
      relight image list --json | jq -r '.images[] | select(.machines == 0) | .name'
    """
    with fleet_store(reads_only=True) as store:
        manifests, in_regions = store.images.manifests(), store.images.list()
        stopped, machines = store.rollouts.stopped_images(), store.machines.count_by_image()
    if json:
        images = [
            {
                "name": each.name,
                "architecture": each.architecture,
                "distribution": each.distribution,
                "regions": Counter(str(at.status) for at in _of(in_regions, each.name)),
                "pinned": [at.place for at in _of(in_regions, each.name) if at.pinned],
                "machines": machines.get(each.name, 0),
                "stopped": each.name in stopped,
            }
            for each in manifests
        ]
        print_json({"images": images})
        return
    if not manifests:
        print_line("no images on record: `relight image publish --help` shows how one gets there")
        return
    print_table(
        ("image", "architecture", "regions", "machines", "remarks"),
        (
            (
                each.name,
                each.architecture,
                _regions(_of(in_regions, each.name)),
                machines.get(each.name, 0),
                _remarks(_of(in_regions, each.name), stopped=each.name in stopped),
            )
            for each in manifests
        ),
    )


@app.command()
def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show an image: what its build says of it, and the state of each region.

    [bold]Examples:[/]

      relight image show relight-base-0.0.74-amd64
      relight image show relight-base-0.0.74-amd64 --json | jq -r '.manifest.packages.nftables'
    """
    with fleet_store(reads_only=True) as store:
        manifest, regions = store.images.manifest(name), store.images.list(name=name)
        machines = store.machines.count_by_image().get(name, 0)
    if manifest is None:
        msg = f"there is no image {name} on record: `relight image list` shows those that there are"
        raise BadInputError(msg)
    if json:
        print_json({"manifest": manifest, "regions": regions, "machines": machines})
        return
    print_line(
        f"{name}: {manifest.distribution} {manifest.architecture}, build {manifest.identity[:12]}, "
        f"{len(manifest.packages)} packages, {machines} machines"
    )
    print_table(
        ("region", "status", "image id", "published (UTC)", "remarks"),
        (
            (
                each.place,
                each.status,
                each.image_id,
                moment(each.published_at) if each.published_at else None,
                "; ".join(filter(None, ("pinned" if each.pinned else "", each.reason))),
            )
            for each in regions
        ),
        styles=_STYLES,
    )


@app.command()
def pin(
    name: NameArgument,
    provider: ProviderOption = None,
    region: RegionOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Let new machines be made of an image in regions that have it, whatever is newer.

    Without --provider in all of them. A region has one pinned image of an architecture; if it loses
    that one, it makes no machine of another. Machines that there are stay as they are:
    `relight rollout image` replaces them.

    [bold]Examples:[/]

      relight image pin relight-base-0.0.73-amd64 --reason "the newer one has a bad kernel"
      relight image pin relight-base-0.0.73-amd64 --provider linode --region eu-central
    """
    _set_pinned(name, provider, region, reason, pinned=True, as_json=json)


@app.command()
def unpin(
    name: NameArgument,
    provider: ProviderOption = None,
    region: RegionOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """End the pin of an image: new machines are made of the newest one again.

    [bold]Example:[/]

      relight image unpin relight-base-0.0.73-amd64
    """
    _set_pinned(name, provider, region, reason, pinned=False, as_json=json)


@app.command()
def prune(
    keep: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="How many of the newest images a region keeps, per architecture."
        ),
    ] = KEPT,
    provider: ProviderOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Delete the images that no region needs any more, at the providers and from the record.

    Each region keeps the newest ones, those that are pinned, that machines are made of, that new
    machines are made of, that the settings of the location name, and that a rollout is about.
    Regions that no location names any more are pruned too. What is deleted is shown first. A region
    that cannot be listed is a failure: exit code 1, and the others go on. What is in use at its
    provider stays, and is said.

    [bold]Examples:[/]

      relight image prune --dry-run
      relight image prune --keep 3 --reason "monthly"
      relight image prune --provider linode --yes --json
    """
    from starter.cli.image_prune import run  # noqa: PLC0415 - imports Temporal's SDK

    run(keep, provider, reason, dry_run=dry_run, yes=yes, as_json=json)


@app.command()
def forget(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="One that is given up.")],
    yes: YesOption = False,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Remove the images of a provider that is given up from the record.

    What the provider has of them stays there, and is deleted there by hand. A provider that is
    configured is refused with exit code 3: `relight image prune` deletes its images.

    [bold]Example:[/]

      relight image forget gcore --reason "the account is closed"
    """
    settings = load_settings()
    if provider in settings.providers or (provider == "lab" and settings.lab.url):
        msg = f"{provider} is configured: `relight image prune --provider {provider}` asks it"
        raise RefusedError(msg)
    confirm(f"the images of {provider} are removed from the record", yes=yes)
    with fleet_store() as store:
        forgotten = store.image_use.forget(provider, operation(reason))
    if json:
        print_json({"provider": provider, "forgotten": forgotten})
    elif forgotten:
        print_line(f"no image of {provider} is on record any more; there were:")
        for each in forgotten:
            print_line(f"  {each}")
    else:
        print_line(f"no image of {provider} is on record")


def _set_pinned(
    name: str,
    provider: str | None,
    region: str | None,
    reason: str,
    *,
    pinned: bool,
    as_json: bool,
) -> None:
    if region is not None and provider is None:
        msg = "--region is a region of a provider: name it with --provider"
        raise BadInputError(msg)
    with fleet_store() as store:
        places = _places(store, name, provider, region, pinned=pinned)
        changed = store.images.pin(name, places, operation(reason), pinned=pinned)
    if as_json:
        print_json({"name": name, "pinned": pinned, "regions": ["/".join(at) for at in changed]})
        return
    deed = "pinned" if pinned else "unpinned"
    where = ", ".join("/".join(at) for at in changed)
    print_line(f"{name} is {deed} in {where}" if changed else f"{name} is {deed} there already")


def _places(
    store: Store, name: str, provider: str | None, region: str | None, *, pinned: bool
) -> list[Place] | None:
    """Return the regions that are meant; None for all.

    Raises:
        BadInputError: an image is to be pinned, and no region of the provider has it.
    """
    if provider is None:
        return None
    if region is not None:
        return [Place(provider, region)]
    images = store.images.list(name=name, provider=provider)
    wanted = [each for each in images if (each.ref is not None if pinned else each.pinned)]
    if pinned and not wanted:
        msg = (
            f"no region of {provider} has image {name}: `relight image show {name}` shows which do"
        )
        raise BadInputError(msg)
    return [Place(each.provider, each.region) for each in wanted]


def _of(images: list[ImageInRegion], name: str) -> list[ImageInRegion]:
    return [each for each in images if each.name == name]


def _regions(images: list[ImageInRegion]) -> str:
    counts = Counter(each.status for each in images)
    return ", ".join(f"{counts[each]} {each}" for each in PublicationStatus if counts[each])


def _remarks(images: list[ImageInRegion], *, stopped: bool) -> str:
    pinned = sum(each.pinned for each in images)
    remarks = [f"pinned in {pinned} regions"] if pinned else []
    if stopped:
        remarks.append("its rollout was stopped: taken only where it is pinned")
    return "; ".join(remarks)
