"""How fast text becomes rows of tokens beside bare SentencePiece, and the memory of `tinylm train`; see README.md.

Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import sentencepiece
from commands import TINYLM
from report import print_results
from rich.table import Table

from tinylm.config import TokenizerConfig, make_config
from tinylm.data.dataset.batches import Batches
from tinylm.data.dataset.disk_cache import DataCache
from tinylm.data.dataset.stages import prepare_stage, tokenize_files
from tinylm.data.dataset.survey import TextSample, find_tokenizer, survey_files
from tinylm.data.readers.front_door import iter_documents
from tinylm.data.readers.paths import find_files
from tinylm.errors import TinyLMError
from tinylm.processors import usable_threads

VOCABULARY, CONTEXT = 4096, 256
# A model that is nothing beside the data
_MODEL = {
    "model.vocab_size": VOCABULARY,
    "model.d_model": 32,
    "model.nhead": 2,
    "model.num_layers": 1,
    "model.dim_feedforward": 32,
    "model.context_length": CONTEXT,
    "train.batch_size": 1,
    "train.validations": 1,
    "train.device": "cpu",
}


def write_text(source: Path, megabytes: float, path: Path) -> None:
    """Write so much text: the documents of a file over and over, each time with another number at their ends."""
    wanted, written, turn = int(megabytes * 1e6), 0, 0
    with path.open("w", encoding="utf-8") as file:
        while written < wanted:
            for document in iter_documents(source):
                text = f"{document} {turn}\n<|endoftext|>\n"
                file.write(text)
                written += len(text.encode("utf-8"))
                if written >= wanted:
                    break
            turn += 1


def speeds(source: Path, threads: int, repeats: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of bare SentencePiece and of TinyLM for the same text, in turns, as ratios and figures.

    Raises:
        TinyLMError: the file cannot be read.
    """
    cache = DataCache(folder / "cache")
    sample = TextSample(int(TokenizerConfig().max_sample_megabytes * 1e6))
    started = time.perf_counter()
    survey, _ = survey_files("pretrain", find_files([source]), 0.02, cache, sample=sample)
    survey_s = time.perf_counter() - started
    tokenizer, _ = find_tokenizer([survey], VOCABULARY, TokenizerConfig(), cache, sample=sample)
    config = make_config({"model": {"vocab_size": tokenizer.vocab_size, "context_length": CONTEXT}})
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized())
    texts = [text for text in survey.examples() if isinstance(text, str)]

    def bare() -> None:
        processor.encode(texts, num_threads=threads)

    def ours(cache: DataCache) -> Batches:
        shards = tokenize_files(survey, tokenizer, cache, threads)
        return prepare_stage(survey, shards, tokenizer, config).batches

    seconds: dict[str, list[float]] = {"bare": [], "ours": [], "again": [], "batch": []}
    for turn in range(repeats):
        seconds["bare"].append(_timed(bare))
        fresh = DataCache(folder / f"cache-{turn}")
        seconds["ours"].append(_timed(partial(ours, fresh)))
        seconds["again"].append(_timed(partial(ours, fresh)))
        batches = ours(fresh)
        batches.batch(0, 16)
        seconds["batch"].append(_timed(lambda: [batches.batch(number, 16) for number in range(100)]) / 100)  # noqa: B023
    middle = {name: median(values) for name, values in seconds.items()}
    megabytes = survey.text_bytes / 1e6
    ratios = {
        "tokenize_and_pack": median(b / o for b, o in zip(seconds["bare"], seconds["ours"], strict=True)),
        "survey_tokenize_and_pack": middle["bare"] / (survey_s + middle["ours"]),
        "again": middle["again"] / middle["ours"],
    }
    figures = {
        "threads": float(threads),
        "bare_mb_per_second": megabytes / middle["bare"],
        "tokenize_and_pack_mb_per_second": megabytes / middle["ours"],
        "survey_mb_per_second": megabytes / survey_s,
        "batch_of_16_ms": middle["batch"] * 1e3,
    }
    return ratios, figures


# A process inherits the peak of the one that forked it: this one is small
_LAUNCHER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def peak_memory(text: Path, threads: int, folder: Path) -> tuple[float, float]:
    """The most memory resident in `tinylm train --steps 1`, MiB, and its seconds.

    Raises:
        TinyLMError: it failed.
    """
    command = [TINYLM, "train", "--pretrain", str(text), "--steps", "1", "--out", str(folder / f"run-{time.time_ns()}")]
    values = {**_MODEL, "train.threads": threads}
    command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    environment = {**os.environ, "TINYLM_DATA_CACHE": str(folder / "cache-of-runs")}
    started = time.perf_counter()
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *command]
    result = subprocess.run(launcher, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if result.returncode:
        raise TinyLMError(f"tinylm train: {(result.stderr.splitlines() or ['no word'])[-1]}")
    return int(result.stdout.splitlines()[-1]) / 1024, seconds


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size_name(megabytes: float) -> str:
    """A size as the figures name it."""
    return f"{megabytes / 1000:g}gb" if megabytes >= 1000 else f"{megabytes:g}mb"


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw text")
    parser.add_argument("--threads", type=int, default=usable_threads(), help="(default: usable cores)")
    parser.add_argument("--repeats", type=int, default=3, help="of the speeds; 0: they are left out (default: 3)")
    parser.add_argument("--sizes", type=float, nargs="*", default=[10, 1000], help="MB of text (default: 10 1000)")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0, or 1 where something could not be measured.
    """
    chosen = parse_arguments(arguments)
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    memory: list[float] = []
    try:
        with TemporaryDirectory() as name:
            folder = Path(name)
            if chosen.repeats:
                # In a process of its own: the peak memory of children counts that of the process they were forked from
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    work = pool.submit(speeds, chosen.data, chosen.threads, chosen.repeats, folder)
                    ratios, figures = work.result()
            for megabytes in chosen.sizes:
                text, mark = folder / "text.txt", size_name(megabytes)
                write_text(chosen.data, megabytes, text)
                for prefix in ("", "again_"):
                    print(f"{prefix}{mark}", file=sys.stderr)
                    figures[f"{prefix}rss_{mark}"], figures[f"{prefix}seconds_{mark}"] = peak_memory(
                        text, chosen.threads, folder
                    )
                memory.append(figures[f"rss_{mark}"])
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if len(memory) > 1:
        figures["rss_growth_mb"] = max(memory) - memory[0]
    table = Table(title="data", title_justify="left", title_style="bold")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right")
    for key, value in (ratios | figures).items():
        table.add_row(key, f"{value:,.3f}")
    print_results(table, ratios, figures, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
