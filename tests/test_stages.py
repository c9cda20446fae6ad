"""The data of a stage: what is held out, and how often each token is trained on."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from rows import ArrayRows
from stage_files import prepare, sentence, write_chats, write_documents

from tinylm.config import make_config
from tinylm.data.dataset.batches import Batches, Part
from tinylm.data.dataset.disk_cache import DataCache
from tinylm.data.dataset.held_out import HeldOut, characters_of, content_hash
from tinylm.data.dataset.survey import TextSample, find_tokenizer, survey_files
from tinylm.data.readers.paths import DataFile
from tinylm.evaluation import IGNORED


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
