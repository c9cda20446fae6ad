"""Chat with a bundle in onnxruntime-genai, without TinyLM: `python genai_chat.py BUNDLE`.

The bundle was exported with `tinylm export RUN --genai --out BUNDLE`; `pip install onnxruntime-genai` is all it takes.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# onnxruntime-genai reports on its use unless told not to before it is loaded
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime_genai as og  # noqa: TID251


class Chat:
    """A conversation whose roles are placed by id, so that no text of a user's can become one."""

    def __init__(self, bundle: Path, **search: float) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
        vocabulary = json.loads((bundle / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
        self.symbols: dict[str, int] = manifest["special_tokens"]
        self.context_length: int = manifest["model"]["context_length"]
        self._byte_ids: list[int] = [vocabulary[f"<0x{byte:02X}>"] for byte in range(256)]
        self._text_ids: set[int] = set(vocabulary.values())
        self._search = search
        self._model = og.Model(str(bundle))
        self._tokenizer = og.Tokenizer(self._model)
        self._exchanges: list[list[int]] = []

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text.

        onnxruntime-genai takes NUL for the end of the text and U+2581 for a space: the two go in as bytes.
        """
        ids: list[int] = []
        for part in re.split("([\0\u2581]+)", text):
            if part.startswith(("\0", "\u2581")):
                ids += [self._byte_ids[byte] for byte in part.encode("utf-8")]
            elif part:
                ids += self._tokenizer.encode(part).tolist()
        return ids

    def prompt(self, message: list[int]) -> list[int]:
        """The conversation with a new message; the oldest exchanges go where room for the reply is short."""
        room = self.context_length * 3 // 4 - len(message)
        while self._exchanges and 1 + sum(map(len, self._exchanges)) > room:
            del self._exchanges[0]
        return [self.symbols["bos"], *(id_ for ids in self._exchanges for id_ in ids), *message]

    def send(self, text: str) -> Iterator[str]:
        """Say something and get the reply as it is generated."""
        message = [self.symbols["user"], *self.encode(text), self.symbols["assistant"]]
        prompt = self.prompt(message)
        if len(prompt) >= self.context_length:
            yield f"[{len(prompt)} tokens do not fit into the context of {self.context_length}: use fewer words]"
            return
        parameters = og.GeneratorParams(self._model)
        parameters.set_search_options(**self._search)
        generator = og.Generator(self._model, parameters)
        # The whole conversation every time: models of this size read it in milliseconds
        generator.append_tokens(prompt)
        stream = self._tokenizer.create_stream()
        reply: list[int] = []
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token not in self._text_ids:  # <eos>, or another symbol that ends the reply as well
                break
            reply.append(token)
            yield stream.decode(token)
        self._exchanges.append([*message, *reply, self.symbols["eos"]])


def main() -> None:
    """Read lines, stream replies."""
    if len(sys.argv) != 2:
        sys.exit("usage: python genai_chat.py BUNDLE")
    chat = Chat(Path(sys.argv[1]))
    while True:
        try:
            line = input("you   ")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        print("tiny  ", end="")
        for text in chat.send(line):
            print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    main()
