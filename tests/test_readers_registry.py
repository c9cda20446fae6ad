"""Readers are open: a form is one small class, registered in one place or by an entry point."""

from importlib.metadata import EntryPoint

import pytest
from reading import chat, lines, read

from tinylm.data.readers import registry
from tinylm.data.readers.forms import Reader, RecordForm
from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.paths import find_files
from tinylm.data.readers.turns import Dialogue, Document, Turn
from tinylm.errors import TinyLMError


class PhoneCalls(Reader):
    """Files of `caller> text` and `clerk> text`."""

    suffixes = (".calls",)

    def claims(self, reading):
        return reading.suffix in self.suffixes

    def parts(self, reading):
        turns = []
        for number, line in iter_lines(reading.path):
            who, _, text = line.partition("> ")
            turns.append(Turn("assistant" if who == "clerk" else "user", text, Place(reading.path, number)))
        if reading.documents:
            yield Document(Place(reading.path, 1), "\n".join(turn.text for turn in turns), "phone calls")
        else:
            yield Dialogue(Place(reading.path, 1), turns, "phone calls")


class Riddles(RecordForm):
    """Records with a riddle and what it is."""

    def claims(self, record):
        return {"riddle", "it_is"} <= record.fields.keys()

    def parts(self, record):
        turns = [
            Turn("user", record.fields["riddle"], record.place),
            Turn("assistant", record.fields["it_is"], record.place),
        ]
        yield record.dialogue(iter(turns), "riddles", "riddle", "it_is")


class NoReader:
    """Something else."""


@pytest.fixture
def added(monkeypatch):
    """Let other packages add these."""

    def add(*names):
        points = [EntryPoint(name, f"{__name__}:{name}", registry.GROUP) for name in names]
        monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.name])
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
        for cached in caches:
            cached.cache_clear()

    caches = [registry.readers, registry.record_forms, registry.suffixes, registry._added]
    yield add
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_a_form_of_file_is_added(tmp_path, added):
    text = "caller> Deep?\nclerk> Very.\n"
    assert read(tmp_path / "a.calls", text).error
    added("PhoneCalls")
    assert read(tmp_path / "a.calls", text).items == [chat("U:Deep?", "A:Very.")]
    assert read(tmp_path / "a.calls", text, documents=True).items == ["Deep?\nVery."]
    assert [file.path.name for file in find_files([tmp_path])] == ["a.calls"]
    # Other files are read as before
    assert read(tmp_path / "a.txt", "<user> hi <bot> hello").items == [chat("U:hi", "A:hello")]


def test_a_form_of_record_is_added(tmp_path, added):
    text = lines({"riddle": "What is deep?", "it is": "A pond."}, {"prompt": "hi", "response": "hello"})
    added("Riddles")
    assert read(tmp_path / "a.jsonl", text).items == [chat("U:What is deep?", "A:A pond."), chat("U:hi", "A:hello")]
    assert read(tmp_path / "a.csv", "riddle,it_is,system\nWhat?,A pond.,Be kind.\n").items == [
        chat("S:Be kind.", "U:What?", "A:A pond.")
    ]


def test_what_is_no_reader_is_named(tmp_path, added):
    added("NoReader")
    with pytest.raises(
        TinyLMError, match=r"NoReader, of the entry points tinylm\.readers, is no Reader and no RecordForm$"
    ):
        read(tmp_path / "a.txt", "text")
    added("Missing")
    with pytest.raises(TinyLMError, match=r"Missing, of the entry points tinylm\.readers, cannot be loaded: KeyError"):
        read(tmp_path / "a.txt", "text")


def test_every_reader_says_what_it_is():
    for form in (*registry.READERS, *registry.RECORD_FORMS):
        assert type(form).__doc__
        assert type(form).claims.__doc__
    assert registry.suffixes() == {
        *(".txt", ".md", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".yaml", ".yml", ".parquet", ".pq")
    }
