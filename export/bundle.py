"""Export a run as a bundle: graphs, gate, manifest and model card. The folder is written atomically."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

import onnx
import sentencepiece
import torch

import tinylm
from tinylm.chat_format import CHAT_FORMAT_VERSION, IMPORTED_FORMAT_VERSION, Conversation
from tinylm.errors import TinyLMError
from tinylm.evaluation import byte_lengths_of
from tinylm.export.builder import MICROSOFT, OPSET
from tinylm.export.card import model_card
from tinylm.export.decoders import write_decoders, write_mapped
from tinylm.export.gate import GateLimits, check_limits, gate_windows, run_gate
from tinylm.export.genai import genai_files
from tinylm.export.graph import Form, shifts, write_graph
from tinylm.export.options import ExportOptions
from tinylm.export.source import ExportSource, load_source
from tinylm.export.weights import FloatWeights, Int4Weights, Int8Weights
from tinylm.files import new_folder, sha256_of, temporary_folder
from tinylm.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    README_FILE,
    SCHEMA_VERSION,
    X86,
    ExportSpeed,
    FileEntry,
    GateFigures,
    Golden,
    GraphInfo,
    Manifest,
    Provenance,
    SamplingDefaults,
    encode_manifest,
)
from tinylm.provenance import read_imported, read_provenance
from tinylm.runtime.chat_model import special_tokens
from tinylm.runtime.device.machine import has_avx2
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import Session, decode_file, default_threads, model_bytes
from tinylm.runtime.verification import golden_prompt, greedy_continuation
from tinylm.signatures import takes_fields_of
from tinylm.tokenizer import Tokenizer
from tinylm.training.model import LanguageModel

LEAST_ONNXRUNTIME = "1.23"
# The golden text is the one that the model continues longest without two nearly equal logits
GOLDEN_TEXTS = (
    "Hello! Who are you, and what can you do?",
    "Good morning! How are you today?",
    "What do you like most of all?",
    "Once upon a time there was a small house, and",
    "Thank you, and good night!",
    "In the morning the sun came up, and",
)
GOLDEN_TOKENS = 64
_TIMED_TOKENS = 128
# Smallest gap between the two highest logits: processors round differently, so that below it they may disagree
_LEAST_GOLDEN_GAP = 0.1


@dataclass(frozen=True)
class Bundle:
    """An exported bundle. It can be used wherever a path is expected, as in `ChatModel(bundle)`.

    Attributes:
        path: the folder.
        manifest: its manifest.
    """

    path: Path
    manifest: Manifest

    def __fspath__(self) -> str:
        return str(self.path)


@takes_fields_of(ExportOptions)
def export_bundle(options: ExportOptions) -> Bundle:  # noqa: D417 - its parameters are the fields of the options
    """Export a run's model and compare the graph with torch before the bundle appears.

    Args:
        run: the run folder: a path, or what `train` returned.
        out: the bundle's folder, to be made.
        quantize: integer weights instead of fp32.
        bits: of a quantized weight, 8 or 4.
        portable: standard ONNX operators alone, for other runtimes, instead of onnxruntime's fused ones.
        genai: also write what onnxruntime-genai needs.
        checkpoint: `"best"` or `"last"`.
        context_length: tokens of context, at most the model's; 0: the model's. A shorter context needs less memory.
        overwrite: replace an existing bundle, once the new one has passed its gate.
        limits: limits of the gate by name, as `{"quality_loss_percent": 0.5}`; see `GateLimits`.
        notify: receives lines that the user should read.
        progress: receives the positions that the gate has compared, and how many there are.

    Returns:
        the bundle.

    Raises:
        ConfigError: an argument is wrong.
        RunError: the run is incomplete.
        TinyLMError: `out` exists, cannot be written, or the graph did not pass its gate.
    """
    return export_run(options)


def export_run(options: ExportOptions) -> Bundle:
    """Export with the arguments of `export_bundle` as one object."""
    out, bits = Path(options.out), options.bits
    limits = GateLimits.parse(options.limits, bits)
    check_out(out, options.overwrite)
    source = load_source(options.run, options.checkpoint, options.context_length)
    run, model, tokenizer = source.run, source.model, source.tokenizer
    if options.genai and not tokenizer.chat_format.is_own:
        raise TinyLMError(f"{run.path}: --genai is for TinyLM's own chat format, not for an imported model's")
    if options.genai and shifts(model):
        raise TinyLMError(
            f"--genai: {run.path} has a token shift, which onnxruntime-genai does not know; leave --genai out, or "
            "train with --set model.token_shift=false or model.arch=classic"
        )
    form = Form.PORTABLE if options.portable else Form.FUSED
    with new_folder(out) as folder, temporary_folder(folder.parent) as scratch:
        fp32, fp32_bytes = _write_fp32(scratch if options.quantize else folder, model, form)
        windows, sampled = gate_windows(run, source.state.stage, model, tokenizer, fp32)
        if sampled:
            options.notify(
                f"too little held-out text for the gate: {sampled:,} of its positions are samples of the model"
            )
        precision, decode, sessions = "fp32", dict[str, str](), [fp32]
        if options.quantize:
            weights = Int4Weights() if bits == 4 else Int8Weights(options.portable)
            precision = f"int{bits}"
            write_graph(folder / MODEL_FILE, model, weights, form)
            if bits == 8 and not options.portable:
                decode = write_decoders(folder, model, weights)
        mapped = write_mapped(folder)
        if options.quantize:
            sessions = _open_all(folder, model, decode, mapped)
        (folder / tokenizer.file_name).write_bytes(tokenizer.serialized())
        if options.genai:
            _write_genai_files(folder, model, tokenizer, options.portable)
        figures = run_gate(model, fp32, sessions, windows, sampled, byte_lengths_of(tokenizer), options.progress)
        for measured in figures:
            check_limits(measured, limits)
        info = GraphInfo(
            precision=precision,
            opset=OPSET,
            contrib_operators=_contrib_operators(folder),
            least_onnxruntime=LEAST_ONNXRUNTIME,
            decode=decode,
            mapped=mapped,
        )
        manifest = _make_manifest(source, folder, info, sessions, figures[-1])
        (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
        (folder / README_FILE).write_text(model_card(manifest, fp32_bytes), "utf-8")
    return Bundle(out, manifest)


def check_out(out: Path, overwrite: bool) -> None:
    """Check that a bundle may be written to a folder.

    Raises:
        TinyLMError: the folder exists and may not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST_FILE).is_file():
        raise TinyLMError(f"{out}: exists and is no bundle, so it is not replaced; give another --out")
    if not overwrite:
        raise TinyLMError(f"{out}: exists already; give another --out, or --overwrite to replace it")


def _write_fp32(folder: Path, model: LanguageModel, form: Form) -> tuple[Session, int]:
    """Write the fp32 graph and load it; also returns its bytes."""
    path = folder / MODEL_FILE
    write_graph(path, model, FloatWeights(), form)
    size = model_bytes(path)
    return Session(path, model.config, default_threads(size)), size


def _write_genai_files(folder: Path, model: LanguageModel, tokenizer: Tokenizer, portable: bool) -> None:
    size = model_bytes(folder / MODEL_FILE)
    files = genai_files(model.config, tokenizer, SamplingDefaults(), size, growing_cache=portable)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _open_all(folder: Path, model: LanguageModel, decode: dict[str, str], mapped: str) -> list[Session]:
    """Open a session for each decoding graph that this CPU can run; the last is the one that the runtime would use."""
    files = [file for cpu, file in decode.items() if cpu != X86 or has_avx2()] or [MODEL_FILE]
    files.sort(key=lambda file: file == decode_file(decode))
    paths = [None if file == MODEL_FILE else folder / file for file in files]
    threads = default_threads(model_bytes(folder / MODEL_FILE))
    return [Session(folder / (mapped or MODEL_FILE), model.config, threads, path) for path in paths]


def _contrib_operators(folder: Path) -> list[str]:
    graphs = [onnx.load(path, load_external_data=False) for path in sorted(folder.glob("*.onnx"))]
    return sorted({node.op_type for graph in graphs for node in graph.graph.node if node.domain == MICROSOFT})


def _make_manifest(
    source: ExportSource, folder: Path, graph: GraphInfo, sessions: Sequence[Session], figures: GateFigures
) -> Manifest:
    tokenizer, chat = source.tokenizer, source.state.stage == "finetune"
    own_format = tokenizer.chat_format.is_own
    files = {
        path.relative_to(folder).as_posix(): FileEntry(size=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Manifest(
        schema_version=SCHEMA_VERSION,
        tinylm_version=tinylm.__version__,
        model=source.model.config,
        chat=chat,
        chat_format_version=CHAT_FORMAT_VERSION if own_format else IMPORTED_FORMAT_VERSION,
        special_tokens=special_tokens(tokenizer),
        chat_format=None if own_format else tokenizer.chat_format,
        graph=graph,
        sampling=SamplingDefaults(),
        files=files,
        golden=_make_golden(sessions, tokenizer, chat, max(_LEAST_GOLDEN_GAP, figures.prefill_logit_difference)),
        gate=figures,
        provenance=_provenance(source, sessions[-1]),
    )


def _make_golden(sessions: Sequence[Session], tokenizer: Tokenizer, chat: bool, least_gap: float) -> Golden:
    """Choose the golden text: the one whose greedy continuation is equal in all sessions for longest.

    Args:
        sessions: of the bundle.
        tokenizer: of the bundle.
        chat: whether the text is a user's message.
        least_gap: a continuation ends where the two highest logits are closer.
    """
    candidates: list[Golden] = []
    for text in GOLDEN_TEXTS:
        conversation: Conversation = [{"role": "user", "content": text}] if chat else []
        golden = Golden(conversation=conversation, text=text, ids=[], continuation=[])
        ids = golden_prompt(tokenizer, golden, sessions[0].context_length)
        found = [greedy_continuation(session, tokenizer, ids, GOLDEN_TOKENS, least_gap) for session in sessions]
        alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*found, strict=False))
        continuation = [token for token, *_ in alike]
        candidates.append(Golden(conversation=conversation, text=text, ids=ids, continuation=continuation))
    return max(candidates, key=lambda golden: len(golden.continuation))


def measure_speed(session: Session) -> ExportSpeed:
    """Measure tokens a second on this machine, of some hundred tokens."""
    count = min(_TIMED_TOKENS, session.context_length // 2)
    session.truncate(0)
    times = [time.perf_counter()]
    session.append([0] * count)
    times.append(time.perf_counter())
    for _ in range(count):
        session.append([0])
    times.append(time.perf_counter())
    prefill, decode = (count / (end - start) for start, end in pairwise(times))
    return ExportSpeed(
        machine=platform.machine(),
        threads=session.threads,
        prefill_tokens_per_second=round(prefill, 1),
        decode_tokens_per_second=round(decode, 1),
    )


def _provenance(source: ExportSource, session: Session) -> Provenance:
    run, state = source.run, source.state
    return Provenance(
        data=read_provenance(run.provenance) if run.provenance.is_file() else {},
        parameters=sum(parameter.numel() for parameter in source.model.parameters()),
        steps={str(stage): steps for stage, steps in state.plan.items()},
        training_seconds=round(state.seconds, 1),
        training_tokens=state.tokens,
        speed=measure_speed(session),
        packages={
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "sentencepiece": sentencepiece.__version__,
        },
        imported=read_imported(run.imported),
    )
