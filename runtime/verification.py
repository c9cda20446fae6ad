"""Whether a bundle is what was exported, on the very machine that runs it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.errors import BundleError
from tinylm.manifest import (
    TOKENIZER_FILE,
    Golden,
    Manifest,
    read_manifest,
    verify_files,
)
from tinylm.runtime.session import Decoder, open_bundle
from tinylm.tokenizer import Tokenizer


def golden_prompt(tokenizer: Tokenizer, golden: Golden, context_length: int) -> list[int]:
    """The golden text as this machine tokenizes it, as far as it leaves room for a token in the context."""
    if golden.conversation:
        ids = encode_prompt(tokenizer, golden.conversation)
    else:
        ids = encode_text_prompt(tokenizer, golden.text)
    return ids[: context_length - 1]


def greedy_continuation(
    decoder: Decoder, tokenizer: Tokenizer, prompt: list[int], length: int, least_gap: float = 0.0
) -> list[int]:
    """The likeliest tokens, one after the other, until `<eos>` or `length`.

    Args:
        decoder: the model.
        tokenizer: of that model.
        prompt: token ids.
        length: tokens at most.
        least_gap: stop before a token whose logit is not so far above the second best.
    """
    decoder.truncate(0)
    continuation: list[int] = []
    pending = prompt
    while len(continuation) < length and decoder.length + len(pending) <= decoder.context_length:
        logits = decoder.append(pending)
        logits[tokenizer.never_sampled] = -float("inf")
        token = int(logits.argmax())
        best = logits[token]
        logits[token] = -float("inf")
        if best - logits.max() < least_gap:
            break
        continuation.append(token)
        if token == tokenizer.eos_id:
            break
        pending = [token]
    return continuation


def verify_bundle(bundle: str | PathLike[str]) -> Manifest:
    """Check hashes, then that the golden text becomes the golden ids and the golden continuation on this machine.

    Raises:
        BundleError: names what differs.
    """
    folder = Path(bundle)
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
    golden = manifest.golden
    if golden_prompt(tokenizer, golden, manifest.model.context_length) != golden.ids:
        raise BundleError(f"{folder}: the golden text has other token ids here than where it was exported")
    session = open_bundle(folder, manifest)
    continuation = greedy_continuation(session, tokenizer, golden.ids, len(golden.continuation))
    if continuation != golden.continuation:
        raise BundleError(
            f"{folder}: this processor and onnxruntime continue the golden text differently; update onnxruntime"
        )
    return manifest
