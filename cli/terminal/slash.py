"""The commands inside a chat: lines that begin with a slash."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tinylm.cli.terminal.conversation import QuitChat, TerminalChat
from tinylm.cli.terminal.results import stats_line
from tinylm.errors import ConfigError, TinyLMError
from tinylm.printable import command_line

if TYPE_CHECKING:
    from tinylm.chat_format import Message

DEFAULT_FILE = "chats.jsonl"


@dataclass(frozen=True)
class SlashCommand:
    """A command of the chat.

    Attributes:
        arguments: its arguments, as the help shows them.
        help: what it does.
        run: does it, given the chat and the argument; returns whether Ctrl-C stopped a reply.
    """

    arguments: str
    help: str
    run: Callable[[TerminalChat, str], bool | None]


def run_command(conversation: TerminalChat, text: str) -> bool:
    """Run the command on a line that begins with a slash.

    Returns:
        whether Ctrl-C stopped a reply.

    Raises:
        TinyLMError: the command failed; nothing was changed.
        QuitChat: the user leaves.
    """
    name, _, argument = text.partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise TinyLMError(f"no command {name}; /help lists them, and //… sends a message that begins with a slash")
    if argument.strip() and not command.arguments:
        raise TinyLMError(f"{name} takes nothing after it")
    return bool(command.run(conversation, argument.strip()))


def _help(conversation: TerminalChat, argument: str) -> None:  # noqa: ARG001
    conversation.screen.pairs((f"{name} {command.arguments}", command.help) for name, command in COMMANDS.items())
    conversation.screen.say(
        "A line that ends in \\ continues on the next; Alt-Enter inserts a line break.\n"
        "Ctrl-C stops a reply; twice, or Ctrl-D, leaves."
    )


def _system(conversation: TerminalChat, argument: str) -> None:
    chat, screen = conversation.chat, conversation.screen
    if argument:
        dropped = chat.dropped_messages
        chat.set_system(None if argument == "-" else argument)
        conversation.note_dropped(dropped)
        screen.say("The system message is changed from the next reply on." if chat.system else "No system message now.")
    else:
        screen.say(f"System message: {chat.system}" if chat.system else "There is no system message.")


def _set(conversation: TerminalChat, argument: str) -> None:
    chat = conversation.chat
    if not argument:
        values = {name: getattr(chat.options, field) for name, (field, _) in _OPTIONS.items()}
        values["stop"] = " ".join(map(repr, values["stop"])) or None
        values["when-full"] = chat.when_full
        conversation.screen.pairs((name, "-" if value is None else str(value)) for name, value in values.items())
        return
    name, _, value = argument.partition(" ")
    value = value.strip()
    if name == "when-full":
        from tinylm.runtime import WhenFull

        if value not in get_args(WhenFull):
            raise ConfigError(f"when-full must be one of {', '.join(get_args(WhenFull))}, not {value}")
        chat.when_full = value  # type: ignore[assignment]
    elif name in _OPTIONS:
        field, read = _OPTIONS[name]
        try:
            chat.options = replace(chat.options, **{field: read(value)})
        except (ValueError, OverflowError):
            raise ConfigError(f"{name} cannot be {value or 'nothing'}") from None
    else:
        raise ConfigError(f"there is no {name} to set; /set alone lists what there is")
    conversation.screen.say(f"{name} is {value or 'off'} from the next reply on.")


def _retry(conversation: TerminalChat, argument: str) -> bool:  # noqa: ARG001
    return conversation.reply(conversation.chat.retry)


def _undo(conversation: TerminalChat, argument: str) -> None:  # noqa: ARG001
    text = conversation.chat.undo()
    if text is None:
        raise TinyLMError("there is nothing to take back")
    conversation.save_turn()
    conversation.screen.say(f"Taken back: {_shortened(text)}")


def _save(conversation: TerminalChat, argument: str) -> None:
    from tinylm.runtime.saved_chats import SavedChat

    if not any(message["role"] != "system" for message in conversation.chat.messages):
        raise TinyLMError("there is nothing to save yet")
    saved = conversation.saved
    if argument or saved is None:
        path = Path(argument or DEFAULT_FILE).expanduser()
        saved = saved if saved is not None and saved.path == path else SavedChat(path, conversation.screen.notice)
    saved.save(conversation.chat.messages)
    conversation.saved = saved
    reader = command_line("tinylm", "train", "--finetune", saved.path)
    conversation.screen.say(f"Saved to {saved.path}; `{reader}` reads it.")


def _load(conversation: TerminalChat, argument: str) -> None:
    from tinylm.runtime.saved_chats import SavedChat

    file, _, number = argument.rpartition(" ")
    if not (file and number.isdecimal()):
        file, number = argument, ""
    saved = SavedChat(Path(file or DEFAULT_FILE).expanduser(), conversation.screen.notice)
    messages = saved.load(int(number) if number else None)
    conversation.chat.restore(messages)
    conversation.saved = saved
    conversation.note_dropped()
    conversation.screen.say(f"Loaded {len(messages)} messages from {saved.path}. The last of them:")
    conversation.screen.pairs(map(_labelled, messages[-2:]))


def _stats(conversation: TerminalChat, argument: str) -> None:
    screen = conversation.screen
    if argument in {"on", "off"}:
        conversation.show_stats = argument == "on"
        screen.say(f"Figures after each reply: {argument}.")
    elif argument:
        raise ConfigError(f"/stats takes on, off or nothing, not {argument}")
    else:
        result = conversation.chat.last_result
        screen.say("No reply yet." if result is None else stats_line(conversation.chat, result))


def _clear(conversation: TerminalChat, argument: str) -> None:  # noqa: ARG001
    conversation.start_anew()
    conversation.screen.say("The conversation is forgotten.")


def _quit(conversation: TerminalChat, argument: str) -> None:  # noqa: ARG001
    raise QuitChat


def _labelled(message: Message) -> tuple[str, str]:
    return {"user": "you", "assistant": "tiny", "system": "system"}[message["role"]], _shortened(message["content"])


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"


def _seed(text: str) -> int | None:
    return int(text) if text else None


def _stop_texts(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "temperature": ("temperature", float),
    "top-k": ("top_k", int),
    "top-p": ("top_p", float),
    "min-p": ("min_p", float),
    "repetition-penalty": ("repetition_penalty", float),
    "presence-penalty": ("presence_penalty", float),
    "frequency-penalty": ("frequency_penalty", float),
    "max-new-tokens": ("max_new_tokens", int),
    "seed": ("seed", _seed),
    "stop": ("stop", _stop_texts),
}

COMMANDS: dict[str, SlashCommand] = {
    "/help": SlashCommand("", "this list", _help),
    "/system": SlashCommand("[TEXT]", "show the system message, or make it TEXT; - removes it", _system),
    "/set": SlashCommand("[NAME VALUE]", "show how replies are sampled, or change it: /set temperature 0.5", _set),
    "/retry": SlashCommand("", "generate another reply to your last message", _retry),
    "/undo": SlashCommand("", "take back your last message and the reply to it", _undo),
    "/save": SlashCommand("[FILE]", f"save the conversation as a line of FILE, or of {DEFAULT_FILE}", _save),
    "/load": SlashCommand("[FILE] [N]", "continue the last conversation of FILE, or the Nth", _load),
    "/stats": SlashCommand("[on|off]", "figures of the last reply, or of each from now on", _stats),
    "/clear": SlashCommand("", "forget the conversation, keep the system message", _clear),
    "/quit": SlashCommand("", "leave; so does Ctrl-D", _quit),
}
