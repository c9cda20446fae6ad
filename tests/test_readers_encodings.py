"""Encodings, decided by the whole file, and packed files, told by their content."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylm.data import DataError, ReadSummary, iter_documents, load_conversation_data
from tinylm.data.readers.encodings import encoding_of
from tinylm.data.readers.sources import CHUNK_BYTES

FRENCH = "« Où étais-tu, Zoé ? » \u2013 « Là-bas, près du château… », dit-elle. Ça coûte 5 €."
GERMAN = "Größe übt Schönheit, äußerst früh.\nÖl für Ärger über „Mäuse“"
NOTE = "not UTF-8, read as cp1252 (Latin-1): look at its accented letters, or save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(b"plain", "UTF-8", id="ascii"),
        pytest.param(FRENCH.encode(), "UTF-8", id="utf8"),
        pytest.param(b"\xef\xbb\xbf" + FRENCH.encode(), "UTF-8 with a byte order mark", id="utf8_mark"),
        pytest.param(FRENCH.encode("utf-16"), "UTF-16", id="utf16"),
        pytest.param(b"\xfe\xff" + FRENCH.encode("utf-16-be"), "UTF-16", id="utf16_be"),
        pytest.param(FRENCH.encode("utf-32"), "UTF-32", id="utf32"),
        pytest.param(FRENCH.encode("cp1252"), "cp1252 (Latin-1)", id="french"),
        pytest.param(GERMAN.encode("cp1252"), "cp1252 (Latin-1)", id="german"),
        pytest.param("El niño soñó. ¿Qué? ¡Así!".encode("latin-1"), "cp1252 (Latin-1)", id="spanish"),
        pytest.param(b"x" * (CHUNK_BYTES - 1) + "é".encode() + b"x", "UTF-8", id="cut_by_a_chunk"),
        pytest.param(b"x" * CHUNK_BYTES + b" caf\xe9", "cp1252 (Latin-1)", id="late"),
        pytest.param(b"a lone caf\xe9", "cp1252 (Latin-1)", id="one_letter"),
    ],
)
def test_encodings(tmp_path, content, name):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert encoding_of(path).name == name
    summary = ReadSummary(path)
    (text,) = iter_documents(path, summary)
    assert summary.encoding == name
    assert summary.notes == ([NOTE] if name.startswith("cp1252") else [])
    assert ("é" in text) == any(part in content for part in (b"\xe9", "é".encode()))
    if len(content) < 1000 and b"lone" not in content and content != b"plain":
        assert text in (FRENCH, GERMAN, "El niño soñó. ¿Qué? ¡Así!")


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        pytest.param(f"{FRENCH}\n".encode() * 2 + b"caf\xe9", 3, "0xe9", id="one_latin_letter_in_utf8"),
        pytest.param(b"hello\nw\xffrld", 2, "0xff", id="no_letter"),
        pytest.param(b"hello\nworld\xc3", 2, "0xc3", id="cut_letter"),
        pytest.param(b"no letter \xc3( here", 1, "0xc3", id="first_byte_alone"),
        pytest.param(b"it\xe2\x80s", 1, "0xe2", id="cut_quotation_mark"),
        pytest.param("Привет, мир".encode("cp1251"), 1, "0xcf", id="another_alphabet"),
        pytest.param("日本語の文章です".encode("shift-jis"), 1, "0x93", id="japanese"),
        pytest.param(b"\xef\xbb\xbfcaf\xe9", 1, "0xe9", id="mark_says_utf8"),
    ],
)
def test_what_is_no_encoding_is_an_error(tmp_path, content, line, byte):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(iter_documents(path))
    assert str(caught.value).startswith(f"{path}:{line}: not UTF-8 text (byte {byte} at column ")


# Marks such as <|endoftext|> part documents, and markup is refused
PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<{[\ufeff")
TEXTS = st.text(PLAIN, min_size=1).map(str.strip).filter(bool)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_any_text_in_any_unicode(tmp_path, text, encoding):
    path = tmp_path / "a.md"
    path.write_bytes(text.encode(encoding))
    assert list(iter_documents(path)) == [text]


CHATS = b'{"prompt": "hi", "response": "hello"}\n' * 3


@pytest.mark.parametrize(
    ("ending", "pack", "name"),
    [
        (".gz", gzip.compress, "gzip"),
        (".bz2", bz2.compress, "bzip2"),
        (".xz", lzma.compress, "xz"),
        (".zst", zstd.compress, "zstd"),
    ],
)
def test_packed_files(tmp_path, ending, pack, name):
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(pack(CHATS))
    summary = ReadSummary(path)
    assert len(load_conversation_data(path)) == 3
    assert len(list(iter_documents(path, summary))) == 3
    assert (summary.container, summary.compression) == ("JSON Lines", name)
    nameless = path.rename(tmp_path / "a")
    assert len(load_conversation_data(nameless)) == 3
    for form, text in ((".csv", b"question,answer\nhi,hello\n"), (".txt", b"<user> hi <assistant> hello")):
        path = tmp_path / f"a{form}{ending}"
        path.write_bytes(pack(text))
        assert len(load_conversation_data(path)) == 1
    path.write_bytes(pack(CHATS)[:-6])
    with pytest.raises(DataError, match=r"cannot be unpacked \(.*\); is it cut short\?$"):
        load_conversation_data(path)


def test_a_name_that_promises_packing_may_be_wrong(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(CHATS)
    assert len(load_conversation_data(path)) == 3


def test_archives_are_refused(tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(archive.getvalue())
    with pytest.raises(DataError, match="is a tar archive; unpack it and give a file of it"):
        list(iter_documents(path))
