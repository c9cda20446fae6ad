"""Tagged text: tags, comments, marks, and where conversations begin."""

import pytest

from tinylm.data import DataError, ReadSummary, iter_conversations, load_conversation_data

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


HI = chat("U:hi", "A:hello")
BYE = chat("U:bye", "A:see you")


@pytest.mark.parametrize(
    ("text", "conversations"),
    [
        pytest.param("<user> hi\n<assistant> hello\n", [HI], id="line_each"),
        pytest.param("<user>hi\n<assistant>hello", [HI], id="no_space"),
        pytest.param("<user>: hi\n<assistant>:hello", [HI], id="colon"),
        pytest.param("<USER> hi <Bot>: hello", [HI], id="case_and_bot"),
        pytest.param("  <user>\nhi\n\t<assistant>\nhello\n", [HI], id="text_on_next_line"),
        pytest.param("<user> hi <assistant> hello", [HI], id="inline"),
        pytest.param("<user>:: hi\n<assistant> a: b", [chat("U:: hi", "A:a: b")], id="only_one_colon"),
        pytest.param("<user> a\n  b\n\n\nc  d \n<assistant> e", [chat("U:a\n  b\n\n\nc  d", "A:e")], id="continuation"),
        pytest.param("<assistant> hi\n<user> hello", [chat("A:hi", "U:hello")], id="assistant_first_user_last"),
        pytest.param("<user> a <user> b\n<assistant> c", [chat("U:a\nb", "A:c")], id="same_role_merged"),
        pytest.param("<system> <user> hi <assistant> hello", [HI], id="empty_system_dropped"),
        pytest.param("# c\n<user> hi\n  # c\n<assistant> hello\n#", [HI], id="comments"),
        pytest.param("<user> hi # there\n<assistant> c#", [chat("U:hi # there", "A:c#")], id="hash_inside"),
        pytest.param(
            "<user> a\n\\# b\n  \\#c\n\\\\# d\n\\e\n<assistant> f \\# g",
            [chat("U:a\n# b\n  #c\n\\# d\n\\e", "A:f \\# g")],
            id="escaped_hash",
        ),
        pytest.param(
            "<user> a <b> </user> < user>\n<assistant> u\u017fer <u\u017fer>",
            [chat("U:a <b> </user> < user>", "A:u\u017fer <u\u017fer>")],
            id="not_tags",
        ),
        pytest.param(
            "<user> a\u0085b\u2028c\x0bd\n<assistant> e\x0cf",
            [chat("U:a\u0085b\u2028c\x0bd", "A:e\x0cf")],
            id="not_line_ends",
        ),
        pytest.param(
            "<user> hi\r\n<assistant> hello\r\n\r\n<user> bye\r\n<assistant> see you\r\n", [HI, BYE], id="crlf"
        ),
        pytest.param("<user> hi\r<assistant> hello\r\r<user> bye\r<assistant> see you", [HI, BYE], id="cr"),
        pytest.param(
            f"<user> {'x' * 100_000}\n<assistant> {' ' * 100_000}y",
            [chat("U:" + "x" * 100_000, "A:y")],
            id="long_lines",
        ),
    ],
)
def test_messages(tmp_path, text, conversations):
    path = tmp_path / "chat.txt"
    path.write_bytes(text.encode())
    assert load_conversation_data(path) == conversations


@pytest.mark.parametrize(
    ("text", "conversations"),
    [
        pytest.param(
            "<bos> <user> hi <assistant> hello <eos>\n<bos> <user> bye <assistant> see you <eos>",
            [HI, BYE],
            id="bos_lines",
        ),
        pytest.param(
            "<bos><user>hi<assistant>hello<eos><bos><user>bye<assistant>see you<eos>", [HI, BYE], id="bos_inline"
        ),
        pytest.param(
            "<BOS>\n<user> hi\n<assistant> hello\n\n<user> bye\n<assistant> see you\n<EOS>",
            [HI + BYE],
            id="bos_outranks_blank_lines",
        ),
        pytest.param(
            "<bos> <user> hi <assistant> hello <eos>\n<user> bye <assistant> see you <eos>",
            [HI + BYE],
            id="bos_outranks_eos",
        ),
        pytest.param(
            "<bos> <user> hi <assistant> hello <system> s <user> bye <assistant> see you",
            [HI + chat("S:s") + BYE],
            id="bos_outranks_system",
        ),
        pytest.param(
            "<user> hi <assistant> hello\n<bos><bos>\n<bos> <user> bye <assistant> see you",
            [HI, BYE],
            id="before_the_first_bos",
        ),
        pytest.param(
            "# <bos>\n<user> hi\n<assistant> hello\n\n<user> bye\n<assistant> see you", [HI, BYE], id="bos_in_a_comment"
        ),
        pytest.param("<user> hi\n<assistant> hello\n<user> bye\n<assistant> see you", [HI + BYE], id="one"),
        pytest.param(
            "<user> hi\n<assistant> hello\n \n\n<user> bye\n<assistant> see you\n", [HI, BYE], id="blank_line"
        ),
        pytest.param(
            "<user> hi\n<assistant> hello\n\n# c\n<user> bye\n<assistant> see you\n",
            [HI, BYE],
            id="blank_line_and_comment",
        ),
        pytest.param(
            "<user> hi\n<assistant> hello\n# c\n\n# c\n<user> bye\n<assistant> see you\n",
            [HI, BYE],
            id="comment_around_blank_line",
        ),
        pytest.param(
            "<user> hi\n\n<assistant> hello\n\nthere", [chat("U:hi", "A:hello\n\nthere")], id="blank_line_within"
        ),
        pytest.param(
            "<system> s\n\n<user> hi\n<assistant> hello\n\n<user> bye\n<assistant> see you",
            [chat("S:s") + HI, BYE],
            id="blank_line_after_system",
        ),
        pytest.param(
            "<user> hi\n<assistant> hello <eos>\n<user> bye\n<assistant> see you <eos>",
            [HI, BYE],
            id="eos_and_new_line",
        ),
        pytest.param(
            "<user> hi\n<assistant> hello\n<eos>\n<system> s <user> bye <bot> see you",
            [HI, chat("S:s") + BYE],
            id="eos_on_its_own_line",
        ),
        pytest.param(
            "<user> hi <assistant> hello <eos> <user> bye <assistant> see you <eos>", [HI + BYE], id="eos_inline"
        ),
        pytest.param("<assistant> a <eos>\n<assistant> b", [chat("A:a\nb")], id="eos_before_assistant"),
        pytest.param("<user> a <eos> b <assistant> c<eos>\nd", [chat("U:a b", "A:c\nd")], id="eos_in_text"),
        pytest.param(
            "<system> a\n<user> hi\n<assistant> hello\n<system> b\n<user> bye\n<assistant> see you",
            [chat("S:a") + HI, chat("S:b") + BYE],
            id="system_after_assistant",
        ),
        pytest.param(
            "<system> a <user> hi <bot> hello <system> b <user> bye <bot> see you",
            [chat("S:a") + HI, chat("S:b") + BYE],
            id="system_after_assistant_inline",
        ),
        pytest.param(
            "<user> hi\n<system> s\n<assistant> hello", [chat("U:hi", "S:s", "A:hello")], id="system_after_user"
        ),
        pytest.param(
            "\n<user> hi <assistant> hello\n# c\n<user> bye <assistant> see\nyou\n\n",
            [HI, chat("U:bye", "A:see\nyou")],
            id="one_per_line",
        ),
        pytest.param(
            "<system> s <user> hi <assistant> hello\n<user> bye <assistant> see you",
            [chat("S:s") + HI, BYE],
            id="one_per_line_system",
        ),
        pytest.param(
            "<user> hi <assistant> hello\n<user> bye\n<assistant> see you", [HI + BYE], id="not_all_lines_whole"
        ),
        pytest.param(
            "<user> hi <assistant> hello\n<user> bye <assistant> see you\n\n<user> hi <assistant> hello",
            [HI + BYE, HI],
            id="whole_lines_in_groups",
        ),
    ],
)
def test_where_conversations_begin(tmp_path, text, conversations):
    path = tmp_path / "chat.txt"
    path.write_bytes(text.encode())
    assert load_conversation_data(path) == conversations


BEFORE_TAG = "text before the first <user> or <system> tag; put a tag before it"
NO_ASSISTANT = "conversation without an assistant turn: nothing to learn; add one or drop it"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("# c\n\nHello\n<user> hi <assistant> hello", 3, BEFORE_TAG),
        ("Hello <user> hi <assistant> hello", 1, BEFORE_TAG),
        ("<bos>\nHello\n<user> hi\n<assistant> hello", 2, BEFORE_TAG),
        ("<user> <bos> hi <eos>\n<assistant> <bos> hello <eos>", 1, f"{BEFORE_TAG}; 2 of 3 are not understood"),
        ("<user> hi\n<assistant>", 2, "empty assistant turn; write its text or take it out"),
        ("<user> hi <assistant> hello\n<user>:\n\n<assistant> b", 2, "empty user turn; write its text or take it out"),
        ("<user> bye\n\n<user> bye", 1, NO_ASSISTANT),
        ("# c\n<system> s\n", 2, NO_ASSISTANT),
    ],
)
def test_mistakes(tmp_path, text, line, problem):
    path = tmp_path / "chat.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    assert str(caught.value) == f"{path}:{line}: {problem}"
    assert (caught.value.path, caught.value.line) == (str(path), line)


@pytest.mark.parametrize("text", ["Hello", "<bos> Hello <eos>", "# <user> hi\nHello", "<s> <user > </user>"])
def test_no_tags(tmp_path, text):
    path = tmp_path / "chat.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    problem = "no <user>/<assistant> tags found; is this raw text? then give it to --pretrain"
    assert str(caught.value) == f"{path}: {problem}"
    assert caught.value.line is None


def test_a_conversation_without_a_reply_is_left_out(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("<user> hi\n<assistant> hello\n\n<user> bye\n")
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI]
    assert summary.skipped == {"no assistant turn": 1}
    assert summary.sentences() == [f"{path}: 1 skipped, 1 kept: no assistant turn (the first at line 4)"]


def test_a_later_conversation_with_text_before_its_first_tag_is_left_out(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("<bos> <user> hi <assistant> hello\n<bos>\nHello\n<user> hi\n<bos> <user> bye <bot> see you")
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI, BYE]
    assert summary.sentences() == [f"{path}: 1 skipped, 2 kept: not understood (the first at line 3: {BEFORE_TAG})"]
