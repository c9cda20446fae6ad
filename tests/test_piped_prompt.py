"""Prompts from pipes and files: line ends and byte order marks that programs add do not reach the model."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import tinylm.runtime
from tinylm.cli.main import cli
from tinylm.cli.piped_prompt import decode_prompt
from tinylm.data.world import test_items
from tinylm.errors import TinyLMError
from tinylm.runtime import ChatModel

test_items.__test__ = False
ENTRY = "import sys; from tinylm.cli.main import main; sys.argv[0] = 'tinylm'; main()"
GREEDY = ("--temperature", "0", "--max-new-tokens", "64", "--json")
FORMS = {
    "LF": lambda text: f"{text}\n".encode(),
    "CRLF": lambda text: f"{text}\r\n".encode(),
    "byte order mark": lambda text: f"\ufeff{text}\r\n".encode(),
    "UTF-16": lambda text: f"\ufeff{text}\r\n".encode("utf-16-le"),
}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\n", ""),
        (b"Hello", "Hello"),
        (b"Hello\n", "Hello"),
        (b"Hello\r\n", "Hello"),
        (b"Hello\r", "Hello"),
        (b"Hello\n\n", "Hello\n"),
        (b"Hello\r\n\r\n", "Hello\n"),
        (b"  Hello \n", "  Hello "),
        (b"one\r\ntwo\rthree\n", "one\ntwo\nthree"),
        (b"\xef\xbb\xbfHello\n", "Hello"),
        (b"\xef\xbb\xbf\xef\xbb\xbfHello", "\ufeffHello"),
        ("\ufeffWörter 🌱\r\n".encode("utf-16-le"), "Wörter 🌱"),
        ("\ufeffWörter 🌱\r\n".encode("utf-16-be"), "Wörter 🌱"),
    ],
)
def test_what_is_text_and_what_is_not(data, text):
    assert decode_prompt(data) == text


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"caf\xe9 au lait", "stdin: not UTF-8 text (byte 0xe9 at 3); save it as UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "stdin: not UTF-8 text (byte 0xe9 at 6); save it as UTF-8"),
        (b"\xff\xfeH\x00\x00\xd8", "stdin: not UTF-16 text (byte 0x00 at 4); save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_one_line(data, problem):
    with pytest.raises(TinyLMError) as caught:
        decode_prompt(data)
    assert str(caught.value) == problem


def test_all_items_of_the_demo_world_get_the_same_replies(monkeypatch):
    model = ChatModel()
    monkeypatch.setattr(tinylm.runtime, "ChatModel", lambda *_, **__: model, raising=False)

    def reply(*arguments, **options):
        # With a part of the prompt in the cache, int8 rounds elsewhere, which decides a close call
        model.session.truncate(0)
        result = CliRunner().invoke(cli, ["chat", *arguments, *GREEDY], **options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["reply"]

    texts = {item.turns[-1] for item in test_items()}
    assert len(texts) > 200
    for text in texts:
        typed = reply("--prompt", text)
        for form in ("LF", "CRLF"):
            assert reply(input=FORMS[form](text)) == typed, (form, text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["chat", "complete"])
def test_real_pipes_and_files(command, form, bundle, tmp_path, must):
    text = "Was ist Öl?\nWhat can you do?"
    typed = json.loads(must(command, bundle, "--prompt", text, *GREEDY).stdout)
    (tmp_path / "prompt.txt").write_bytes(FORMS[form](text))
    with (tmp_path / "prompt.txt").open() as file:
        line = [sys.executable, "-c", ENTRY, command, str(bundle), *GREEDY]
        done = subprocess.run(line, stdin=file, capture_output=True, check=True, timeout=60)
    piped = subprocess.run(line, input=FORMS[form](text), capture_output=True, check=True, timeout=60)
    for result in (done, piped):
        said = json.loads(result.stdout)
        assert (said["reply"], said["prompt_tokens"]) == (typed["reply"], typed["prompt_tokens"])


def test_a_text_to_continue_comes_from_stdin_too(bundle, run_cli, must):
    assert must("complete", bundle, input="Pip likes\n").stdout.startswith("Pip likes")
    for empty in ("", "\n"):
        result = run_cli("complete", bundle, input=empty)
        assert result.exit_code == 2
        assert "give --prompt TEXT, or pipe one in" in result.stderr
    # Given explicitly, an empty text is one
    assert must("complete", bundle, "--prompt", "", input="not read").stdout


def test_a_stdin_that_cannot_be_read_is_one_line(bundle):
    code = f"import os; os.dup2(os.open('/', os.O_RDONLY), 0)\n{ENTRY}"
    done = subprocess.run(
        [sys.executable, "-c", code, "chat", str(bundle)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "Error: stdin: cannot be read (Is a directory)\n"
