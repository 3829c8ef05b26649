"""The application: global options, exit codes, and the one place where errors become lines."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from typer.core import TyperGroup

from secateur.client._data import to_data
from secateur.client.cli.consoles import PlainConsole, print_line
from secateur.client.cli.exits import EPILOG, exit_code
from secateur.client.client import Client
from secateur.client.errors import SecateurError, UsageError
from secateur.client.tls import Tls

_WIDTH_OF_A_PIPE = 160
"""Columns of tables that go into a pipe or a file, where there is no terminal to fit."""

_TYPER_USAGE_ERROR: Final[Any] = typer.BadParameter.__base__
"""What Typer raises for a command line that it cannot read. It gives that class no name of its own."""


@dataclass
class Session:
    """What the commands of one call share.

    Args:
        address: Server; None for the SDK's own rule.
        project: Project id; None for the SDK's own rule.
        token: API token; None for the SDK's own rule.
        tls: How to encrypt; None for the SDK's own rule.
        insecure: Whether plain text may go to any address; None for the SDK's own rule.
        json: Whether standard output carries JSON; set by `--json`.
    """

    address: str | None
    project: str | None
    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    insecure: bool | None = None
    json: bool = False

    def client(self) -> Client:
        """Returns a client; close it, or use it as a context."""
        return Client(self.address, self.project, token=self.token, tls=self.tls, insecure=self.insecure)

    def show(self, data: object, table: RenderableType) -> None:
        """Prints an answer on standard output: `data` as JSON with `--json`, else `table`."""
        if self.json:
            typer.echo(json.dumps(to_data(data)))
        else:
            PlainConsole(width=None if sys.stdout and sys.stdout.isatty() else _WIDTH_OF_A_PIPE).print(table)


class _Group(TyperGroup):
    """The root group: whatever goes wrong in a command ends here, as one line and an exit code."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        asked = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in asked  # by itself: what cannot be read has no context that would know
        try:
            if not as_json:
                return super().main(asked, *others, **options)
            # Where Typer does not end the process, it raises what is wrong instead of drawing a box around it.
            sys.exit(super().main(asked, *others, **{**options, "standalone_mode": False}))
        except _TYPER_USAGE_ERROR as error:
            field = getattr(getattr(error, "param", None), "name", None) or ""
            found: SecateurError = UsageError("USAGE_INVALID", error.format_message(), field=field)
        except SecateurError as error:
            found = error
        except OSError as error:
            found = SecateurError(
                "IO_FAILED", f"Standard output or a file cannot be used; see that it has space and is yours: {error}"
            )
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- what is still unwritten shall not fail again at the exit
        _report(found, as_json=as_json)
        sys.exit(exit_code(found))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _TYPER_USAGE_ERROR as error:
            option = getattr(error, "option_name", None)
            if any(option in parameter.opts for parameter in self.params):
                error.message += f". It goes before the command: {ctx.command_path} {option} ... {ctx.invoked_subcommand} ..."
            raise


def _report(error: SecateurError, *, as_json: bool) -> None:
    """Prints an error as one line on standard error: an object with `--json`, else text."""
    if as_json:
        facts = {"code": error.code, "reason": error.reason, "message": error.message, "field": error.field}
        typer.echo(json.dumps({"error": {**facts, "metadata": error.metadata}}), err=True)
    else:
        where = f" [{error.field}]" if error.field else ""
        seconds = error.metadata.get("retry_seconds")
        when = f" (try again in {seconds} s)" if seconds else ""
        print_line(f"error: {error.reason}: {error.message}{where}{when}", err=True)


def _file(text: str, environment: str | None = None) -> Any:
    return typer.Option(
        help=text, envvar=environment, exists=True, dir_okay=False, readable=True, rich_help_panel="Access", show_default=False
    )


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"secateur {version('secateur-client')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    name="secateur",
    help="Prune a CNN until it fits a device, as a service.",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    ctx: typer.Context,
    address: Annotated[
        str | None,
        typer.Option(help="Server, host:port. Default: $SECATEUR_ADDRESS, or else 127.0.0.1:50551.", show_default=False),
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Project id. Default: $SECATEUR_PROJECT, or else default.", show_default=False)
    ] = None,
    token_file: Annotated[
        Path | None, _file("API token. Default: $SECATEUR_TOKEN, which unlike an option no other user sees.")
    ] = None,
    ca_file: Annotated[
        Path | None, _file("Authorities that the server's certificate may come from (PEM).", "SECATEUR_CA_FILE")
    ] = None,
    certificate_file: Annotated[
        Path | None, _file("Own certificate, for a server that asks for one (PEM).", "SECATEUR_CLIENT_CERTIFICATE_FILE")
    ] = None,
    key_file: Annotated[Path | None, _file("Key of the own certificate (PEM).", "SECATEUR_CLIENT_KEY_FILE")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Speak plain text to any address, not only to this machine.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps the global options."""
    ctx.obj = Session(
        address,
        project,
        token=token_file.read_text(errors="replace").strip() if token_file is not None else None,
        tls=Tls(ca_file, certificate_file, key_file) if ca_file or certificate_file or key_file else None,
        insecure=insecure or None,
    )


def main() -> None:
    """Runs the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # better a "?" than no answer where the encoding lacks a character
    app()
