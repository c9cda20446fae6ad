"""The `tinylm` command: verbs in pipeline order, each loaded only when it is called."""

from __future__ import annotations

import importlib
import sys
from keyword import iskeyword
from typing import Any

import click

from tinylm import __version__
from tinylm.cli.streams import protect_streams
from tinylm.errors import SilentError, TinyLMError, WriteError
from tinylm.installation import install_command
from tinylm.printable import printable

# In the order of the pipeline; each is a module of this folder with a command of the same name, `import` is import_.py.
COMMANDS = (
    "data",
    "import",
    "train",
    "report",
    "eval",
    "export",
    "info",
    "chat",
    "complete",
    "serve",
    "bench",
    "doctor",
    "completion",
)

_EXTRAS = {
    **dict.fromkeys(("torch", "onnx", "safetensors", "tomlkit"), "train"),
    "gguf": "import",
    "tokenizers": "hf",
    **dict.fromkeys(("jinja2", "markupsafe", "matplotlib"), "report"),
    **dict.fromkeys(("starlette", "uvicorn", "h11", "prometheus_client", "ifaddr", "segno"), "serve"),
}
"""The extra of the installation that brings a package, by the package."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is wanted, and shows what users cause without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in pipeline order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"tinylm.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SilentError as error:
            ctx.exit(error.exit_code)
        except TinyLMError as error:
            raise UserError(error) from None
        except MemoryError:
            raise UserError(
                TinyLMError("this machine has too little memory for it: close other programs, or add swap")
            ) from None
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get(error.name or "")
            if extra is None:
                raise
            raise UserError(
                TinyLMError(
                    f"`tinylm {ctx.invoked_subcommand}` needs {error.name}: install it with {install_command(extra)}"
                )
            ) from None


class UserError(click.ClickException):
    """An error of the user's, shown as one line."""

    def __init__(self, error: TinyLMError) -> None:
        super().__init__(printable(str(error)))
        # click declares it for the class; the codes of ours differ by kind
        vars(self)["exit_code"] = error.exit_code


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "TINYLM", "max_content_width": 100},
)
@click.version_option(__version__, prog_name="tinylm")
def cli() -> None:
    """Your own text and chats in, a chat model on a Raspberry Pi out.

    \b
    tinylm train --pretrain texts.txt --finetune chats.jsonl --out runs/mine --minutes 20
    tinylm export runs/mine --quantize --out my-bundle
    tinylm chat my-bundle

    Without any of that, `tinylm chat` talks to the demo model in the box.
    """  # noqa: D301 - \b is click's mark for a paragraph kept as it is


def main() -> None:
    """Entry point of the `tinylm` command."""
    protect_streams()
    try:
        try:
            cli()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except WriteError as error:  # of stdout, outside of a command
        UserError(error).show()
        sys.exit(error.exit_code)
