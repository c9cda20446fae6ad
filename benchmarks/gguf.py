"""Greedy tokens of a run in llama.cpp and in torch: `python benchmarks/gguf.py RUN`.

Exports the run as GGUF in F16, and lets both continue prompts. Prints a line for each, and one JSON object as the last
line. A difference where torch's two highest logits are nearer than 0.05 is a close call, which rounding to F16 decides.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.export import export_gguf
from tinylm.run_folder import RunFolder
from tinylm.training.checkpoint import load_run_model
from tinylm.training.torch_decoder import TorchDecoder

PROMPTS = (
    "Hello! Who are you?",
    "Good morning! How are you today?",
    "What do you like most of all?",
    "Once upon a time there was a small house, and",
    "Thank you, and good night!",
    "In the morning the sun came up, and",
    "Tell me a story.",
    "What is 2 + 2?",
    "  two spaces, a tab\tand\n\na line",
    "Émile, 天, 👍 and a ß",
)
_TOKENS = 64
_CLOSE = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print.

    Returns:
        0, or 1 where tokens or ids differ other than by a close call.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help='a run with arch = "llama"')
    run = RunFolder(parser.parse_args(arguments).run)
    model, tokenizer, state = load_run_model(run)
    figures = {"prompts": len(PROMPTS), "equal": 0, "close_calls": 0, "equal_ids": 0}
    with tempfile.TemporaryDirectory() as folder:
        file = export_gguf(run.path, Path(folder) / "model.gguf")
        peer = llama_cpp.Llama(str(file), n_ctx=model.config.context_length, verbose=False, n_threads=1)
        for prompt in PROMPTS:
            figures["equal_ids"] += peer.tokenize(prompt.encode(), add_bos=False) == tokenizer.encode(prompt)
            if state.stage == "finetune":
                ids = encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
            else:
                ids = encode_text_prompt(tokenizer, prompt)
            count = min(_TOKENS, model.config.context_length - len(ids))
            decoder, pending = TorchDecoder(model), ids
            peer.reset()
            result = "equal"
            for number in range(count):
                logits = decoder.append(pending)
                peer.eval(pending)
                theirs = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(peer.ctx, -1), logits.shape)
                if logits.argmax() != theirs.argmax():
                    gap = float(np.diff(np.sort(logits)[-2:])[0])
                    result = "close_calls" if gap < _CLOSE else f"differs at token {number}, gap {gap:.3f}"
                    break
                pending = [int(logits.argmax())]
            if result in figures:
                figures[result] += 1
            print(f"{prompt!r:50} {count} tokens: {result.replace('_', ' ')}", flush=True)
    print(json.dumps({"ratios": {}, "figures": figures}))
    return int(figures["equal"] + figures["close_calls"] < len(PROMPTS) or figures["equal_ids"] < len(PROMPTS))


if __name__ == "__main__":
    sys.exit(main())
