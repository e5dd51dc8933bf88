"""`relight image`: base images, from their inputs to the regions that have them.

Each part has its commands in a module of its own, with `app = typer.Typer()`, and one line here.
"""

import typer

from starter.cli import (
    image_build,
    image_inputs,
    image_issue,
    image_publish,
    image_use,
    image_verify,
)

app = typer.Typer(no_args_is_help=True)
app.add_typer(image_build.app)
app.add_typer(image_inputs.app)
app.add_typer(image_issue.app)
app.add_typer(image_publish.app)
app.add_typer(image_use.app)
app.add_typer(image_verify.app)
