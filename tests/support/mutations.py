"""Mutated data files of all forms: no reader may answer one with anything but its content or a `DataError`.

As a script: `python tests/support/mutations.py 60000` reads so many, prints what failed, and one JSON object last.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import tinylm.data
from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents
from tinylm.data.readers.options import ReadOptions

SAMPLES = Path(tinylm.data.__file__).parent / "samples"
TURNS = [{"role": "user", "content": "How deep?"}, {"role": "assistant", "content": "Two metres."}]
LOG = (
    "12/31/20, 11:59 PM - Anna: Hi\n12/31/20, 11:59 PM - Ben: Hello\n"
    "1/2/21, 9:00 AM - Anna: Deep?\n1/2/21, 9:01 AM - Ben: Yes\n"
)
SEEDS: dict[str, str] = {
    "messages.json": json.dumps([{"messages": TURNS, "system": "Be kind."}] * 3, indent=1),
    "dict.json": json.dumps({"id1": TURNS, "id2": TURNS}),
    "choice.jsonl": json.dumps({"chosen_messages": TURNS, "rejected_messages": TURNS, "label": False}) + "\n",
    "parts.jsonl": json.dumps(
        {"messages": [TURNS[0], {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]}
    ),
    "instances.json": json.dumps({"instruction": "a", "instances": [{"input": "b", "output": ["c"]}]}),
    "tree.jsonl": "".join(
        json.dumps({"message_id": str(n), "parent_id": str(n - 1) if n else None, "role": "user", "text": "a"}) + "\n"
        for n in range(3)
    ),
    "export.json": json.dumps(
        [
            {
                "current_node": "a",
                "mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["b"]}}}},
            }
        ]
    ),
    "telegram.json": json.dumps(
        {"messages": [{"type": "message", "date": "2024-01-15T10:30:00", "from": "Ruth", "text": ["a", {"text": "b"}]}]}
    ),
    "slack.json": json.dumps([{"type": "message", "user": "U1", "ts": "1700000000.1", "text": "a"}] * 3),
    "pairs.csv": 'prompt,response,label\n"a ""b""",c,1\nd,"e\nf",0\n',
    "rows.tsv": "conversation_id\trole\ttext\n1\tuser\ta\n1\tassistant\tb\n2\tuser\tc\n2\tassistant\td\n",
    "people.csv": "Author,Date,Content\nRuth,2024-01-15 10:30,a\nTim,2024-01-15 10:31,b\n",
    "corpus.yml": "conversations:\n- - a\n  - b\n- - c\n  - d\n",
    "records.yaml": "- question: a\n  answer: |\n    b\n- messages: [{role: user, content: c}]\n",
    "tags.txt": "<bos><user> a <assistant> b <eos>\n# c\n<system> d\n<user> e\n<assistant> f\n",
    "labels.txt": "System: a\nUser: b\nAssistant: c:\nModel: d\n\nUser: e\nAssistant: f <|endoftext|>\n",
    "chatml.txt": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>tool\nc<|im_end|>\n",
    "llama2.txt": "<s>[INST] <<SYS>>a<</SYS>> b [/INST] c </s>\n",
    "log.txt": LOG,
    "irc.log": "[12:03] <anna> a\n[12:04] <ben> b\n",
    "separated.txt": "a ||| b\nc ||| d\n",
    "tabs.txt": "Question\tAnswer\na\tb\nc\td\n",
    "parlai.txt": "1 your persona: a\n2 b\tc\n1 d\te\n",
    "book.txt": 'Ruth walked.\n\n"It is deep," said Tim.\n\nShe laughed.\n\nThen she sat.\n',
    "marks.txt": "<|startoftext|>a<|endoftext|>\nb<|endoftext|>\n",
    "page.html": "<html><body><p>a</p></body></html>",
    "film.srt": "1\n00:00:01,000 --> 00:00:03,000\na\n",
}
PIECES = [
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        ",",
        ":",
        "\n",
        "\n\n",
        "\r",
        "\t",
        "\\",
        "\\u",
        "\\ud83d",
        "\0",
        "\ufeff",
        "\u2028",
        "null",
        "NaN",
    ),
    *(
        "1e999",
        "9" * 40,
        "<user>",
        "<assistant>",
        "<bos>",
        "<eos>",
        "<|endoftext|>",
        "<|im_start|>",
        "User:",
        "System:",
        "---",
    ),
    *(
        "- ",
        "&a ",
        "*a",
        "!!x ",
        "? ",
        "|",
        ";",
        "sep=;\n",
        '"""',
        "12/31/20, 11:59 PM - A: ",
        "[12:03] <a> ",
        "#",
        "</s>",
        "\x85",
    ),
    *(
        '"messages"',
        '"role"',
        '"content": null',
        '"from"',
        '"text"',
        '"label": false',
        "[" * 200,
        '{"a":' * 200,
        "a" * 3000,
    ),
]
KINDS = ("delete", "repeat", "insert", "swap", "flip", "cut", "join", "nest", "encode", "pack")
OPTIONS = [
    ReadOptions(),
    ReadOptions("Tim"),
    ReadOptions("Ben", "Anna"),
    ReadOptions(documents="file"),
    ReadOptions(documents="a"),
]


def seeds() -> list[tuple[str, bytes]]:
    """Files of every form: the samples, and smaller ones."""
    samples = [
        (path.name, path.read_bytes()) for path in sorted(SAMPLES.iterdir()) if path.suffix != ".py" and path.is_file()
    ]
    return [*samples, *((name, text.encode()) for name, text in SEEDS.items())]


def mutated(draw: random.Random, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """A file with some changes, mostly under its own name."""
    name, content = draw.choice(files)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        content = _changed(draw, content, files)
    if draw.random() < 0.15:
        name = draw.choice(files)[0]
    return name, content[:300_000]


def _changed(draw: random.Random, content: bytes, files: list[tuple[str, bytes]]) -> bytes:
    start = draw.randrange(len(content) + 1)
    stop = min(len(content), start + draw.choice((1, 3, 20, 300)))
    match draw.choice(KINDS):
        case "delete":
            return content[:start] + content[stop:]
        case "repeat":
            return content[:start] + content[start:stop] * draw.choice((2, 5, 100)) + content[stop:]
        case "insert":
            return content[:start] + draw.choice(PIECES).encode("utf-8", "surrogatepass") + content[start:]
        case "swap":
            return content[stop:] + content[start:stop] + content[:start]
        case "flip":
            return content[:start] + bytes(draw.randrange(256) for _ in range(stop - start)) + content[stop:]
        case "cut":
            return content[:start]
        case "join":
            return content[:start] + draw.choice(files)[1][:5000] + content[start:]
        case "nest":
            return b"[" * draw.choice((1, 3)) + content + b"]" * draw.choice((0, 1, 3))
        case "encode":
            encoding = draw.choice(("utf-16", "utf-32", "cp1252", "utf-8-sig"))
            return content.decode("utf-8", "replace").encode(encoding, "replace")
        case _:
            return gzip.compress(content)[: draw.choice((None, -5))]


def failures(count: int, seed: int, folder: Path) -> Iterator[tuple[str, float, str]]:
    """Read mutated files in both ways.

    Yields:
        for each file its name, the seconds that it took, and the exception that is no `DataError`, or nothing.
    """
    files = seeds()
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        name, content = mutated(draw, files)
        path = folder / name
        path.write_bytes(content)
        options = draw.choice(OPTIONS)
        began, problem = time.process_time(), ""
        for read in (iter_conversations, iter_documents):
            summary = ReadSummary(path)
            try:
                found = list(read(path, summary, options))
                if not found or summary.kept != len(found):
                    problem = f"{read.__name__}: {len(found)} read, {summary.kept} counted"
            except DataError as error:
                if not str(error).startswith(str(path)) or "\n" in str(error):
                    problem = f"{read.__name__}: {error!r}"
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                problem = f"{read.__name__}: {error!r}"
            if any("\n" in sentence for sentence in summary.sentences()):
                problem = f"{read.__name__}: a sentence of several lines"
        yield f"{seed} {number} {name}", time.process_time() - began, problem
        path.unlink()


def main() -> None:
    """Read as many as the command line says, and print what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    slowest, name_of_slowest, failed = 0.0, "", 0
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds, problem in failures(arguments.count, arguments.seed, Path(folder)):
            if problem:
                failed += 1
                print(name, problem[:300])  # noqa: T201
            if seconds > slowest:
                slowest, name_of_slowest = seconds, name
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "files": arguments.count,
        "failed": failed,
        "slowest_s": round(slowest, 3),
        "peak_memory_mb": round(peak),
    }
    print(name_of_slowest)  # noqa: T201
    print(json.dumps({"figures": figures}))  # noqa: T201
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
