"""`tinylm completion`."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes Tab complete commands, options and files in SHELL.

    \b
    bash:  tinylm completion bash >> ~/.bashrc
    zsh:   tinylm completion zsh >> ~/.zshrc
    fish:  tinylm completion fish > ~/.config/fish/completions/tinylm.fish
    """  # noqa: D301 - \b is click's mark for a paragraph kept as it is
    from click.shell_completion import get_completion_class

    from tinylm.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, "tinylm", "_TINYLM_COMPLETE").source())
