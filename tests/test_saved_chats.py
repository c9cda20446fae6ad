"""Conversations on disk."""

import json
import subprocess
import sys
import threading

import pytest

from tinylm.data import load_conversation_data
from tinylm.errors import DataError, TinyLMError
from tinylm.runtime.saved_chats import SavedChat

HELLO = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi 🌱\n\u2028<user>"}]
LONGER = [{"role": "system", "content": "Be kind."}, *HELLO, {"role": "user", "content": "And?"}]
OTHER = [{"role": "user", "content": "Someone else"}, {"role": "assistant", "content": "Yes."}]


def lines(path):
    return [json.loads(line)["messages"] for line in path.read_text("utf-8").split("\n") if line]


def test_a_conversation_that_grows_stays_one_line(tmp_path):
    path = tmp_path / "chats.jsonl"
    saved = SavedChat(path)
    saved.save(HELLO)
    saved.save(HELLO)
    assert lines(path) == [HELLO]
    SavedChat(path).save(OTHER)
    saved.save(LONGER)
    assert lines(path) == [LONGER, OTHER]
    assert [entry.name for entry in tmp_path.iterdir()] == ["chats.jsonl"]


def test_equal_conversations_are_two_lines_and_the_own_one_is_replaced(tmp_path):
    path = tmp_path / "chats.jsonl"
    SavedChat(path).save(HELLO)
    saved = SavedChat(path)
    saved.save(HELLO)
    saved.save(LONGER)
    assert lines(path) == [HELLO, LONGER]


def test_what_was_loaded_is_replaced_wherever_it_has_moved_to(tmp_path):
    path = tmp_path / "chats.jsonl"
    for messages in (HELLO, OTHER):
        SavedChat(path).save(messages)
    saved = SavedChat(path)
    assert saved.load(1) == HELLO
    path.write_text(json.dumps({"messages": LONGER}) + "\n\n" + path.read_text("utf-8"), "utf-8")
    saved.save([*HELLO, *OTHER])
    assert lines(path) == [LONGER, [*HELLO, *OTHER], OTHER]


def test_the_last_conversation_is_loaded_unless_another_is_named(tmp_path):
    path = tmp_path / "chats.jsonl"
    for messages in (HELLO, OTHER):
        SavedChat(path).save(messages)
    assert SavedChat(path).load() == OTHER
    assert SavedChat(path).load(2) == OTHER
    for number in (0, 3):
        with pytest.raises(DataError, match="holds 2 conversations"):
            SavedChat(path).load(number)


def test_saved_conversations_are_training_data(tmp_path):
    path = tmp_path / "chats.jsonl"
    stopped = {"role": "assistant", "content": ""}
    SavedChat(path).save([*OTHER, {"role": "user", "content": "And?"}, stopped, *OTHER])
    assert load_conversation_data(path) == [
        [*OTHER, {"role": "user", "content": "And?\nSomeone else"}, {"role": "assistant", "content": "Yes."}]
    ]


def test_a_conversation_of_which_nothing_is_left_goes_out_of_the_file(tmp_path):
    path = tmp_path / "chats.jsonl"
    SavedChat(path).save(OTHER)
    saved = SavedChat(path)
    saved.save(HELLO)
    saved.save(LONGER[:1])
    assert lines(path) == [OTHER]
    saved.save(HELLO)
    assert lines(path) == [OTHER, HELLO]


def test_text_that_no_utf8_holds_is_saved_with_stand_ins(tmp_path):
    path = tmp_path / "chats.jsonl"
    SavedChat(path).save([{"role": "user", "content": "a\udcffb"}])
    assert lines(path) == [[{"role": "user", "content": "a?b"}]]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"messages": [{"role": "user", "content": "Hi"}]}\n{"messages": [{"role": "us', 2),
        (b'\n\n{"messages": [{"role": "robot", "content": "Hi"}]}\n', 3),
        (b'{"messages": [{"role": "user", "content": 7}]}\n', 1),
        (b'{"messages": "Hi"}\n', 1),
        (b"# a page of notes\n", 1),
        (b'{"messages": [{"role": "user", "content": "caf\xe9"}]}\n', 1),
        (b"\x00\x01", 1),
    ],
)
def test_a_file_of_something_else_is_refused_and_stays_as_it_is(tmp_path, content, line):
    path = tmp_path / "chats.jsonl"
    path.write_bytes(content)
    for touch in (lambda: SavedChat(path).load(), lambda: SavedChat(path).save(HELLO)):
        with pytest.raises(DataError, match="not a conversation") as caught:
            touch()
        assert (caught.value.path, caught.value.line) == (str(path), line)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_file_that_is_not_there_or_holds_nothing(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        SavedChat(tmp_path / "nowhere.jsonl").load()
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no conversation"):
        SavedChat(tmp_path / "empty.jsonl").load()
    with pytest.raises(TinyLMError, match="cannot be read"):
        SavedChat(tmp_path).save(HELLO)
    with pytest.raises(TinyLMError, match="cannot be written"):
        SavedChat(tmp_path / "nowhere" / "chats.jsonl").save(HELLO)


def test_programs_that_save_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "chats.jsonl"

    def chat(number):
        saved, messages = SavedChat(path), []
        for turn in range(10):
            messages += [
                {"role": "user", "content": f"{number} asks {turn}"},
                {"role": "assistant", "content": f"{number} hears {turn}"},
            ]
            saved.save(messages)

    threads = [threading.Thread(target=chat, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((messages[0]["content"], len(messages)) for messages in lines(path)) == [
        (f"{number} asks 0", 20) for number in range(4)
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["chats.jsonl"]


def test_a_conversation_that_another_program_has_changed_is_saved_beside_its(tmp_path):
    path, said = tmp_path / "chats.jsonl", []
    SavedChat(path).save(HELLO)
    first, second = SavedChat(path), SavedChat(path, said.append)
    assert first.load() == second.load() == HELLO
    first.save([*HELLO, *OTHER])
    second.save(LONGER)
    assert lines(path) == [[*HELLO, *OTHER], LONGER]
    assert [sentence for sentence in said if "another program has changed this conversation" in sentence] == said != []
    second.save([*LONGER, *OTHER[1:]])
    assert lines(path) == [[*HELLO, *OTHER], [*LONGER, *OTHER[1:]]]
    assert len(said) == 1


def test_who_waits_too_long_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tinylm.runtime.saved_chats._WAIT_SECONDS", 0.0)
    path = tmp_path / "chats.jsonl"
    with SavedChat(path).locked():
        for use in (SavedChat(path).check, lambda: SavedChat(path).save(HELLO)):
            with pytest.raises(TinyLMError, match=r"chats\.jsonl: another program uses it; try again"):
                use()
    saved = SavedChat(path)
    with saved.locked():
        saved.check()
        saved.save(HELLO)
        assert saved.load() == HELLO
    assert lines(path) == [HELLO]


def test_a_linked_session_is_locked_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("tinylm.runtime.saved_chats._WAIT_SECONDS", 0.0)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/chats.jsonl")
    with SavedChat(tmp_path / "link").locked(), pytest.raises(TinyLMError, match="another program uses it"):
        SavedChat(tmp_path / "real" / "chats.jsonl").save(HELLO)
    SavedChat(tmp_path / "link").save(HELLO)
    assert lines(tmp_path / "real" / "chats.jsonl") == [HELLO]
    assert (tmp_path / "link").is_symlink()


def test_a_check_changes_nothing(tmp_path):
    path = tmp_path / "chats.jsonl"
    SavedChat(path).check()
    assert list(tmp_path.iterdir()) == []
    SavedChat(path).save(HELLO)
    before = path.stat()
    SavedChat(path).check()
    assert path.stat() == before
    path.write_text("notes")
    with pytest.raises(DataError, match="not a conversation"):
        SavedChat(path).check()
    with pytest.raises(TinyLMError, match=r"nowhere/chats\.jsonl: cannot be written"):
        SavedChat(tmp_path / "nowhere" / "chats.jsonl").check()


def test_processes_with_one_session_take_turns(tmp_path):
    path = tmp_path / "chats.jsonl"
    command = [sys.executable, "-m", "tinylm", "chat", "--session", str(path), "--max-new-tokens", "2"]
    processes = [
        subprocess.Popen([*command, "--prompt", f"Question {number}"], stdout=subprocess.DEVNULL) for number in range(3)
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    [conversation] = lines(path)
    asked = [message["content"] for message in conversation if message["role"] == "user"]
    assert sorted(asked) == ["Question 0", "Question 1", "Question 2"]
