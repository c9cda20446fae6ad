"""Conversations of people: the exports of messengers, one way for all, and who is the assistant."""

import json

import pytest
from reading import chat, lines, read

from tinylm.data import load_conversation_data
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.times import Clock, seconds_of
from tinylm.errors import ConfigError

# Two conversations, a day apart, between Ruth and Tim
FIRST, SECOND = chat("U:Deep?", "A:Two metres."), chat("U:Cold?", "A:Very.")
WORDS = ["Deep?\nTwo metres.", "Cold?\nVery."]
OTHER = {"user": "assistant", "assistant": "user"}
SAID = [("Ruth", "Deep?"), ("Tim", "Two metres."), ("Ruth", "Cold?"), ("Tim", "Very.")]
ISO = ["2024-01-15T10:30:00", "2024-01-15T10:31:00", "2024-01-16T09:00:00", "2024-01-16T09:02:30"]
UNIX = [1705314600, 1705314660, 1705395600, 1705395750]


def telegram():
    messages = [
        {
            "id": n,
            "type": "message",
            "date": ISO[n],
            "date_unixtime": str(UNIX[n]),
            "from": who,
            "from_id": f"user{who}",
            "text": [text[:2], {"type": "bold", "text": text[2:]}] if n == 1 else text,
        }
        for n, (who, text) in enumerate(SAID)
    ]
    call = {"id": 9, "type": "service", "date": ISO[0], "actor": "Ruth", "action": "phone_call", "text": ""}
    return {"name": "Ruth", "type": "personal_chat", "id": 1, "messages": [call, *messages]}


def discord():
    messages = [
        {
            "id": str(n),
            "type": "Reply" if n else "Default",
            "timestamp": f"{ISO[n]}.12+00:00",
            "content": text,
            "author": {"id": f"7{who}", "name": who.lower(), "nickname": who, "isBot": False},
            "attachments": [],
        }
        for n, (who, text) in enumerate(SAID)
    ]
    pinned = {**messages[0], "type": "ChannelPinnedMessage", "content": "Pinned a message."}
    return {"guild": {"name": "Pond"}, "channel": {"name": "talk"}, "messages": [pinned, *messages], "messageCount": 5}


def instagram():
    messages = [
        {"sender_name": who, "timestamp_ms": 1000 * UNIX[n], "content": text} for n, (who, text) in enumerate(SAID)
    ]
    photo = {"sender_name": "Tim", "timestamp_ms": 1000 * UNIX[3], "photos": [{"uri": "a.jpg"}]}
    people = [{"name": "Ruth"}, {"name": "Tim"}]
    return {"participants": people, "messages": [photo, *messages[::-1]], "title": "Ruth", "thread_path": "inbox/ruth"}


def slack():
    joined = {"type": "message", "subtype": "channel_join", "user": "U1", "text": "<@U1> has joined", "ts": "1.0"}
    messages = [
        {
            "type": "message",
            "user": f"U{who}",
            "text": text,
            "ts": f"{UNIX[n]}.0002",
            "user_profile": {"real_name": who, "display_name": who.lower(), "name": who},
        }
        for n, (who, text) in enumerate(SAID)
    ]
    return [joined, *messages]


def signal():
    return [{"date": ISO[n], "sender": who, "body": text, "reactions": []} for n, (who, text) in enumerate(SAID)]


FILES = {
    "telegram": ("result.json", json.dumps(telegram())),
    "telegram_pretty": ("result.json", json.dumps(telegram(), indent=1)),
    "telegram_all": ("result.json", json.dumps({"about": "x", "chats": {"about": "y", "list": [telegram()]}})),
    "discord": ("talk.json", json.dumps(discord())),
    "discord_csv": (
        "talk.csv",
        "AuthorID,Author,Date,Content,Attachments,Reactions\n"
        + "".join(f"7{n % 2},{who},{ISO[n]}.1230000+00:00,{text},,\n" for n, (who, text) in enumerate(SAID)),
    ),
    "discord_text": (
        "talk.txt",
        "=====\nGuild: Pond\n=====\n\n[15-Jan-24 10:30 AM] Ruth\nDeep?\n\n[15-Jan-24 10:31 AM] Tim\nTwo metres.\n\n"
        "{Attachments}\nhttps://x\n\n[16-Jan-24 09:00 AM] Ruth\nCold?\n\n[16-Jan-24 09:02 AM] Tim\nVery.\n",
    ),
    "instagram": ("message_1.json", json.dumps(instagram())),
    "slack": ("2024-01-15.json", json.dumps(slack(), indent=1)),
    "signal": ("data.json", lines(*signal())),
    "signal_markdown": (
        "chat.md",
        "".join(f"[{ISO[n].replace('T', ', ')[:-3]}] {w}: {t}\n" for n, (w, t) in enumerate(SAID)),
    ),
    "whatsapp_android": (
        "chat.txt",
        "1/15/24, 10:29 AM - Messages and calls are end-to-end encrypted.\n1/15/24, 10:30 AM - Ruth: Deep?\n"
        "1/15/24, 10:31 AM - Tim: Two metres.\n1/15/24, 10:31 AM - Tim: <Media omitted>\n"
        "1/16/24, 9:00 AM - Ruth: Cold?\n"
        "1/16/24, 9:02 AM - Tim: Very.\n",
    ),
    "whatsapp_ios": (
        "_chat.txt",
        "[15.01.24, 10:30:00] Ruth: \u200eMessages are end-to-end encrypted.\n[15.01.24, 10:30:00] Ruth: Deep?\n"
        "\u200e[15.01.24, 10:30:30] Tim: \u200eimage omitted\n[15.01.24, 10:31:00] Tim: Two metres.\n"
        "[16.01.24, 09:00:00] Ruth: Cold?\n[16.01.24, 09:02:30] Tim: Very.\n",
    ),
    "line": (
        "line.txt",
        "2024/01/15(Mon)\n10:30\tRuth\tDeep?\n10:31\tTim\tTwo metres.\n2024/01/16(Tue)\n09:00\tRuth\tCold?\n"
        "09:02\tTim\tVery.\n",
    ),
    "irc": (
        "irc.log",
        "[10:30] <Ruth> Deep?\n[10:31] <Tim> Two metres.\n[10:32] * Ann left\n"
        "[09:00] <Ruth> Cold?\n[09:02] <Tim> Very.\n",
    ),
    "play": ("play.txt", "RUTH: Deep?\nTIM: Two metres.\n\nRUTH: Cold?\nTIM: Very.\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_one_way_for_all_messengers(tmp_path, name):
    file, text = FILES[name]
    refused = read(tmp_path / file, text)
    assert refused.items == []
    assert 'messages are by people, "' in refused.error
    assert refused.error.endswith("who is the assistant? Give --assistant NAME")
    assert all(who in refused.error.lower() for who in ('"ruth"', '"tim"'))
    for assistant in ("Tim", " tim "):
        found = read(tmp_path / file, text, assistant=assistant)
        assert (found.items, found.error) == ([FIRST, SECOND], "")
    assert read(tmp_path / file, text, assistant="Tim", user="Ruth").items == [FIRST, SECOND]
    absent = read(tmp_path / file, text, assistant="Ann")
    assert 'no message is by "Ann", but by "' in absent.error or "messages are by people" in absent.error
    if name != "play":
        turned = [[{**turn, "role": OTHER[turn["role"]]} for turn in turns] for turns in (FIRST, SECOND)]
        assert read(tmp_path / file, text, assistant="ruth").items == turned
        assert read(tmp_path / file, text, documents=True).items == WORDS


def test_from_python(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(telegram()))
    assert load_conversation_data(path, assistant="Tim") == [FIRST, SECOND]
    assert load_conversation_data(path, assistant="Tim", user="Ruth") == [FIRST, SECOND]
    with pytest.raises(ConfigError, match="give --assistant NAME too"):
        load_conversation_data(path, user="Ruth")


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"from": "Ruth", "text": "Deep?"}, {"from": "Tim", "text": "Two metres."}]},
        [
            {"type": "message", "user": "Ruth", "text": "Deep?"},
            {"type": "message", "user": "Tim", "text": "Two metres."},
        ],
        [{"sender": "Ruth", "body": "Deep?"}, {"sender": "Tim", "body": "Two metres."}],
        {
            "messages": [
                {"author": {"name": "Ruth"}, "content": "Deep?"},
                {"author": {"name": "Tim"}, "content": "Two metres."},
            ]
        },
        {
            "participants": [],
            "messages": [{"senderName": "Ruth", "text": "Deep?"}, {"senderName": "Tim", "text": "Two metres."}],
        },
        {
            "conversations": [
                {
                    "displayName": "x",
                    "MessageList": [{"from": "Ruth", "content": "Deep?"}, {"from": "Tim", "content": "Two metres."}],
                }
            ]
        },
        {"dialogue": "Ruth: Deep?\nTim: Two metres."},
    ],
)
def test_messages_without_times_are_one_conversation(tmp_path, value):
    assert read(tmp_path / "a.json", value, assistant="Tim").items == [FIRST]
    assert read(tmp_path / "a.json", value, documents=True).items == WORDS[:1]
    assert 'by people, "Ruth", "Tim": who is the assistant?' in read(tmp_path / "a.json", value).error


def test_what_is_left_out_is_said(tmp_path):
    said = read(tmp_path / "result.json", telegram(), assistant="Tim").said
    assert said == ["left out: messages of the messenger itself, not of a person (1)"]
    said = read(tmp_path / "message_1.json", instagram(), assistant="Tim").said
    assert said == ["left out: messages that are no text, such as pictures (1)"]
    file, text = FILES["whatsapp_android"]
    assert read(tmp_path / file, text, assistant="Tim").said == [
        "left out: lines of a messenger itself, not of a person (1)",
        "left out: messages that are no text, such as pictures (1)",
    ]
    assert "names and times are taken off" in read(tmp_path / file, text, documents=True).said[0]


def test_a_log_letter_for_letter(tmp_path):
    from tinylm.data import iter_documents

    file, text = FILES["whatsapp_android"]
    (tmp_path / file).write_text(text)
    assert list(iter_documents(tmp_path / file, options=ReadOptions(documents="blank-lines"))) == [text.strip()]


def test_groups(tmp_path):
    text = "Ann: a\nBen: b\nCleo: c\nBen: d\nCleo: e\nAnn: f\nBen: g\n"
    found = read(tmp_path / "a.txt", text, assistant="Ben")
    assert found.items == [chat("U:a", "A:b", "U:c", "A:d", "U:e\nf", "A:g")]
    found = read(tmp_path / "a.txt", text, assistant="Ben", user="Ann")
    assert found.items == [chat("U:a", "A:b\nd", "U:f", "A:g")]
    assert found.said == ["left out: messages by others than --assistant and --user (2)"]
    messages = {"messages": [{"from": line[:-3], "text": line[-1]} for line in text.split("\n") if line]}
    found = read(tmp_path / "a.json", messages, assistant="ben", user="ann")
    assert found.items == [chat("U:a", "A:b\nd", "U:f", "A:g")]
    assert found.said[-1] == "left out: messages by others than --assistant and --user (2)"


def test_a_message_over_several_lines(tmp_path):
    text = (
        "1/15/24, 10:30 AM - Ruth: How\n12:30 and later?\n\n1/2 of it: yes\n1/15/24, 10:31 AM - Tim: So:\n- a\n"
        "1/15/24, 10:32 AM - Ruth: Ok\n1/15/24, 10:33 AM - Tim: Yes\n"
    )
    found = read(tmp_path / "a.txt", text, assistant="Tim")
    assert found.items == [chat("U:How\n12:30 and later?\n\n1/2 of it: yes", "A:So:\n- a", "U:Ok", "A:Yes")]


def test_facebooks_broken_letters_are_mended(tmp_path):
    value = json.loads(
        json.dumps(instagram())
        .replace("Deep?", "Tr\u00c3\u00a8s \u00f0\u009f\u0099\u0082?")
        .replace("Tim", "Andr\u00c3\u00a9")
    )
    found = read(tmp_path / "message_1.json", value, assistant="Andr\u00e9")
    assert found.items[0][0]["content"] == "Tr\u00e8s \U0001f642?"
    assert "letters were broken" in found.said[0]


def test_a_name_that_is_there_goes_before_known_roles(tmp_path):
    value = {"messages": [{"from": "AI", "text": "Deep?"}, {"from": "Tim", "text": "Two metres."}]}
    assert read(tmp_path / "a.json", value, assistant="Tim").items == [FIRST]
    value = {"turns": [{"speaker": "agent_1", "text": "Two metres."}, {"speaker": "agent_2", "text": "Cold?"}]}
    assert read(tmp_path / "a.json", value, assistant="agent_1").items == [chat("A:Two metres.", "U:Cold?")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"assistant": " "}, "--assistant must not be empty"),
        ({"user": "Ruth"}, "--user names who talks with the assistant: give --assistant NAME too"),
        ({"assistant": "Tim", "user": "tim"}, "--user and --assistant must name two people"),
        ({"documents": ""}, "--documents must not be empty"),
    ],
)
def test_options_that_make_no_sense(options, problem):
    with pytest.raises(ConfigError, match=problem):
        ReadOptions(**options)


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        (["31.12.20, 23:59:01", "01.01.21, 00:00:01"], 60),
        (["12/31/20, 11:59 PM", "1/1/21, 12:00 AM"], 60),
        (["13/01/24, 10:00", "14/01/24, 10:00"], 86_400),
        (["1/2/24, 10:00 AM", "1/3/24, 10:00 AM"], 86_400),
        (["2024-01-15 10:00", "2024-01-15 10:01:30"], 90),
        (["25-Nov-20 05:03 PM", "25-Nov-20 05:04 PM"], 60),
        (["23:59", "00:01"], 120),
        (["12.3.2022 klo 14.08", "12.3.2022 klo 14.09"], 60),
        (["1:00 a.\u202fm.", "1:00 p.\u00a0m."], 12 * 3600),
    ],
)
def test_stamps(stamps, seconds):
    clock = Clock.for_stamps(stamps)
    first, second = map(clock.seconds, stamps)
    assert second - first == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(
            1705314600,
            "1705314600",
            1705314600000,
            "1705314600.000200",
            "2024-01-15T10:30:00Z",
            "2024-01-15 10:30:00 UTC",
        ),
        *("2024-01-15T11:30:00+01:00", "Monday, January 15, 2024 at 10:30:00 AM UTC", "15 Jan 2024 10:30"),
    ],
)
def test_times_in_records(value):
    assert seconds_of(value) == pytest.approx(1705314600, abs=0.01)


@pytest.mark.parametrize("value", [None, True, "", "soon", "nan", "x" * 1000, [1], "10:30"])
def test_no_times(value):
    assert seconds_of(value) is None
