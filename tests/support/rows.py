"""Token ids and rows of them in memory, and a tokenizer whose ids can be read."""

import numpy as np

from tinylm.chat_format import own_format
from tinylm.data.dataset.batches import Batches, PackedRows, Part
from tinylm.evaluation import TokenSequences

BOS, EOS, SYSTEM, USER, ASSISTANT = 1, 2, 3, 4, 5


class Letters:
    """A tokenizer of one id a character."""

    bos_id, eos_id = BOS, EOS
    role_ids = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}  # noqa: RUF012
    chat_format = own_format(BOS, EOS, role_ids)

    def __init__(self, vocab_size=1 << 16):
        self.vocab_size = vocab_size

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]


class TokenArray:
    """Token ids in memory."""

    def __init__(self, ids):
        self.ids = ids

    def read(self, start, stop):
        return self.ids[start:stop]


class ArrayRows:
    """Rows in memory, the same in each pass: ids and mask, [rows, context_length + 1]."""

    def __init__(self, ids, supervised):
        self.ids, self.supervised = ids, supervised

    def __len__(self):
        return len(self.ids)

    def read(self, rows, number_of_pass=0):  # noqa: ARG002
        ids = self.ids[list(rows)].astype(np.int64)
        return PackedRows(ids, self.supervised[list(rows)], np.zeros_like(ids))


def batches_of_rows(rows, seed):
    """Batches of one part, all of it once an epoch."""
    return Batches([Part(rows, len(rows))], seed)


def join(sequences, supervised=None):
    """Sequences of ids put together; without `supervised`, every token is."""
    ends = np.cumsum([len(ids) for ids in sequences], dtype=np.int64)
    flat = np.array([id_ for ids in sequences for id_ in ids], np.int32)
    mask = np.ones(len(flat), np.bool_)
    if supervised is not None:
        mask = np.array([flag for flags in supervised for flag in flags], np.bool_)
    return TokenSequences(flat, mask, ends)


def bounds_of(sequences):
    """Where sequences start and where they end."""
    return np.array([start for start, _ in sequences.spans()], np.int64), sequences.ends
