"""How bytes become lines, and raw text documents."""

import os
from pathlib import Path

import pytest

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents
from tinylm.data.readers.forms import Reading
from tinylm.data.readers.lines import iter_lines
from tinylm.data.readers.raw_text import iter_raw_documents
from tinylm.data.readers.sources import CHUNK_BYTES

READERS = [iter_lines, iter_conversations, iter_documents]
GOOD_LINE = b'[{"role": "assistant", "content": "\xc3\xa9"}]\n'


def write(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\n", ["one"]),
        (b"one\n\n", ["one", ""]),
        (b"\none", ["", "one"]),
        (b"one\r\ntwo\rthree\nfour", ["one", "two", "three", "four"]),
        (b"one\r\r\ntwo\n\r", ["one", "", "two", ""]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo", ["one", "two"]),
        ("a\u0085b\u2028c\u2029d\x0be\x0cf\x1cg\n\u0085".encode(), ["a\u0085b\u2028c\u2029d\x0be\x0cf\x1cg", "\u0085"]),
        ("\U0001f916 \u00e9".encode(), ["\U0001f916 \u00e9"]),
        (b"x" * 100_000 + b"\ny", ["x" * 100_000, "y"]),
    ],
)
def test_lines(tmp_path, content, lines):
    path = write(tmp_path, content)
    assert list(iter_lines(path)) == list(enumerate(lines, 1))


@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n", b"\r\r\n", b"\r" * 5])
def test_line_ends_at_the_edge_of_a_chunk(tmp_path, end, offset):
    first = b"x" * (CHUNK_BYTES + offset - len(end) + 1)
    path = write(tmp_path, first + end + "\u00e9".encode())
    expected = (first + end).decode().replace("\r\n", "\n").replace("\r", "\n") + "\u00e9"
    assert [line for _, line in iter_lines(path)] == expected.split("\n")


def test_a_line_over_several_chunks(tmp_path):
    line = "\u00e9" * (CHUNK_BYTES + 1)
    assert list(iter_lines(write(tmp_path, f"a\n{line}\nb".encode()))) == [(1, "a"), (2, line), (3, "b")]


BINARY = "looks binary, not text (it holds a NUL byte); unpack it or save it as UTF-8 text"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a"])
@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (GOOD_LINE + b"caf\xe9", 2, "not UTF-8 text (byte 0xe9 at column 4); save it as UTF-8"),
        (GOOD_LINE + b"\r\r\n\xc3\xa9\xff", 4, "not UTF-8 text (byte 0xff at column 2); save it as UTF-8"),
        (b"\xef\xbb\xbf\xed\xa0\x80", 1, "not UTF-8 text (byte 0xed at column 1); save it as UTF-8"),
        (b"\xe2\x82", 1, "not UTF-8 text (byte 0xe2 at column 1); save it as UTF-8"),
        (GOOD_LINE * 2 + b"{\0}", 3, BINARY),
        (b"\x89PNG\r\n\x1a\n\0\0", 3, BINARY),
        ("{}".encode("utf-16-le"), 1, BINARY),
        (b"\xff\xfe\n\0\x00\xd8", 2, "broken UTF-16 (unexpected end of data); save it as UTF-8"),
    ],
)
def test_not_text(tmp_path, read, name, content, line, problem):
    path = write(tmp_path, content, name)
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert str(caught.value) == f"{path}:{line}: {problem}"
    assert caught.value.line == line


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["missing.txt", "missing.json", "missing"])
def test_missing_file(tmp_path, read, name):
    with pytest.raises(DataError) as caught:
        list(read(tmp_path / name))
    assert str(caught.value) == f"{tmp_path / name}: no such file; check the path"
    assert caught.value.line is None


@pytest.mark.parametrize("read", READERS)
def test_not_a_file(tmp_path, read):
    with pytest.raises(DataError, match=r"is a directory; give a file in it$"):
        list(read(tmp_path))
    inside = write(tmp_path, b"text") / "b.txt"
    with pytest.raises(DataError, match=r"cannot be read \(Not a directory\); check the path$"):
        list(read(inside))
    with pytest.raises(DataError, match=r"cannot be a path \(embedded null byte\); check it$"):
        list(read("a\0b.txt"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"is not a regular file; save the data to one and give that$"):
        list(iter_documents(path))


def test_no_permission(tmp_path, monkeypatch):
    path = write(tmp_path, b"text")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # As root, every file can be read.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError) as caught:
        list(iter_lines(path))
    assert str(caught.value) == f"{path}: no permission to read it; change its permissions"


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("one", ["one"]),
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo\n \t\n\n\nthree\n", ["one", "two", "three"]),
        ("\n\n  one  \n  two  \n\n", ["one  \n  two"]),
        ("one\n\ntwo\n<|endoftext|>\nthree\n", ["one\n\ntwo", "three"]),
        ("<|endoftext|>\n\n<|endoftext|>\n one\n\n  \t<|endoftext|>  ", ["one"]),
        ("one <|endoftext|>\n\ntwo", ["one", "two"]),
        ("one\n<|ENDOFTEXT|>\n\ntwo", ["one\n<|ENDOFTEXT|>", "two"]),
        ("<bos> # one <eos>\n<user> two", ["<bos> # one <eos>\n<user> two"]),
        ("one\r\n\r\ntwo\r\rthree", ["one", "two", "three"]),
        ("a\u0085b\u2028\u2028c\x0c\x0bd", ["a\u0085b\u2028\u2028c\x0c\x0bd"]),
        ("x" * 100_000 + "\n\n" + "y" * 100_000, ["x" * 100_000, "y" * 100_000]),
        ("<|endoftext|>", []),
        (" \n ", []),
    ],
)
def test_raw_documents(tmp_path, text, documents):
    path = write(tmp_path, text.encode())
    assert list(iter_raw_documents(Reading(path, True, ReadSummary(path)))) == documents
