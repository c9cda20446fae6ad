"""`tinylm chat`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinylm.cli.console import notice, print_json, say
from tinylm.cli.options import FILE, FOLDER, TEXT, json_option, sampling_options, threads_option
from tinylm.cli.piped_prompt import piped_prompt
from tinylm.cli.terminal.results import cut_note, dropped_note, result_values, stats_line
from tinylm.errors import BundleError, ContextFullError
from tinylm.printable import command_line, printable

DEMO_NOTE = "A small demo of one house. Your own: tinylm train --finetune YOUR_CHATS.jsonl"
"""The line about the demo model that a chat with it begins with."""

if TYPE_CHECKING:
    from tinylm.runtime import Chat, WhenFull
    from tinylm.runtime.saved_chats import SavedChat


@click.command("chat")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--prompt", type=TEXT, help="Answer this and exit; stdin is not read.")
@click.option("--system", type=TEXT, help="The system message.")
@click.option("--session", type=FILE, help="Continue this file's last conversation, and save every turn to it.")
@click.option(
    "--when-full",
    type=click.Choice(["drop", "stop", "error"]),
    default="drop",
    show_default=True,
    help="When the context is full: drop the oldest turns, stop with a message, or exit with an error.",
)
@click.option("--stats", is_flag=True, help="Show speed, time to first token and context after each reply.")
@sampling_options
@threads_option
@json_option
def command(
    bundle: Path | None,
    prompt: str | None,
    system: str | None,
    session: Path | None,
    stats: bool,
    as_json: bool,
    **model_options: Any,
) -> None:
    """Chat with BUNDLE, or with the demo model in the box.

    With --prompt, or with a prompt on a stdin that is no terminal, answer once and exit.
    """
    if prompt is None:
        prompt = piped_prompt()
    if prompt is None and as_json:
        raise click.UsageError("--json needs a prompt: give --prompt TEXT, or pipe one in")
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the prompt is empty")
    chat = _start_chat(bundle, system, **model_options)
    saved = _session(session) if session else None
    if prompt is not None:
        # Locked to the end, so that programs that use one session take turns
        with saved.locked() if saved else nullcontext():
            if saved is not None:
                _restore(chat, saved, system)
            try:
                _answer_once(chat, prompt, as_json, stats)
            finally:
                if saved is not None:
                    saved.save(chat.messages)
    else:
        from tinylm.cli.terminal.chat_loop import run_chat
        from tinylm.cli.terminal.conversation import TerminalChat

        if saved is not None:
            _restore(chat, saved, system)
        name = printable(bundle) if bundle else "the demo model in the box"
        run_chat(TerminalChat(chat, saved, stats), name, "" if bundle else DEMO_NOTE)


def _start_chat(bundle: Path | None, system: str | None, threads: int, when_full: WhenFull, **sampling: Any) -> Chat:
    from tinylm.runtime import ChatModel

    model = ChatModel(bundle, threads=threads)
    if not model.manifest.chat:
        raise BundleError(
            f"{bundle}: was never fine-tuned on conversations; let it continue a text: "
            f"{command_line('tinylm', 'complete', bundle or Path('BUNDLE'))} --prompt TEXT"
        )
    return model.start_chat(system, model.default_options(**sampling), when_full)


def _session(path: Path) -> SavedChat:
    from tinylm.runtime.saved_chats import SavedChat

    return SavedChat(path, notice)


def _restore(chat: Chat, saved: SavedChat, system: str | None) -> None:
    """Continue the last conversation of a file, if it is there; the file must be writable for the next turn."""
    saved.check()
    if saved.path.exists() and saved.path.stat().st_size:
        chat.restore(saved.load())
        if system:
            chat.set_system(system)


def _answer_once(chat: Chat, prompt: str, as_json: bool, stats: bool) -> None:
    from contextlib import closing

    with closing(chat.send(prompt)) as pieces:
        for text in pieces:
            if not as_json:
                click.echo(text, nl=False)
    result = chat.last_result
    assert result is not None
    if as_json:
        print_json(result_values(result, chat.dropped_messages))
    elif result.completion_tokens == 0 and result.finish_reason == "context":
        raise ContextFullError(f"the context of {chat.context_length:,} tokens is full: the prompt was not answered")
    else:
        click.echo()
        cut = cut_note(result)
        if cut:
            notice(f"the reply is {cut}")
    if chat.dropped_messages:
        notice(dropped_note(chat))
    if stats:
        say(stats_line(chat, result))
