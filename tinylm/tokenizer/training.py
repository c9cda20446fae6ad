"""Train a SentencePiece BPE tokenizer."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable

import sentencepiece

from tinylm.config import TokenizerConfig
from tinylm.errors import TinyLMError
from tinylm.tokenizer.interface import encodable
from tinylm.tokenizer.sentencepiece_bpe import BOS, CONTROL_PIECES, EOS, ROLE_PIECES, SentencePieceTokenizer

# Beside the learned pieces a vocabulary holds <unk>, the control symbols and one piece for each byte.
_FIXED_PIECES = 1 + len(CONTROL_PIECES) + 256
# SentencePiece drops training sentences that contain one of its own marks.
_NOT_TRAINABLE = re.compile("[\t\u2581\u2585\u2047\0]")


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    config: TokenizerConfig,
    *,
    notify: Callable[[str], None] = lambda _: None,
) -> SentencePieceTokenizer:
    """Train a SentencePiece BPE tokenizer.

    Args:
        texts: documents and messages, which are trained on line by line.
        vocab_size: number of ids; lowered, with a line to `notify`, if the texts cannot fill it.
        config: see `TokenizerConfig`.
        notify: receives lines for the user.

    Raises:
        TinyLMError: there is no text to train on.
    """
    sentences = _sample_sentences(texts, int(config.max_sample_megabytes * 1e6))
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    counts.pop(" ", None)
    if not counts:
        raise TinyLMError("there is no text to train a tokenizer on")
    rare = _rare_characters(counts, vocab_size)
    if rare:
        notify(f"{len(rare):,} rare characters get no token of their own: they are spelled as bytes")
        to_space = dict.fromkeys(map(ord, rare), " ")
        sentences = [sentence.translate(to_space) for sentence in sentences]
    if not any(" " in sentence for sentence in sentences):
        # Without a piece of its own, a space would be encoded as the bytes of SentencePiece's mark for it
        common = counts.most_common(1)[0][0]
        sentences.append(f"{common} {common}")
    model = io.BytesIO()
    size = vocab_size
    while True:
        try:
            _run_trainer(sentences, model, size, config)
            break
        except RuntimeError as error:
            fits = re.search(r"value <= (\d+)", str(error))
            if not fits or not 0 < int(fits[1]) < size:
                raise
            size = int(fits[1])
            model = io.BytesIO()
    if size < vocab_size:
        notify(f"the data fills a vocabulary of {size:,}, not of {vocab_size:,}: model.vocab_size is lowered")
    return SentencePieceTokenizer(model.getvalue())


def _run_trainer(sentences: list[str], model: io.BytesIO, size: int, config: TokenizerConfig) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=config.split_digits,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        max_sentence_length=1 << 20,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        bos_piece=BOS,
        eos_piece=EOS,
        control_symbols=list(ROLE_PIECES.values()),
        # It is stored in the model: a constant, so that equal data give an equal file
        num_threads=4,
        minloglevel=2,
    )


def _sample_sentences(texts: Iterable[str], max_bytes: int) -> list[str]:
    """Split texts into lines, and take an even sample of about `max_bytes` of them."""
    kept: list[str] = []
    kept_bytes, every, index = 0, 1, 0
    for text in texts:
        for line in encodable(text).split("\n"):
            sentence = _NOT_TRAINABLE.sub(" ", line)
            if not sentence.strip():
                continue
            index += 1
            if index % every:
                continue
            # BPE training takes quadratic time in the length of a line
            kept += [sentence[start : start + 4096] for start in range(0, len(sentence), 4096)]
            kept_bytes += len(sentence)
        if kept_bytes > 2 * max_bytes:
            kept, every = kept[::2], every * 2
            kept_bytes = sum(map(len, kept))
    if kept_bytes > max_bytes:
        kept = kept[:: -(-kept_bytes // max_bytes)]
    return kept


def _rare_characters(counts: Counter[str], vocab_size: int) -> set[str]:
    """Find the characters that get no piece: rarer than one in a million, or beyond half of the free pieces."""
    budget = max(1, (vocab_size - _FIXED_PIECES) // 2)
    total = sum(counts.values())
    frequent = {character for character, count in counts.most_common(budget) if count * 1_000_000 >= total}
    return set(counts) - frequent
