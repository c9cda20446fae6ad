"""Verify on this machine that a bundle is what was exported and gives the same tokens."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.errors import BundleError
from tinylm.manifest import Golden, Manifest, read_manifest, verify_files
from tinylm.runtime.session import Decoder, open_bundle
from tinylm.tokenizer import Tokenizer, load_tokenizer


def golden_prompt(tokenizer: Tokenizer, golden: Golden, context_length: int) -> list[int]:
    """Token ids of the golden text on this machine, cut to leave room for one token in the context."""
    if golden.conversation:
        ids = encode_prompt(tokenizer, golden.conversation)
    else:
        ids = encode_text_prompt(tokenizer, golden.text)
    return ids[: context_length - 1]


def greedy_continuation(
    decoder: Decoder, tokenizer: Tokenizer, prompt: list[int], length: int, least_gap: float = 0.0
) -> list[int]:
    """Decode greedily until an id that ends a reply, `length` tokens or the end of the context.

    Args:
        decoder: the model.
        tokenizer: the model's tokenizer.
        prompt: token ids.
        length: maximum number of tokens.
        least_gap: stop before a token whose logit is not at least this much above the second highest.
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
        if token in tokenizer.ends:
            break
        pending = [token]
    return continuation


def verify_bundle(bundle: str | PathLike[str]) -> Manifest:
    """Check the hashes, and that this machine encodes and continues the golden text as at export.

    Raises:
        BundleError: something differs; the message says what.
    """
    folder = Path(bundle)
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    tokenizer = load_tokenizer(folder / manifest.tokenizer_file, manifest.chat_format)
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
