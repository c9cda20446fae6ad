"""Small byte-level tokenizers as Hugging Face's `tokenizers` trains them, with ChatML's special tokens."""

import json
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tinylm.chat_format import ChatFormat, TurnFormat
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = (
    "system user assistant The quick brown fox\njumps over 1234 lazy dogs.\n\nDon't! äöü\n"
    "天地玄黄 👩‍👩‍👧  if x:\n\treturn\n"
)
SPLITS = {
    "gpt2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama3": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


@cache
def tokenizer_json(kind="smollm", vocab_size=360):
    """The content of a `tokenizer.json`; the special tokens have the first ids."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = SPLITS[kind]()
    made.decoder = decoders.ByteLevel()
    if kind == "llama3":
        made.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT] * 8, trainer)
    return made.to_str().encode()


def vocabulary(content):
    """Ids by piece of a `tokenizer.json`."""
    return json.loads(content)["model"]["vocab"]


def chatml(content, **changes):
    """ChatML for a `tokenizer.json`, as SmolLM2 has it."""
    made = Tokenizer.from_str(content.decode())

    def marked(text):
        return made.encode(text, add_special_tokens=False).ids

    _end, start, stop = map(made.token_to_id, SPECIAL)
    turns = {
        role: TurnFormat(before=[start, *marked(f"{role}\n")], after=[stop, *marked("\n")])
        for role in ("system", "user", "assistant")
    }
    values = {"family": "chatml", "bos": 0, "eos": 0, "opening": [], "ends": [stop, 0], **turns, **changes}
    return ChatFormat(**values)


def byte_level(kind="smollm", vocab_size=360, **changes):
    """A tokenizer of this kind."""
    content = tokenizer_json(kind, vocab_size)
    return ByteLevelTokenizer(content, chatml(content, **changes))
