"""The commands of a hold: `add`, `list` and `remove` are the same for every kind."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.names import ReleaseTag
from starter.cli.errors import BadInputError
from starter.cli.hold_options import (
    ForOption,
    FromOption,
    OwnerOption,
    ProviderOption,
    RegionOption,
    RequiredReasonOption,
    RouteOption,
    TrackOption,
    UntilOption,
    covered,
    covered_text,
    selector_of,
    selector_text,
    state_of,
    state_text,
    warn_if_none_covered,
)
from starter.cli.output import JsonOption, print_done, print_json, print_line, print_table
from starter.cli.repository import require_release
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation, origin
from starter.cli.times import end_of, moment

if TYPE_CHECKING:  # slow to import: only commands that need them do so
    from relight.store.holds import Holds
    from relight.store.store import Store


@dataclass(frozen=True)
class HoldCommands:
    """How the commands of one kind name it, and their help texts.

    Attributes:
        word: a hold of this kind; its plural has an `s`.
        command: the words of the command after `relight`.
        remove_help: in addition to the example.
        remove_reason: of the example.
    """

    kind: HoldKind
    word: str
    command: str
    add_help: str
    remove_help: str
    remove_reason: str

    def app(self) -> typer.Typer:
        """Return the group of commands, without `add` if its help is empty."""
        app = typer.Typer(no_args_is_help=True)
        if self.add_help:
            app.command("add", help=self.add_help)(self._add)
        app.command("list", help=self._list_help)(self._list)
        app.command("remove", help=self._remove_help)(self._remove)
        return app

    def _add(  # noqa: PLR0913 - one argument a flag
        self,
        *,
        route: RouteOption = None,
        track: TrackOption = None,
        provider: ProviderOption = None,
        region: RegionOption = None,
        starts_at: FromOption = None,
        until: UntilOption = None,
        lasts: ForOption = None,
        owner: OwnerOption = None,
        reason: RequiredReasonOption,
        json: JsonOption = False,
    ) -> None:
        times = starts_at, until, lasts
        covers = selector_of(route, track, provider, region)
        self.add(covers, times, owner, reason, as_json=json)

    def add(
        self,
        covers: Selector,
        times: tuple[datetime | None, datetime | None, timedelta | None],
        owner: str | None,
        reason: str,
        pinned_to: ReleaseTag | None = None,
        *,
        unchecked: bool = False,
        as_json: bool,
    ) -> None:
        """Add a hold, and print it.

        Args:
            covers: the routes.
            times: the values of `--from`, `--until` and `--for`.
            owner: the person to ask; by default whoever types the command.
            reason: why.
            pinned_to: the release of a pin.
            unchecked: do not check that the repository has that release.
            as_json: print JSON.

        Raises:
            BadInputError: a value is invalid, or the repository does not have the release.
            RefusedError: the repository cannot be asked.
        """
        now = datetime.now(UTC)
        starts_at, until, lasts = times
        starts_at = starts_at or now
        try:
            hold = Hold(
                kind=self.kind,
                covers=covers,
                starts_at=starts_at,
                ends_at=end_of(starts_at, until, lasts, now),
                owner=owner or origin(reason).requested_by,
                reason=reason,
                pinned_to=pinned_to,
            )
        except ValidationError as error:
            # The model's own sentence, without the name of the model.
            raise BadInputError(str(error.errors()[0]["ctx"]["error"])) from None
        with fleet_store() as store:
            if pinned_to is not None:
                require_release(store, pinned_to, unchecked=unchecked)
            record = self._holds(store).add(hold, operation(reason))
            count = covered(record.covers, store.routes.list())
        warn_if_none_covered(record.covers, count)
        if as_json:
            print_json(record)
            return
        pinned = f"at {pinned_to}, " if pinned_to else ""
        start = f"from {moment(starts_at)} " if starts_at > now else ""
        print_line(
            f"{self.word} {record.hold_id}: {selector_text(covers)} ({covered_text(count)}), "
            f"{pinned}{start}until {moment(record.ends_at)} UTC"
        )

    def _list(self, json: JsonOption = False) -> None:
        with fleet_store(reads_only=True) as store:
            holds, routes = self._holds(store).list(), store.routes.list()
        now = datetime.now(UTC)
        rows = [(hold, covered(hold.covers, routes)) for hold in holds]
        if json:
            print_json(
                [
                    {**hold.model_dump(mode="json"), "state": state_of(hold, now), "routes": count}
                    for hold, count in rows
                ]
            )
            return
        if not rows:
            print_line(f"no {self.word}s")
            return
        pins = self.kind is HoldKind.EXCLUSION
        print_table(
            (
                *(self.word, "covers", "routes", *(("pinned to",) if pins else ())),
                *("from (UTC)", "until (UTC)", "state", "owner", "reason"),
            ),
            (
                (
                    *(hold.hold_id, selector_text(hold.covers), count),
                    *((hold.pinned_to,) if pins else ()),
                    *(moment(hold.starts_at), moment(hold.ends_at), state_text(hold, now)),
                    *(hold.owner, hold.reason),
                )
                for hold, count in rows
            ),
        )

    def _remove(
        self,
        number: Annotated[int, typer.Argument(help="Its number, as the list shows it.")],
        reason: ReasonOption = DEFAULT_REASON,
        json: JsonOption = False,
    ) -> None:
        with fleet_store() as store:
            removed = self._holds(store).remove(number, operation(reason))
        if not removed:
            msg = f"there is no {self.word} {number}: see `relight {self.command} list`"
            raise BadInputError(msg)
        print_done(f"{self.word} {number} is removed", {"hold_id": number}, as_json=json)

    @property
    def _list_help(self) -> str:
        return f"""List the {self.word}s: active, upcoming and expired.

        [bold]Examples:[/]

          relight {self.command} list
          relight {self.command} list --json | jq '.[] | select(.state == "active")'
        """

    @property
    def _remove_help(self) -> str:
        return f"""{self.remove_help}

        [bold]Example:[/]

          relight {self.command} remove 3 --reason "{self.remove_reason}"
        """

    def _holds(self, store: "Store") -> "Holds":
        return {
            HoldKind.FREEZE: store.freezes,
            HoldKind.EXCLUSION: store.exclusions,
            HoldKind.BREAKER_OVERRIDE: store.breaker_overrides,
        }[self.kind]
