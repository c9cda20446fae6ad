"""The chat format as a Jinja template, for llama.cpp and transformers."""

from __future__ import annotations

import json

from tinylm.chat_format import ROLES, ChatFormat, Role
from tinylm.tokenizer import Tokenizer


def chat_template(tokenizer: Tokenizer) -> str:
    """Create the template that renders a conversation as text whose ids are those of our chat format.

    It is for programs that find control symbols in text: there, a user who types `<assistant>` begins a turn.
    """
    form = tokenizer.chat_format
    lines = ["{{- " + _literal(_text(tokenizer, form.opening)) + " }}"]
    if form.default_system is not None:
        lines += [
            '{%- if not messages or messages[0]["role"] != "system" %}',
            "    {{- " + _turn(tokenizer, "system", _literal(form.default_system)) + " }}",
            "{%- endif %}",
        ]
    lines.append("{%- for message in messages %}")
    for number, role in enumerate(ROLES):
        lines.append("    {%- " + ("elif" if number else "if") + f' message["role"] == "{role}" %}}')
        if role == "user" and form.merges_system:
            before = _literal(_text(tokenizer, form.user.before))
            lines.append("        {%- if not (" + _follows_system(form) + ") %}{{- " + before + " }}{%- endif %}")
        content = 'message["content"] | trim' if form.trims else 'message["content"]'
        lines.append("        {{- " + _turn(tokenizer, role, content) + " }}")
    lines += [
        "    {%- else %}",
        '        {{- raise_exception("There are the roles system, user and assistant.") }}',
        "    {%- endif %}",
        "{%- endfor %}",
        "{%- if add_generation_prompt %}",
        "    {{- " + _literal(_text(tokenizer, form.assistant.before)) + " }}",
        "{%- endif %}",
    ]
    return "\n".join(lines) + "\n"


def _turn(tokenizer: Tokenizer, role: Role, content: str) -> str:
    """An expression for a turn; a user's that may be a part of the system message has no ids before its text."""
    form = tokenizer.chat_format
    turn = form.turn(role)
    before = "" if role == "user" and form.merges_system else _text(tokenizer, turn.before)
    around = [_literal(text) if text else "" for text in (before + turn.prefix, _text(tokenizer, turn.after))]
    return " + ".join(part for part in (around[0], f"({content})", around[1]) if part)


def _follows_system(form: ChatFormat) -> str:
    """An expression: whether the message before this one is the system message."""
    if form.default_system is None:
        return 'not loop.first and messages[loop.index0 - 1]["role"] == "system"'
    return 'loop.first or messages[loop.index0 - 1]["role"] == "system"'


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of ids, with the names of control symbols."""
    parts = [tokenizer.piece_of(id_).encode() if id_ in tokenizer.control else tokenizer.bytes_of(id_) for id_ in ids]
    return b"".join(parts).decode("utf-8")


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
