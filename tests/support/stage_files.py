"""Small data files, and the data of a stage prepared from them."""

import json

from tinylm.config import make_config
from tinylm.data.dataset.stages import prepare_stage, tokenize_files
from tinylm.data.dataset.survey import find_tokenizer, survey_files
from tinylm.data.readers.paths import DataFile

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
    batches = (data.batches.batch(index, size) for index in range(count))
    return [None if part is None else part.tolist() for batch in batches for part in batch]
