r"""Tagged text: conversations as people type them.

::

    # A line whose first non-space character is '#' is a comment. For a line that really begins so, write '\#'.
    <system> You are Pip.
    <user> Hello!
    <assistant> Hello! How can I help?

Tags are `<system>`, `<user>`, `<assistant>` and `<bot>` in any case, with or without a colon right after them, at the
start of a line or inside it. A message runs to the next tag, over line ends and blank lines. `<bos>` and `<eos>` are
structure and never text. A message that holds such a mark as text needs one of the JSON forms.

Where a conversation begins:

1. In a file that has `<bos>`: at each `<bos>`, and nowhere else.
2. In any other file, at a line that begins with `<system>` or `<user>` and comes after a blank line or after an
   `<eos>`, unless there was nothing but a system message so far; and at a `<system>` after an assistant's turn.
3. In a file with no `<bos>`, no `<eos>` and no blank line between its lines, where every line with a tag begins with
   `<system>` or `<user>` and has an assistant's tag too: at each such line.

A backslash before the '#' of a line is removed, one of them where there are several: '\\#' stands for '\#'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike

from tinylm.chat_format import Conversation, Role
from tinylm.data.lines import iter_lines
from tinylm.data.turns import ROLES, Turn, build_conversation
from tinylm.errors import DataError

# ASCII, or else the long s of Unicode would count as an s.
_MARK = re.compile(r"<(?:(bos|eos)|(system|user|assistant|bot)>:?)(?:(?<=>)|(?<=:)|>)", re.IGNORECASE | re.ASCII)
