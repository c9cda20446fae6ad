"""The bundle: one folder that is copied whole to the device, described and protected by its manifest."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from tinylm.chat_format import CHAT_FORMAT_VERSION, Message
from tinylm.config import ModelConfig
from tinylm.errors import BundleError
from tinylm.files import recover_folder, sha256_of
from tinylm.printable import command_line
from tinylm.provenance import StageProvenance
from tinylm.user_cache import recall, remember

SCHEMA_VERSION = 1
MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE, README_FILE = "model.onnx", "tokenizer.model", "manifest.json", "README.md"
ANY_CPU, X86 = "any", "x86"
DECODE_FILES = {ANY_CPU: "decode.onnx", X86: "decode-x86.onnx"}
_OWN_HASH = "manifest_sha256"


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Size in bytes and SHA-256 of a file of the bundle."""

    size: int
    sha256: str


class SpecialTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the control symbols."""

    bos: int
    eos: int
    system: int
    user: int
    assistant: int


class GraphInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to run `model.onnx`.

    Attributes:
        precision: fp32, int8 or int4.
        opset: of the standard operators.
        contrib_operators: operators of onnxruntime's own domain, com.microsoft, in the graph.
        least_onnxruntime: the oldest version that runs it.
        decode: graphs for one token a call, by the class of CPU: any, or x86 (with AVX2). `model.onnx` takes any number
            of tokens and can do without them; they cannot do without its weights.
    """

    precision: str
    opset: int
    contrib_operators: list[str]
    least_onnxruntime: str
    decode: dict[str, str] = {}


class SamplingDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """How a chat samples where the user does not say."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    max_new_tokens: int = 256


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of our own with the ids and the greedy continuation that every device must find.

    Attributes:
        conversation: the messages; empty for a bundle that was never fine-tuned.
        text: the raw text that stands in for them there.
        ids: the prompt's token ids.
        continuation: the greedy continuation, as far as no two tokens are so close that processors may differ.
    """

    conversation: list[Message]
    text: str
    ids: list[int]
    continuation: list[int]


class GateFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate measured before the bundle was written.

    Attributes:
        positions: counted positions, decoded one by one.
        sampled_positions: how many of them are of text that the model itself wrote, for want of held-out text.
        torch_bits_per_byte, fp32_bits_per_byte, bits_per_byte: of torch, of the fp32 graph and of the bundle's graph.
        quality_loss_percent: the bundle's bits per byte over torch's.
        quality_loss_standard_error: of that figure, from its variation between windows.
        fp32_logit_difference, logit_difference: largest difference of the fp32 graph's and of the bundle's logits to
            torch's.
        greedy_agreement: share of the positions at which the bundle's most likely token is torch's.
        prefill_agreement: share of the prefixes after which prefill and decode have the same most likely token.
        prefill_logit_difference: largest difference of the bundle's logits between prefill and decode.
        cache_agreement: whether the fp32 graph gives the same greedy tokens with its cache and without.
        torch_loss, loss: of torch and of the bundle's graph, nats a token.
    """

    positions: int
    sampled_positions: int
    torch_bits_per_byte: float
    fp32_bits_per_byte: float
    bits_per_byte: float
    quality_loss_percent: float
    quality_loss_standard_error: float
    fp32_logit_difference: float
    logit_difference: float
    greedy_agreement: float
    prefill_agreement: float
    prefill_logit_difference: float
    cache_agreement: bool
    torch_loss: float
    loss: float


class ExportSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens a second on the machine that exported the bundle.

    Attributes:
        machine: its architecture.
        threads: of the session.
        prefill_tokens_per_second, decode_tokens_per_second: of some hundred tokens.
    """

    machine: str
    threads: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle's model is from.

    Attributes:
        data: of each stage: its files with their hashes, and counts. No text is quoted.
        parameters: of the model.
        steps: of each stage.
        training_seconds, training_tokens: of all stages.
        speed: of the bundle on the machine that exported it.
        packages: their versions there.
    """

    data: dict[str, StageProvenance]
    parameters: int
    steps: dict[str, int]
    training_seconds: float
    training_tokens: int
    speed: ExportSpeed
    packages: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a device needs to know about a bundle.

    Attributes:
        schema_version: of this manifest.
        tinylm_version: the program that wrote the bundle.
        model: the model's shape.
        chat: whether the model was fine-tuned on conversations.
        chat_format_version: of `tinylm.chat_format`.
        special_tokens: ids of the control symbols.
        graph: what it takes to run it.
        sampling: defaults.
        files: every file but README.md and the manifest itself.
        golden: see `Golden`.
        gate: see `GateFigures`.
        provenance: see `Provenance`.
    """

    schema_version: int
    tinylm_version: str
    model: ModelConfig
    chat: bool
    chat_format_version: int
    special_tokens: SpecialTokens
    graph: GraphInfo
    sampling: SamplingDefaults
    files: dict[str, FileEntry]
    golden: Golden
    gate: GateFigures
    provenance: Provenance


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON, with its own hash."""
    values = msgspec.to_builtins(manifest)
    values[_OWN_HASH] = _own_hash(values)
    return json.dumps(values, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def read_manifest(bundle: str | PathLike[str]) -> Manifest:
    """Read a bundle's manifest and check it against its own hash, and the files' presence and sizes.

    Raises:
        BundleError: names the file that is missing, changed, or of a version that this TinyLM does not know.
    """
    folder = Path(bundle)
    recover_folder(folder)
    path = folder / MANIFEST_FILE
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle; `tinylm export RUN --out BUNDLE` makes one")
    try:
        raw = path.read_bytes()
    except OSError as error:
        if (folder / "config.toml").is_file():
            export = command_line("tinylm", "export", folder)
            hint = f"this is a run folder: `{export} --quantize --out BUNDLE` makes a bundle of it"
        else:
            hint = f"not a bundle: {MANIFEST_FILE} cannot be read ({error.strerror})"
        raise BundleError(f"{folder}: {hint}") from None
    try:
        values = json.loads(raw)
        own_hash = values.pop(_OWN_HASH)
        version = values["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleError(f"{path}: broken, not a manifest; copy the bundle again") from None
    if version != SCHEMA_VERSION:
        way_out = "update TinyLM" if isinstance(version, int) and version > SCHEMA_VERSION else "export it again"
        raise BundleError(f"{path}: a bundle of schema {version}, this TinyLM knows {SCHEMA_VERSION}: {way_out}")
    if own_hash != _own_hash(values):
        raise BundleError(f"{path}: changed since it was written; copy the bundle again")
    try:
        manifest = msgspec.convert(values, Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(f"{path}: not a manifest of schema {SCHEMA_VERSION}: {error}") from None
    if manifest.chat_format_version != CHAT_FORMAT_VERSION:
        raise BundleError(
            f"{path}: chat format {manifest.chat_format_version}, this TinyLM knows {CHAT_FORMAT_VERSION}: "
            "update TinyLM"
        )
    for name, entry in manifest.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            raise BundleError(f"{folder / name}: missing from the bundle; copy it again") from None
        if size != entry.size:
            raise BundleError(f"{folder / name}: has {size:,} bytes instead of {entry.size:,}; copy the bundle again")
    return manifest


def verify_files(bundle: str | PathLike[str], manifest: Manifest) -> None:
    """Compare every file with its SHA-256.

    Raises:
        BundleError: names the first file that differs.
    """
    for name, entry in manifest.files.items():
        path = Path(bundle) / name
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from None
        if digest != entry.sha256:
            raise BundleError(f"{path}: changed since it was written (SHA-256 differs); copy the bundle again")


def verify_files_once(bundle: str | PathLike[str], manifest: Manifest) -> None:
    """`verify_files` where these very files (by path, size and time of change) were not verified before.

    That they were is remembered in the user's cache folder; where that cannot be written, each load verifies.

    Raises:
        BundleError: names the first file that differs.
    """
    folder = Path(bundle).resolve()
    facts: list[Any] = [str(folder)]
    for name, entry in sorted(manifest.files.items()):
        status = (folder / name).stat()
        facts += [name, entry.sha256, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    if recall("verified", key) is None:
        verify_files(folder, manifest)
        remember("verified", key, "")


def _own_hash(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
