"""Token shards: the same rows from the same data however they came about, and nothing broken is ever used."""

import errno
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from full_disk import every_full_disk
from stage_files import batches_of, prepare, sentence, write_chats, write_documents

from tinylm.config import TokenizerConfig, make_config
from tinylm.data.dataset.disk_cache import INDEX, DataCache, key_of
from tinylm.data.dataset.stages import tokenize_files
from tinylm.data.dataset.survey import TextSample, find_tokenizer, survey_files
from tinylm.data.readers.paths import DataFile
from tinylm.errors import DataError, TinyLMError, WriteError


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_second_run_reuses_everything(stage, tmp_path):
    write = write_documents if stage == "pretrain" else write_chats
    path, other = write(tmp_path / "a.jsonl" if stage == "finetune" else tmp_path / "a.txt", range(90)), tmp_path / "c"
    first_words, second_words = [], []
    first, made = prepare(DataCache(tmp_path / "cache"), stage, path, words=first_words)
    assert made == (True, True, True)
    second, made = prepare(DataCache(tmp_path / "cache"), stage, path, threads=3, words=second_words)
    assert made == (False, False, False)
    assert first_words == second_words
    assert any("90 read" in word for word in first_words)
    third, made = prepare(DataCache(other), stage, path, threads=2)
    assert made == (True, True, True)
    assert batches_of(first) == batches_of(second) == batches_of(third)
    assert first.provenance == second.provenance == third.provenance
    assert np.array_equal(first.held_out.ids, second.held_out.ids)
    assert len(first.held_out) == first.provenance.held_out == 2
    assert first.provenance.examples == 88


def test_what_changes_is_made_anew(tmp_path):
    cache = DataCache(tmp_path / "cache")
    path = write_documents(tmp_path / "a.txt", range(90))
    first, _ = prepare(cache, "pretrain", path)
    smaller = make_config({"model": {"vocab_size": 290, "context_length": 32}})
    assert prepare(cache, "pretrain", path, config=smaller)[1] == (False, True, True)
    longer = make_config({"model": {"vocab_size": 300, "context_length": 64}})
    assert prepare(cache, "pretrain", path, config=longer)[1] == (False, False, False)
    path.rename(tmp_path / "b.txt")
    assert prepare(cache, "pretrain", tmp_path / "b.txt")[1] == (False, False, False)
    write_documents(path, [*range(89), 99])
    changed, made = prepare(cache, "pretrain", path)
    assert made == (True, True, True)
    assert batches_of(changed) != batches_of(first)
    assert changed.provenance.files[0].sha256 != first.provenance.files[0].sha256


DAMAGE = {
    "a byte": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "the end": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "all": lambda path: path.write_bytes(b""),
    "the file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_broken_cache_is_not_used(damage, tmp_path):
    path = write_documents(tmp_path / "a.txt", range(90))
    words = []
    expected = batches_of(prepare(DataCache(tmp_path / "cache"), "pretrain", path)[0])
    files = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert len(files) == 7
    for file in files:
        name = file.relative_to(tmp_path / "cache")
        damage(tmp_path / "cache" / name)
        data, made = prepare(DataCache(tmp_path / "cache", notify=words.append), "pretrain", path)
        assert sum(made) == 1, name
        assert batches_of(data) == expected, name
        assert "is broken" in words[-1]
        assert str(name.parent) in words[-1]
    assert prepare(DataCache(tmp_path / "cache"), "pretrain", path)[1] == (False, False, False)
    assert {file for file in (tmp_path / "cache").rglob("*") if file.is_file()} == set(files)


def test_what_stops_halfway_leaves_nothing(tmp_path):
    cache = DataCache(tmp_path / "cache")

    def stop(folder):
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.make("tokens", "key", stop)
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.find("tokens", "key") is None


def test_what_was_killed_halfway_is_swept_up_a_day_later(tmp_path):
    cache = DataCache(tmp_path / "cache")
    for name, age in (("old", 100_000), ("new", 10)):
        folder = tmp_path / "cache" / f".tokens-{name}.1-00.tmp"
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
        for path in (folder / "half", folder):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    cache.make("tokens", "other", lambda _: {})
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".tokens-new.1-00.tmp", "tokens-other"]


def test_processes_that_make_the_same_do_not_meet(tmp_path):
    """Both fill a folder of their own at once; one is kept, and both can use it."""
    both = threading.Barrier(2)
    entries, errors = [], []

    def fill(folder):
        (folder / "data").write_bytes(b"the same")
        both.wait(30)
        return {"n": 1}

    def make():
        try:
            entries.append(DataCache(tmp_path / "cache").make("tokens", "key", fill))
        except TinyLMError as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [entry.facts for entry in entries] == [{"n": 1}] * 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tokens-key"]
    assert (entries[0].path / "data").read_bytes() == b"the same"


def test_shards_in_use_may_be_removed(tmp_path):
    path = write_documents(tmp_path / "a.txt", range(90))
    data, _ = prepare(DataCache(tmp_path / "cache"), "pretrain", path)
    before = batches_of(data)
    DataCache(tmp_path / "cache").clear()
    assert list((tmp_path / "cache").iterdir()) == []
    assert batches_of(data) == before


def test_the_cache_is_bounded(tmp_path):
    def fill(folder):
        (folder / "data").write_bytes(bytes(1000))
        return {}

    for number in range(4):
        DataCache(tmp_path / "cache", 1e9).make("tokens", str(number), fill)
        os.utime(tmp_path / "cache" / f"tokens-{number}" / INDEX, (number, number))
    assert DataCache(tmp_path / "cache", 1e9).find("tokens", "0") is not None
    cache = DataCache(tmp_path / "cache", 4500)
    assert cache.find("tokens", "1") is not None
    cache.make("tokens", "4", fill)
    # 2 and 3 were not used for longest; 1 is in use by this process
    assert {path.name for path, _, _ in cache.entries()} == {"tokens-0", "tokens-1", "tokens-4"}
    DataCache(tmp_path / "cache", 0).make("tokens", "5", fill)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tokens-5"]


def test_variables_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert DataCache().folder == tmp_path / "tinylm" / "data"
    monkeypatch.setenv("TINYLM_DATA_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("TINYLM_DATA_CACHE_GB", "0.5")
    assert (DataCache().folder, DataCache().limit_bytes) == (tmp_path / "mine", 5e8)
    for nonsense in ("many", "-1", "nan"):
        monkeypatch.setenv("TINYLM_DATA_CACHE_GB", nonsense)
        with pytest.raises(TinyLMError, match="TINYLM_DATA_CACHE_GB"):
            DataCache()


def test_without_a_place_for_the_cache_one_is_lent(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = DataCache()
    path = write_documents(tmp_path / "a.txt", range(90))
    assert prepare(cache, "pretrain", path)[1] == (True, True, True)
    assert prepare(cache, "pretrain", path)[1] == (False, False, False)
    assert not cache.folder.is_relative_to(tmp_path / "file")


def test_keys_are_of_values():
    assert key_of("a", {"x": 1, "y": [2]}) == key_of("a", {"y": [2], "x": 1}) != key_of("a", {"x": 1, "y": [3]})


def test_the_tokenizer_is_the_same_whether_the_sample_was_at_hand(tmp_path):
    path = write_documents(tmp_path / "a.txt", range(900))
    config = TokenizerConfig(max_sample_megabytes=0.01)
    models = []
    for name in ("one", "two"):
        cache = DataCache(tmp_path / name)
        sample = TextSample(10_000)
        survey, _ = survey_files("pretrain", [DataFile(path)], 0.1, cache, sample=sample)
        at_hand = sample if name == "one" else None
        models.append(find_tokenizer([survey], 300, config, cache, sample=at_hand)[0].serialized())
    assert models[0] == models[1]


def test_a_file_that_changes_under_way_is_refused(tmp_path):
    path = write_documents(tmp_path / "a.txt", range(90))
    cache = DataCache(tmp_path / "cache")
    survey, _ = survey_files("pretrain", [DataFile(path)], 0.1, cache)
    tokenizer, _ = find_tokenizer([survey], 300, TokenizerConfig(), cache)
    write_documents(path, range(91))
    with pytest.raises(DataError, match="changed while it was read"):
        tokenize_files(survey, tokenizer, cache, 1)
    assert not list((tmp_path / "cache").glob("*tokens*"))


def test_what_did_not_fit_is_said(tmp_path):
    path = tmp_path / "chats.txt"
    path.write_text("<user> hi\n<assistant> yes\n\n<user> " + "x " * 500 + "\n<assistant> no\n\n", "utf-8")
    words = []
    config = make_config({"model": {"vocab_size": 300, "context_length": 32}, "data": {"validation_fraction": 0}})
    data, _ = prepare(DataCache(tmp_path / "cache"), "finetune", path, config=config, words=words)
    assert words[-2:] == [
        "1 of 2 conversations are longer than the context of 32 tokens: they are cut between turns",
        "2 turns are longer than the context and lose their end, 1 parts have no reply in them and are left out",
    ]
    assert data.notes["conversations"] == 2


def test_where_nothing_fits_the_way_out_is_named(tmp_path):
    path = tmp_path / "chats.txt"
    path.write_text("<user> " + "x " * 500 + "\n<assistant> no\n", "utf-8")
    with pytest.raises(
        DataError, match=r"chats\.txt: no conversation .* fits the context; try a longer model\.context_length"
    ):
        prepare(DataCache(tmp_path / "cache"), "finetune", path)


def test_a_document_too_long_to_be_held_comes_in_parts(tmp_path, monkeypatch):
    from tinylm.data.readers import raw_text
    from tinylm.data.readers.front_door import iter_documents
    from tinylm.data.readers.read_summary import ReadSummary

    monkeypatch.setattr(raw_text, "LONGEST_DOCUMENT", 4000)
    monkeypatch.setattr(raw_text, "PART", 500)
    lines = [sentence(number) for number in range(1000)]
    (tmp_path / "a.txt").write_text("short\n\n" + "\n".join(lines) + "\n\n" + "\n".join(lines[:50]))
    summary = ReadSummary(tmp_path / "a.txt")
    documents = list(iter_documents(tmp_path / "a.txt", summary))
    assert documents[0] == "short"
    assert documents[-1] == "\n".join(lines[:50])
    assert "\n".join(documents[1:-1]) == "\n".join(lines)
    assert all(len(part) <= 600 for part in documents[1:-1])
    assert "a document of more than 4,000 characters comes in parts of some 500" in summary.notes


@pytest.mark.parametrize("how", [{}, {"stays": True}, {"cuts": True}], ids=["once", "from then on", "cut"])
def test_a_full_disk_costs_nothing_but_the_entry(how, tmp_path):
    path = write_documents(tmp_path / "a.txt", range(30))
    expected = batches_of(prepare(DataCache(tmp_path / "other"), "pretrain", path)[0])
    for full in every_full_disk(tmp_path / "cache", **how):
        problem = ""
        with full as disk:
            try:
                prepare(DataCache(tmp_path / "cache"), "pretrain", path)
            except WriteError as error:
                problem = str(error)
        if problem:
            assert disk.failed
            assert re.search(r"cache/[\w./-]+: cannot be written \(.*\); make room, or let TINYLM_DATA_CACHE", problem)
        assert not list((tmp_path / "cache").glob(".*"))
        assert batches_of(prepare(DataCache(tmp_path / "cache"), "pretrain", path)[0]) == expected
        shutil.rmtree(tmp_path / "cache")


def test_an_entry_of_another_user_is_neither_used_nor_removed(tmp_path, monkeypatch):
    cache = DataCache(tmp_path / "cache")
    cache.make("tokens", "1", lambda folder: (folder / "a").write_text("x") and {"n": 1})
    said = []
    read_text = Path.read_text

    def refuse(self, *arguments, **options):
        if self.name == INDEX:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return read_text(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        assert DataCache(tmp_path / "cache", notify=said.append).find("tokens", "1") is None
    assert said == []
    assert DataCache(tmp_path / "cache").find("tokens", "1").facts == {"n": 1}
