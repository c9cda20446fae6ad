"""`tinylm chat`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FOLDER, json_option, sampling_options, threads_option
from tinylm.errors import BundleError, ContextFullError, TinyLMError

if TYPE_CHECKING:
    from tinylm.runtime import Chat, Result

_HELP = """\
/help    this list
/clear   forget the conversation, keep the system message
/stats   figures of the last reply
/quit    leave (also Ctrl-D)
Ctrl-C stops a reply."""


@click.command("chat")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--prompt", help="Ask this once and leave; stdin is not read.")
@click.option("--system", help="The system message.")
@sampling_options
@threads_option
@json_option
def command(
    bundle: Path | None, prompt: str | None, system: str | None, threads: int, as_json: bool, **sampling: Any
) -> None:
    """Chat with BUNDLE, or with the demo model in the box.

    With --prompt, or with a prompt on a stdin that is no terminal, answers once.
    """
    if prompt is None and not (sys.stdin and sys.stdin.isatty()):
        prompt = read_stdin()
    if prompt is None and as_json:
        raise click.UsageError("--json needs a prompt: give --prompt TEXT, or pipe one in")
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the prompt is empty")

    from tinylm.runtime import ChatModel

    model = ChatModel(bundle, threads=threads)
    if not model.manifest.chat:
        raise BundleError(
            f"{bundle}: was never fine-tuned on conversations; let it go on with a text: "
            f"tinylm complete {bundle} --prompt TEXT"
        )
    chat = model.start_chat(system, model.default_options(**sampling))
    if prompt is not None:
        _answer_once(chat, prompt, as_json)
    else:
        _converse(chat, str(bundle) if bundle else "the demo model in the box")


def read_stdin() -> str:
    """All of stdin, which must be UTF-8.

    Raises:
        TinyLMError: it is not.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8") if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise TinyLMError(f"stdin: not UTF-8 text (byte 0x{error.object[error.start]:02x} at {error.start})") from None


def result_values(result: Result) -> dict[str, Any]:
    """A result as `--json` shows it."""
    return {
        "reply": result.reply,
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "finish_reason": result.finish_reason,
        "time_to_first_token_s": round(result.time_to_first_token_s, 5),
        "decode_tokens_per_second": round(result.decode_tokens_per_second, 2),
    }


def _answer_once(chat: Chat, prompt: str, as_json: bool) -> None:
    for text in chat.send(prompt):
        if not as_json:
            click.echo(text, nl=False)
    assert chat.last_result is not None
    if as_json:
        print_json(result_values(chat.last_result))
    else:
        click.echo()


def _converse(chat: Chat, name: str) -> None:
    import contextlib

    ask = click.style("you  ", fg="cyan", bold=True)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its line editing and history

        # Marked as invisible, or readline counts the colours' characters and wraps long lines too early
        ask = re.sub("(\033[^m]*m)", "\001\\1\002", ask)
    if not sys.stdout.isatty():
        ask = ""

    say(f"Chatting with {name}. /help for help, Ctrl-D to leave.")
    while True:
        try:
            text = input(ask).strip()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            continue
        if text.startswith("/"):
            if text == "/quit":
                return
            _run_command(chat, text)
        elif text:
            _reply(chat, text)


def _reply(chat: Chat, text: str) -> None:
    dropped = chat.dropped_messages
    try:
        pieces = chat.send(text)
    except ContextFullError as error:
        notice(str(error))
        return
    click.secho("tiny ", fg="green", bold=True, nl=False)
    try:
        for piece in pieces:
            click.echo(piece, nl=False)
        click.echo()
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]
        click.secho(" (stopped)", dim=True)
    if chat.dropped_messages > dropped:
        notice(f"the context is full: the {chat.dropped_messages} oldest messages are no longer seen by the model")
    result = chat.last_result
    if result is not None and result.finish_reason in {"length", "context"}:
        why = "max-new-tokens reached" if result.finish_reason == "length" else "the context is full"
        click.secho(f"     (cut: {why})", dim=True)


def _run_command(chat: Chat, text: str) -> None:
    if text == "/help":
        click.echo(_HELP)
    elif text == "/clear":
        chat.clear()
        click.echo("The conversation is forgotten.")
    elif text == "/stats":
        result = chat.last_result
        if result is None:
            click.echo("No reply yet.")
            return
        click.echo(
            f"{result.completion_tokens} tokens at {result.decode_tokens_per_second:.0f} a second, the first after "
            f"{result.time_to_first_token_s * 1000:.0f} ms; reused {result.reused_tokens} of {result.prompt_tokens} "
            f"prompt tokens; context {chat.context_used} of {chat.context_length}"
        )
    else:
        click.echo(f"No command {text.split()[0]}; /help lists them.")
