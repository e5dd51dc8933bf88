"""`relight codec`: the keys that encrypt payloads, and the endpoint that decrypts them for a UI."""

import secrets
from pathlib import Path

import typer

from relight.domain.error_words import error_words
from relight.engine.encryption import SETTING, EncryptionCodec, codec, new_key
from relight.engine.errors import NoHomeError
from relight.home import is_home, no_home
from relight.settings import Settings, load_settings
from starter.cli.errors import RefusedError
from starter.cli.output import JsonOption, note, print_json, print_line
from starter.codec_server import ADDRESS, CodecServer
from starter.local.home import write_private
from starter.local.processes import state_of

TOKEN_BYTES = 32

app = typer.Typer(no_args_is_help=True, help="Encryption of what Temporal stores.")


@app.command("new-key")
def new_key_() -> None:
    """Print a new key, a line for the file that RELIGHT_TEMPORAL__PAYLOAD_KEYS names.

    The first line encrypts, all decrypt. To change the key: add the new one as the last line
    everywhere, restart the workers, then make it the first line.

    [bold]Example:[/]

      (umask 077; relight codec new-key >payload-keys)
    """
    print_line(new_key())


@app.command("keys")
def keys(json: JsonOption = False) -> None:
    """List the names of the keys, as payloads and messages have them. The first one encrypts.

    [bold]Example:[/]

      relight codec keys
    """
    names = [key.name for key in _codec(load_settings()).keys]
    if json:
        print_json({"keys": names})
        return
    for name in names:
        print_line(name)


@app.command()
def serve() -> None:
    """Decrypt payloads for the Temporal UI, on loopback, until Ctrl-C.

    It prints the address to set in the UI as the remote codec endpoint. Whoever has that address
    can decrypt what he can read in Temporal: it contains the token. Only pages of the UI's origin
    (RELIGHT_CODEC__UI_ORIGINS) can read an answer.

    [bold]Example:[/]

      relight codec serve
    """
    settings = load_settings()
    used = _codec(settings)
    origins = frozenset(settings.codec.ui_origins or _own_ui_origins(settings.home))
    if not origins:
        msg = (
            "RELIGHT_CODEC__UI_ORIGINS is not set, and no UI of `relight up` runs: set it to the"
            ' origin of your Temporal UI, as in ["https://temporal.example"]'
        )
        raise RefusedError(msg)
    token = _token(settings)
    port = settings.codec.port
    try:
        server = CodecServer(
            used, token, port=port, origins=origins, hosts=frozenset(settings.codec.hosts)
        )
    except OSError as error:
        msg = f"RELIGHT_CODEC__PORT: {ADDRESS}:{port} cannot be listened on: {error_words(error)}"
        raise RefusedError(msg) from error
    with server:
        print_line(f"http://{ADDRESS}:{server.server_port}/{token}")
        note(f"set it in the Temporal UI as the remote codec endpoint; origins: {sorted(origins)}")
        server.serve_forever()


def _codec(settings: Settings) -> EncryptionCodec:
    used = codec(settings.temporal)
    if used is None:
        msg = f"{SETTING} is not set: payloads are not encrypted"
        raise RefusedError(msg)
    return used


def _own_ui_origins(home: Path) -> tuple[str, ...]:
    state = state_of(home)
    if state is None or state.ui is None:
        return ()
    return (state.ui, state.ui.replace(ADDRESS, "localhost"))


def _token(settings: Settings) -> str:
    file = settings.codec.token_file
    if file is None:
        file = settings.home / "codec_token"
        if not file.exists():
            if not is_home(settings.home):
                msg = f"RELIGHT_CODEC__TOKEN_FILE is not set, and {no_home(settings.context)}"
                raise NoHomeError(msg)
            write_private(file, f"{secrets.token_hex(TOKEN_BYTES)}\n")
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"RELIGHT_CODEC__TOKEN_FILE: {file} cannot be read: {error_words(error)}"
        raise RefusedError(msg) from error
    if len(token) < TOKEN_BYTES or not token.isalnum():
        msg = f"RELIGHT_CODEC__TOKEN_FILE: {file} needs {TOKEN_BYTES} or more letters and digits"
        raise RefusedError(msg)
    return token
