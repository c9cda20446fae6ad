"""Token shards: the same rows from the same data however they came about, and nothing broken is ever used."""

import errno
import json
import os
import re
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from full_disk import every_full_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from rows import ArrayRows

from tinylm.config import TokenizerConfig, make_config
from tinylm.data.dataset.batches import Batches, Part
from tinylm.data.dataset.disk_cache import INDEX, DataCache, key_of
from tinylm.data.dataset.held_out import HeldOut, characters_of, content_hash
from tinylm.data.dataset.stages import prepare_stage, tokenize_files
from tinylm.data.dataset.survey import TextSample, find_tokenizer, survey_files
from tinylm.data.readers.paths import DataFile
from tinylm.errors import DataError, TinyLMError, WriteError
from tinylm.evaluation import IGNORED

WORDS = ["pond", "frog", "lamp", "rain", "moss", "bell", "kite", "plum"]
CONFIG = make_config({"model": {"vocab_size": 300, "context_length": 32}})


def sentence(number):
    return " ".join(WORDS[number // 8**place % 8] for place in range(5)) + f" {number}"


def write_documents(path, numbers):
    path.write_text("\n\n".join(map(sentence, numbers)), "utf-8")
    return path


def write_chats(path, numbers, turns=1):
    lines = [
        json.dumps(
            {
                "messages": [
                    message
                    for turn in range(turns)
                    for message in (
                        {"role": "user", "content": sentence(number + turn)},
                        {"role": "assistant", "content": sentence(number + turn + 1)},
                    )
                ]
            }
        )
        for number in numbers
    ]
    path.write_text("\n".join(lines), "utf-8")
    return path


def prepare(cache, stage, *files, threads=1, config=CONFIG, words=None):
    """A stage's data, and what of it did not come from the cache."""
    notify = (lambda _: None) if words is None else words.append
    files = [DataFile(*file) if isinstance(file, tuple) else DataFile(file) for file in files]
    survey, was_read = survey_files(stage, files, config.data.validation_fraction, cache, notify=notify)
    tokenizer, was_trained = find_tokenizer([survey], config.model.vocab_size, config.tokenizer, cache, notify=notify)
    shards = tokenize_files(survey, tokenizer, cache, threads)
    return prepare_stage(survey, shards, tokenizer, config, notify), (was_read, was_trained, shards.fresh)


def batches_of(data, count=6, size=5):
    return [part.tolist() for index in range(count) for part in data.batches.batch(index, size)]


def held_out_naively(examples, fraction, max_characters):
    """The split's definition, with all keys at hand."""
    counts, characters = Counter(), Counter()
    for example in examples:
        counts[content_hash(example)] += 1
        characters[content_hash(example)] += characters_of(example)
    chosen, held, size = set(), 0, 0
    for key in sorted(counts):
        if held >= max(1, fraction * len(examples)) or len(chosen) + 1 >= len(counts):
            break
        if chosen and size + characters[key] > max_characters:
            break
        if 2 * characters[key] > characters.total():
            continue
        chosen.add(key)
        held += counts[key]
        size += characters[key]
    return chosen


@settings(deadline=None, max_examples=300)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), min_size=2, max_size=120),
    fraction=st.floats(0.01, 0.5),
    max_characters=st.integers(1, 200),
)
def test_the_split_in_bounded_memory_is_that_of_all_keys(lengths, fraction, max_characters):
    examples = [f"{number:02}" * length for number, length in lengths]
    held_out = HeldOut(fraction, max_characters)
    for example in examples:
        held_out.add(example)
        assert held_out._size <= 2 * max_characters + 4 * max(map(len, examples)) * len(examples)
    assert held_out.decide().keys == held_out_naively(examples, fraction, max_characters)


def test_candidates_for_the_split_stay_few():
    held_out = HeldOut(0.5, max_characters=5000)
    for number in range(20_000):
        held_out.add(sentence(number))
    assert len(held_out._found) < 700
    assert held_out.decide().keys == held_out_naively([sentence(number) for number in range(20_000)], 0.5, 5000)


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


def targets_of(data, epoch=0):
    """Every token that is a target in an epoch, counted."""
    rows = data.batches.rows_per_epoch
    targets = np.concatenate([data.batches.batch(epoch * rows + row, 1)[1] for row in range(rows)])
    return Counter(targets[targets != IGNORED].tolist())


@pytest.mark.parametrize("documents", [3, 9, 40])
def test_each_token_of_each_part_is_a_target_once_an_epoch(documents, tmp_path):
    """Down to texts of less than two rows, and in parts of their own weights."""
    config = make_config({"model": {"vocab_size": 300, "context_length": 256}, "data": {"validation_fraction": 0}})
    cache = DataCache(tmp_path / "cache")
    once = write_documents(tmp_path / "once.txt", range(documents))
    often = write_documents(tmp_path / "often.txt", range(1000, 1000 + documents))
    data, _ = prepare(cache, "pretrain", once, (often, 3), config=config)
    survey, _ = survey_files("pretrain", [DataFile(once), DataFile(often, 3)], 0, cache)
    tokenizer, _ = find_tokenizer([survey], 300, config.tokenizer, cache)
    wanted = Counter()
    for weight, path in ((1, once), (3, often)):
        for text in path.read_text("utf-8").split("\n\n"):
            for id_ in [*tokenizer.encode(text), tokenizer.eos_id]:
                wanted[id_] += weight
    assert all(targets_of(data, epoch) == wanted for epoch in range(3))


def test_each_token_of_each_conversation_is_a_target_once_an_epoch(tmp_path):
    config = make_config({"model": {"vocab_size": 300, "context_length": 256}, "data": {"validation_fraction": 0}})
    cache = DataCache(tmp_path / "cache")
    path = write_chats(tmp_path / "a.jsonl", range(40), turns=2)
    data, _ = prepare(cache, "finetune", path, config=config)
    survey, _ = survey_files("finetune", [DataFile(path)], 0, cache)
    tokenizer, _ = find_tokenizer([survey], 300, config.tokenizer, cache)
    replies = [sentence(number + turn + 1) for number in range(40) for turn in range(2)]
    wanted = Counter(id_ for reply in replies for id_ in [*tokenizer.encode(reply), tokenizer.eos_id])
    assert all(targets_of(data, epoch) == wanted for epoch in range(3))


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


def numbered(count, first=0):
    ids = np.repeat(np.arange(first, first + count)[:, None], 4, axis=1)
    return ArrayRows(ids, np.ones(ids.shape, bool))


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 30)), min_size=1, max_size=4),
    size=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_every_part_has_its_share_of_each_epoch(parts, size, seed):
    made = [Part(numbered(count, 100 * number), share) for number, (count, share) in enumerate(parts)]
    batches = Batches(made, seed)
    epoch = sum(share for _, share in parts)
    epochs = 12
    seen = [int(row[0]) for index in range(-(-epoch * epochs // size)) for row in batches.batch(index, size)[0]]
    for start in range(0, epoch * epochs, epoch):
        counts = Counter(number // 100 for number in seen[start : start + epoch])
        assert counts == {number: share for number, (_, share) in enumerate(parts)}
    # No row is left out, and none is seen twice more than another
    for number, (count, share) in enumerate(parts):
        times = Counter(row for row in seen[: epoch * epochs] if row // 100 == number)
        least = share * epochs // count
        assert all(least <= times[100 * number + row] <= least + 1 for row in range(count))
    again = Batches(made, seed)
    last = epoch * epochs // size - 1
    if last >= 0:
        assert [int(row[0]) for row in again.batch(last, size)[0]] == seen[last * size : (last + 1) * size]


def test_weights_are_of_examples(tmp_path):
    once = write_documents(tmp_path / "once.txt", range(200))
    often = write_documents(tmp_path / "often.txt", range(1000, 1200))
    cache = DataCache(tmp_path / "cache")
    weighted, _ = prepare(cache, "pretrain", once, (often, 2.5))
    plain, made = prepare(cache, "pretrain", once, often)
    assert made == (False, False, False)
    assert [part.per_epoch / len(part.rows) for part in weighted.batches.parts] == pytest.approx([1, 2.5], rel=0.01)
    assert len(plain.batches.parts) == 1
    assert weighted.provenance.files[1].weight == 2.5
    assert "weight" not in to_builtins(weighted.provenance.files[0])
    twice, _ = prepare(cache, "pretrain", once, often, often)
    # Of what is held out, both copies are, and one is kept
    assert twice.provenance.examples == 588
    assert 6 <= twice.provenance.held_out < 12


def test_replay_is_a_share_of_the_rows(tmp_path):
    cache = DataCache(tmp_path / "cache")
    text, _ = prepare(cache, "pretrain", write_documents(tmp_path / "a.txt", range(300)))
    chats, _ = prepare(cache, "finetune", write_chats(tmp_path / "b.jsonl", range(200)))
    mixed = chats.with_replay(text, 0.25)
    assert mixed.batches.rows_per_epoch == pytest.approx(chats.batches.rows_per_epoch / 0.75, abs=1)
    assert mixed.held_out is chats.held_out


def test_held_out_text_is_not_in_the_sample(tmp_path):
    path = write_documents(tmp_path / "a.txt", range(90))
    sample = TextSample(1_000_000)
    survey, _ = survey_files("pretrain", [DataFile(path)], 0.1, DataCache(tmp_path / "cache"), sample=sample)
    texts = list(sample.texts({"pretrain": survey.split}))
    assert len(texts) == 81
    held_out = {sentence(number) for number in range(90)} - set(texts)
    assert {content_hash(text) for text in held_out} == survey.split.keys


def test_the_sample_of_a_lone_document_ends_where_it_is_cut(tmp_path):
    text = "\n".join(sentence(number) for number in range(3000))
    (tmp_path / "a.txt").write_text(text)
    sample = TextSample(1_000_000)
    survey, _ = survey_files(
        "pretrain", [DataFile(tmp_path / "a.txt")], 0.1, DataCache(tmp_path / "cache"), sample=sample
    )
    assert "".join(sample.texts({"pretrain": survey.split})) == text[: survey.split.cut]
    data, _ = prepare(DataCache(tmp_path / "cache"), "pretrain", tmp_path / "a.txt")
    assert (data.provenance.examples, data.provenance.held_out) == (1, 1)


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
