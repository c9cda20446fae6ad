"""Whether a bundle chats on this machine, and how fast; what `tinylm doctor` finds beside the machine itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinylm.errors import BundleError, TinyLMError
from tinylm.manifest import Manifest, read_manifest
from tinylm.processors import ROOT
from tinylm.runtime.device.diagnosis import Finding, Packages, diagnose, numbers_of, try_packages
from tinylm.runtime.device.machine import Interpreter, Machine, has_avx2, read_machine
from tinylm.runtime.device.memory import BLOCKS_FROM, check_memory, estimate_bytes, needed_bytes
from tinylm.runtime.device.subprocess_call import call

_TIMEOUT = 300.0
_TYPICAL = {2: (4, 192), 10: (6, 288), 30: (8, 512), 110: (12, 768)}
"""Sizes in MB of int8 weights, with the layers and the width that such models commonly have."""

_TYPICAL_CONTEXT = 1024
_SCARCE = 400_000_000
_READING_SPEED = 5.0
"""Tokens a second at which people read."""


def examine(folder: Path, name: str, root: Path = ROOT, interpreter: Interpreter | None = None) -> dict[str, Any]:
    """Look at this machine and at a bundle.

    Args:
        folder: the bundle.
        name: what to call it.
        root: the folder with proc and sys.
        interpreter: what Python says; None: this one.

    Returns:
        `ok` (nothing prevents chatting), `findings`, `machine`, `onnxruntime` (its version), `speed` (of the bundle,
        None where it does not run), and `estimates` for other sizes.
    """
    machine = read_machine(root, interpreter)
    packages = try_packages()
    findings = list(diagnose(machine, packages))
    works = packages.works and not packages.failures
    manifest = None
    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        findings.append(Finding("bundle", "problem", str(error)))
    speed: dict[str, Any] | None = None
    if manifest is not None:
        here = list(_bundle(folder, name, manifest, machine, packages, root))
        findings += here
        if works and not any(finding.level == "problem" for finding in here):
            try:
                speed = call(f"{__name__}:measure", str(folder.absolute()), machine.usable_threads, timeout=_TIMEOUT)
            except TinyLMError as error:
                findings.append(Finding("bundle", "problem", f"does not run: {error}"))
            else:
                findings += _speed(speed)
    return {
        "ok": not any(finding.level == "problem" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "machine": asdict(machine),
        "onnxruntime": packages.onnxruntime,
        "speed": speed and speed["bundle"],
        "estimates": _with_memory(speed["estimates"], machine) if speed else [],
    }


def measure(folder: str, cores: int) -> dict[str, Any]:
    """Verify a bundle, take its speed, and estimate that of others; meant for a process of its own.

    Args:
        folder: the bundle.
        cores: to use at most.

    Raises:
        BundleError: the bundle is not what was exported, or does not run.
    """
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime import benchmark
    from tinylm.runtime.device.kernel_probe import SIZES, expectation
    from tinylm.runtime.verification import verify_bundle

    manifest = verify_bundle(folder)
    threads = ChatModel(folder).session.threads
    figures = benchmark.measure(folder, threads, [0])
    config = manifest.model
    attention = 2 * config.d_model + 2 * config.kv_heads * config.head_dim
    weights = config.num_layers * (attention + 2 * config.dim_feedforward) + config.vocab_size
    bits = {"fp32": 32, "int4": 4}.get(manifest.graph.precision, 8)
    scarce = (read_machine().memory.room or _SCARCE) < _SCARCE
    expected = expectation(
        sorted({1, threads, cores}),
        figures["decode_tokens_per_second"],
        config.d_model * weights * bits // 8,
        config.num_layers,
        has_avx2=has_avx2(),
        largest=SIZES[1] if scarce else SIZES[-1],
    )
    names = ("load_s", "time_to_first_token_s", "prefill_tokens_per_second", "decode_tokens_per_second", "threads")
    return {
        "bundle": {name: figures[name] for name in (*names, "prompt_tokens", "peak_rss_mb")},
        "estimates": [
            {
                "megabytes": size,
                "decode_tokens_per_second": round(expected.tokens_per_second(size * 1_000_000, layers), 1),
                "gigabytes_per_second": round(expected.rate(size * 1_000_000) / 1e9, 2),
            }
            for size, (layers, _) in _TYPICAL.items()
        ],
    }


def _bundle(
    folder: Path, name: str, manifest: Manifest, machine: Machine, packages: Packages, root: Path
) -> Iterator[Finding]:
    avx2 = "avx2" in (machine.features or ())
    needed = needed_bytes(manifest, avx2) / 1e6
    yield Finding("bundle", "ok", f"{name}: {manifest.graph.precision}, needs about {needed:,.0f} MB of memory")
    try:
        check_memory(folder, manifest, avx2, root)
    except BundleError as error:
        yield Finding("memory", "problem", str(error))
    least, version = manifest.graph.least_onnxruntime, packages.onnxruntime
    if version is not None and numbers_of(version) < numbers_of(least):
        advice = f"pip install 'onnxruntime>={least}'"
        yield Finding("bundle", "problem", f"needs onnxruntime {least}, and {version} is installed", advice)
    if not manifest.chat:
        advice = "it goes on with a text: tinylm complete BUNDLE --prompt TEXT"
        yield Finding("bundle", "note", "was never fine-tuned on conversations", advice)


def _speed(measured: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("verified", "ok", "every file is whole, and this machine gives the golden continuation")
    figures = measured["bundle"]
    speed = figures["decode_tokens_per_second"]
    threads = "1 thread" if figures["threads"] == 1 else f"{figures['threads']} threads"
    text = (
        f"{speed:,.0f} tokens/s on {threads}, the first after {figures['time_to_first_token_s'] * 1000:,.0f} ms "
        f"with a prompt of {figures['prompt_tokens']}"
    )
    if speed < _READING_SPEED:
        yield Finding("speed", "note", text, "slower than people read: a smaller model, or int8, would be faster")
    else:
        yield Finding("speed", "ok", text)


def _with_memory(estimates: list[dict[str, Any]], machine: Machine) -> list[dict[str, Any]]:
    """Estimates with the memory that such a model needs, and whether it is free here; None where that is unknown."""
    avx2 = "avx2" in (machine.features or ())
    room = machine.memory.room
    completed = []
    for estimate in estimates:
        size = estimate["megabytes"] * 1_000_000
        layers, width = _TYPICAL[estimate["megabytes"]]
        needed = estimate_bytes(size, _TYPICAL_CONTEXT * layers * width, avx2 and size > BLOCKS_FROM)
        fits = None if room is None else needed <= room
        completed.append({**estimate, "memory_mb": round(needed / 1e6), "fits": fits})
    return completed
