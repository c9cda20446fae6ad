"""What every CPU runs: `python probe.py JOB`, by TinyLM's own runtime, without torch and onnx.

Bundles are verified, continued greedily and scored on text; the time of a token is taken of bare graphs. JOB is a
`Job` as JSON; the answer, `Findings` as JSON, goes to stdout.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from tinylm.errors import TinyLMError
from tinylm.evaluation import TokenSequences, byte_lengths_of, make_windows, score
from tinylm.manifest import MODEL_FILE
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.scoring import decode_losses
from tinylm.runtime.session import Session, load_onnx, open_bundle
from tinylm.runtime.verification import greedy_continuation, verify_bundle
from tinylm.tokenizer import load_tokenizer

WARM_UP = 4


class GoldenText(msgspec.Struct, frozen=True):
    """Token ids of a prompt, and the greedy continuation that every CPU must find."""

    prompt: list[int]
    continuation: list[int]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A model to look at.

    Attributes:
        name: what it is called in the table.
        bundle: its folder.
        fp32: the same model's fp32 bundle, if there is one.
        text: held-out text as token ids, as `TokenSequences.save` writes it.
        golden: what it must say.
    """

    name: str
    bundle: str
    fp32: str | None
    text: str
    golden: list[GoldenText]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        subjects: the models.
        positions: of their texts, at least, as far as they go.
        graphs: ONNX files to take the time of, by name.
        tokens: tokens to decode for that.
    """

    subjects: list[Subject]
    positions: int
    graphs: dict[str, str]
    tokens: int


class Quality(msgspec.Struct, kw_only=True):
    """What was found of a model.

    Attributes:
        problem: why it is not fit for use here; empty where it is.
        golden_equal: how many tokens of the golden continuations were found, from the beginning of each.
        bits_per_byte, fp32_bits_per_byte: of the bundle, and of the fp32 bundle.
    """

    problem: str = ""
    golden_equal: int = 0
    bits_per_byte: float | None = None
    fp32_bits_per_byte: float | None = None


class Findings(msgspec.Struct, kw_only=True):
    """What was found on a CPU.

    Attributes:
        machine: as the kernel calls it.
        onnxruntime: its version.
        subjects: the models, by name.
        milliseconds: of a token in decode, by graph, the median.
        ratio: time of the first graph over that of the last, the median over pairs of neighbours in time.
    """

    machine: str
    onnxruntime: str
    subjects: dict[str, Quality]
    milliseconds: dict[str, float]
    ratio: float


def run_job(job: Job, say: Callable[[str], None] = lambda _: None) -> Findings:
    """Do all of it, on this CPU."""
    subjects = {}
    for subject in job.subjects:
        say(f"{subject.name}: verifying, continuing, scoring")
        subjects[subject.name] = look_at(subject, job.positions)
    say("decode at shape S")
    seconds = time_decoding({name: Path(path) for name, path in job.graphs.items()}, job.tokens)
    first, *_, last = seconds.values()
    return Findings(
        machine=platform.machine(),
        onnxruntime=onnxruntime.__version__,
        subjects=subjects,
        milliseconds={name: 1000 * float(np.median(times)) for name, times in seconds.items()},
        ratio=float(np.median(np.array(first) / np.array(last))),
    )


def look_at(subject: Subject, positions: int) -> Quality:
    """Verify a bundle, continue its golden texts and score it, and its fp32 form if there is one."""
    quality = Quality()
    folder = Path(subject.bundle)
    try:
        manifest = verify_bundle(folder)
        config = manifest.model
        tokenizer = load_tokenizer(folder / "tokenizer.model")
        session = open_bundle(folder, manifest, threads=1)
        for golden in subject.golden:
            found = greedy_continuation(session, tokenizer, golden.prompt, len(golden.continuation))
            quality.golden_equal += equal_beginning(found, golden.continuation)
        windows = make_windows(
            TokenSequences.load(Path(subject.text)), config.context_length, tokenizer.bos_id, positions
        )
        byte_lengths = byte_lengths_of(tokenizer)
        quality.bits_per_byte = score(lambda w: decode_losses(session, w), windows, byte_lengths).bits_per_byte
        if subject.fp32 is not None:
            fp32 = Session(Path(subject.fp32) / MODEL_FILE, config, threads=1)
            quality.fp32_bits_per_byte = score(lambda w: decode_losses(fp32, w), windows, byte_lengths).bits_per_byte
    except TinyLMError as error:
        quality.problem = str(error)
    return quality


def equal_beginning(found: list[int], expected: list[int]) -> int:
    """How many of the expected tokens were found before the first difference."""
    pairs = zip(found, expected, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(found), len(expected)))


def time_decoding(graphs: dict[str, Path], tokens: int) -> dict[str, list[float]]:
    """Seconds of each token, the graphs in turns, one thread, after a few tokens to warm up."""
    steps = {name: decode_step(path) for name, path in graphs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for token in range(tokens):
        for name, step in steps.items():
            seconds[name].append(step(token))
    return {name: times[WARM_UP:] for name, times in seconds.items()}


def decode_step(path: Path) -> Callable[[int], float]:
    """A function that decodes the token at a position, and returns onnxruntime's seconds for it."""
    session = load_onnx(path, 1)
    binding = session.io_binding()
    value_of = onnxruntime.OrtValue.ortvalue_from_numpy
    past = [value for value in session.get_inputs() if value.name.startswith("past_key_values.")]
    caches = [value_of(np.zeros((1, *value.shape[1:]), np.float32)) for value in past]
    for value, cache in zip(past, caches, strict=True):
        binding.bind_ortvalue_input(value.name, cache)
        binding.bind_ortvalue_output(value.name.replace("past_key_values", "present"), cache)
    binding.bind_output("logits")
    ones = np.ones((1, past[0].shape[2]), np.int64)
    if any(value.name == "previous_ids" for value in session.get_inputs()):
        binding.bind_ortvalue_input("previous_ids", value_of(np.zeros((1, 1), np.int64)))

    def step(position: int) -> float:
        binding.bind_ortvalue_input("input_ids", value_of(np.array([[position]])))
        binding.bind_ortvalue_input("attention_mask", value_of(ones[:, : position + 1]))
        started = time.perf_counter()
        session.run_with_iobinding(binding)
        return time.perf_counter() - started

    return step


def main() -> None:
    """Do the job in the file that is named."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"  {time.monotonic() - started:5.0f} s  {text}", file=sys.stderr, flush=True)

    print(msgspec.json.encode(run_job(job, say)).decode())


if __name__ == "__main__":
    main()
