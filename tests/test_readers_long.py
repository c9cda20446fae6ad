"""Lines and records of any length: linear time and flat memory."""

import gzip
import json
import subprocess
import sys
import tracemalloc

import pytest
from reading import chat, lines, read

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents
from tinylm.data.readers import json_stream, json_values
from tinylm.data.readers import lines as lines_module
from tinylm.data.readers.lines import iter_lines, iter_pieces

RECORDS = [{"messages": chat(f"U:How deep is pond {n}?", f'A:It is \u00e9 "{n}"\nmetres deep.')} for n in range(300)]
CHATS = [record["messages"] for record in RECORDS]


@pytest.fixture
def small_limits(monkeypatch):
    """Make what is long a thousand times shorter."""
    monkeypatch.setattr(json_values, "_LONGEST_HELD", 2000)
    monkeypatch.setattr(json_stream, "_PART", 500)
    monkeypatch.setattr(json_stream, "_LONGEST_OBJECT", 4000)
    monkeypatch.setattr(json_stream, "LONGEST_STRING", 3000)
    monkeypatch.setattr(lines_module, "PIECE_BYTES", 700)
    monkeypatch.setattr("tinylm.data.readers.sources.CHUNK_BYTES", 700)


@pytest.mark.parametrize(
    "value",
    [
        RECORDS,
        {"version": 1, "data": RECORDS},
        {"data": {"train": RECORDS}},
        {f"id{n}": messages for n, messages in enumerate(CHATS)},
        {"conversations": CHATS},
    ],
    ids=["list", "under_a_key", "under_two", "dict", "conversations"],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_long_json_is_read_as_short_json_is(tmp_path, small_limits, value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read(tmp_path / "a.json", text).items == CHATS
    assert read(tmp_path / "a.json", text, documents=True).items == ["\n".join(t["content"] for t in c) for c in CHATS]


def test_a_text_that_is_too_long_is_cut_and_it_is_said(tmp_path, small_limits):
    for text in ("deep " * 2000, 'a "deep"\n\u00e9\U0001f642 ' * 2000, "\\" * 9000, "\U0001f642" * 5000):
        found = read(tmp_path / "a.jsonl", lines({"messages": chat("U:hi", f"A:{text}")}, RECORDS[0]))
        assert found.error == ""
        assert found.items[1] == CHATS[0]
        kept = found.items[0][1]["content"]
        assert text.strip().startswith(kept)
        assert len(kept) < 4000
        assert "characters of texts that are too long to be held; save such a text as .txt" in found.said[0]


def test_pieces_make_the_lines(tmp_path, small_limits):
    text = "short\n" + "\u00e9\U0001f642x" * 900 + "\n\n" + "y" * 5000
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    assert list(iter_lines(path)) == list(enumerate(text.split("\n"), 1))
    pieces = list(iter_pieces(path))
    assert len(pieces) > 8
    assert max(len(piece[1]) for piece in pieces) < 2000
    path.write_bytes(text.encode() + b"\xff")
    with pytest.raises(DataError, match=r":4: not UTF-8 text \(byte 0xff at column 5001\)"):
        list(iter_pieces(path))


def test_tags_on_one_long_line(tmp_path, small_limits):
    text = "".join(f"<bos><user> How deep is {n}?<assistant>: {n} metres.<eos>" for n in range(400))
    found = read(tmp_path / "a.txt", text)
    assert found.items == [chat(f"U:How deep is {n}?", f"A:{n} metres.") for n in range(400)]


def test_raw_text_on_one_long_line(tmp_path, monkeypatch, small_limits):
    monkeypatch.setattr("tinylm.data.readers.raw_text.LONGEST_DOCUMENT", 8000)
    monkeypatch.setattr("tinylm.data.readers.raw_text.PART", 1000)
    words = [f"word{n}" for n in range(5000)]
    found = read(tmp_path / "a.txt", " ".join(words), documents=True)
    assert " ".join(found.items).split() == words
    assert max(map(len, found.items)) < 4000
    assert found.said == ["a document of more than 8,000 characters comes in parts of some 1,000"]


def test_a_line_that_cannot_be_held_is_an_error(tmp_path, monkeypatch, small_limits):
    monkeypatch.setattr(lines_module, "LONGEST_LINE", 2000)
    table = "prompt,response\n" + "x" * 2500 + ",hello\n"
    assert read(tmp_path / "a.csv", table).items == [chat(f"U:{'x' * 2500}", "A:hello")]
    monkeypatch.setattr("tinylm.data.readers.tables._LONGEST_ROW", 3000)
    assert read(tmp_path / "a.csv", table).items == [chat(f"U:{'x' * 2500}", "A:hello")]
    found = read(tmp_path / "a.csv", "text,id\n" + "x" * 5000 + ",1\n")
    assert found.error.startswith("a.csv:2: a line of more than 3,000 characters; part it into shorter ones")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_memory_does_not_grow_with_a_line(tmp_path, name, pack):
    peaks = []
    for megabytes in (20, 60):
        text = "the pond is deep and cold. " * (megabytes * 1_000_000 // 27)
        path = tmp_path / (name + (".gz" if pack is gzip.compress else ""))
        path.write_bytes(pack((json.dumps({"text": text}) if name == "a.jsonl" else text).encode()))
        del text
        tracemalloc.start()
        assert sum(1 for _ in iter_documents(path, ReadSummary(path))) >= 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 150e6


def test_a_long_first_line_of_a_table(tmp_path):
    names = ",".join(["prompt", "response", *(f"column{n}" for n in range(20_000))])
    path = tmp_path / "a.csv"
    path.write_text(f"{names}\nhi,hello{',' * 20_000}\n")
    assert list(iter_conversations(path)) == [chat("U:hi", "A:hello")]
    for name in ("a.csv", "a.txt", "a"):
        found = read(tmp_path / name, "x" * 200_000)
        assert "\n" not in found.error


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not take such names")
def test_a_name_that_is_not_utf8(tmp_path):
    path = bytes(tmp_path) + b"/caf\xe9.jsonl"
    with open(path, "w") as file:  # noqa: PTH123 - the name is bytes
        file.write(lines({"messages": chat("U:hi", "A:hello")}) + "{")
    command = [sys.executable, "-m", "tinylm", "data", "inspect", path]
    for more in ([], ["--json"], ["--as", "text"]):
        result = subprocess.run([*command, *more], capture_output=True, check=False, timeout=120)
        assert result.returncode == 1
        assert b"Traceback" not in result.stdout + result.stderr
        assert b"broken JSON" in result.stdout
