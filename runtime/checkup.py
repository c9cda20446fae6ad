"""The check of this machine and a bundle, and estimates for other models, for `tinylm doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tinylm.errors import BundleError, TinyLMError
from tinylm.manifest import Manifest, read_manifest
from tinylm.processors import ROOT
from tinylm.runtime.device.diagnosis import CheckResult, Packages, diagnose, numbers_of, try_packages
from tinylm.runtime.device.machine import Interpreter, Machine, has_avx2, read_machine
from tinylm.runtime.device.memory import BLOCKS_FROM, check_memory, estimate_bytes, needed_bytes, weight_bytes
from tinylm.runtime.device.subprocess_call import call

_TIMEOUT = 300.0
_TYPICAL = {2: (4, 192), 10: (6, 288), 30: (8, 512), 110: (12, 768)}
"""Layers and width that are common for a model with so many MB of int8 weights."""

_TYPICAL_CONTEXT = 1024
_SCARCE = 400_000_000
_READING_SPEED = 5.0
"""Tokens a second at which people read."""


class BundleSpeed(msgspec.Struct, frozen=True):
    """Figures of the bundle; see `tinylm.runtime.benchmark.BenchmarkFigures`."""

    load_s: float
    time_to_first_token_s: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    threads: int
    prompt_tokens: int
    peak_rss_mb: float | None
    memory_gb_per_s: float
    read_gb_per_s: float


class SizeSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated speed of another model.

    Attributes:
        megabytes: of its int8 weights.
        decode_tokens_per_second: at a short context.
        gigabytes_per_second: of weights that the kernel multiplies with.
    """

    megabytes: int
    decode_tokens_per_second: float
    gigabytes_per_second: float


class SizeEstimate(SizeSpeed, frozen=True, kw_only=True):
    """Estimated speed and memory of another model.

    Attributes:
        memory_mb: memory in MB that a chat with it needs.
        fits: whether so much is free here; None where that is unknown.
    """

    memory_mb: int
    fits: bool | None


class Measurements(msgspec.Struct, frozen=True):
    """What `measure` finds."""

    bundle: BundleSpeed
    estimates: list[SizeSpeed]


class DoctorReport(msgspec.Struct, frozen=True):
    """What `tinylm doctor` finds.

    Attributes:
        ok: whether nothing prevents chatting.
        findings: the results of all checks.
        machine: the machine.
        onnxruntime: its version; None where it is not installed.
        speed: of the bundle; None where it does not run.
        estimates: for other models; empty where the bundle does not run.
    """

    ok: bool
    findings: list[CheckResult]
    machine: Machine
    onnxruntime: str | None
    speed: BundleSpeed | None
    estimates: list[SizeEstimate]


def examine(folder: Path, name: str, root: Path = ROOT, interpreter: Interpreter | None = None) -> DoctorReport:
    """Check this machine and a bundle.

    Args:
        folder: the bundle.
        name: what to call it.
        root: the folder that holds proc and sys.
        interpreter: facts about Python; None: about this one.
    """
    machine = read_machine(root, interpreter)
    packages = try_packages()
    findings = list(diagnose(machine, packages))
    manifest = measured = None
    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        findings.append(CheckResult("bundle", "problem", str(error)))
    if manifest is not None:
        of_bundle = list(_check_bundle(folder, name, manifest, machine, packages, root))
        findings += of_bundle
        if not packages.failures and not any(finding.level == "problem" for finding in of_bundle):
            try:
                result = call(f"{__name__}:measure", str(folder.absolute()), machine.usable_threads, timeout=_TIMEOUT)
                measured = msgspec.convert(result, Measurements)
            except TinyLMError as error:
                findings.append(CheckResult("bundle", "problem", f"does not run: {error}"))
            else:
                findings += _check_speed(measured.bundle)
    return DoctorReport(
        ok=not any(finding.level == "problem" for finding in findings),
        findings=findings,
        machine=machine,
        onnxruntime=packages.onnxruntime,
        speed=measured.bundle if measured else None,
        estimates=_with_memory(measured.estimates, machine) if measured else [],
    )


def measure(folder: str, cores: int) -> Measurements:
    """Verify a bundle, measure it, and estimate the speed of other models; called in a subprocess.

    Args:
        folder: the bundle.
        cores: maximum number of threads.

    Raises:
        BundleError: the bundle differs from what was exported, or does not run.
    """
    from tinylm.runtime.benchmark import measure as measure_bundle
    from tinylm.runtime.chat_model import ChatModel
    from tinylm.runtime.device.kernel_probe import SIZES, measure_speed_model
    from tinylm.runtime.verification import verify_bundle

    manifest = verify_bundle(folder)
    threads = ChatModel(folder).session.threads
    figures = measure_bundle(folder, threads, [0])
    scarce = (read_machine().memory.room or _SCARCE) < _SCARCE
    speeds = measure_speed_model(
        sorted({1, threads, cores}),
        figures.decode_tokens_per_second,
        weight_bytes(manifest),
        manifest.model.num_layers,
        has_avx2=has_avx2(),
        largest=SIZES[1] if scarce else SIZES[-1],
    )
    return Measurements(
        bundle=BundleSpeed(**{name: getattr(figures, name) for name in BundleSpeed.__struct_fields__}),
        estimates=[
            SizeSpeed(
                megabytes=size,
                decode_tokens_per_second=round(speeds.tokens_per_second(size * 1_000_000, layers), 1),
                gigabytes_per_second=round(speeds.rate(size * 1_000_000) / 1e9, 2),
            )
            for size, (layers, _) in _TYPICAL.items()
        ],
    )


def _check_bundle(
    folder: Path, name: str, manifest: Manifest, machine: Machine, packages: Packages, root: Path
) -> Iterator[CheckResult]:
    has_avx2 = "avx2" in (machine.features or ())
    needed = needed_bytes(manifest, has_avx2) / 1e6
    yield CheckResult("bundle", "ok", f"{name}: {manifest.graph.precision}, needs about {needed:,.0f} MB of memory")
    try:
        check_memory(folder, manifest, has_avx2, root)
    except BundleError as error:
        yield CheckResult("memory", "problem", str(error))
    least, version = manifest.graph.least_onnxruntime, packages.onnxruntime
    if version is not None and numbers_of(version) < numbers_of(least):
        advice = f"pip install 'onnxruntime>={least}'"
        yield CheckResult("bundle", "problem", f"needs onnxruntime {least}, and {version} is installed", advice)
    if not manifest.chat:
        advice = "it can continue a text: tinylm complete BUNDLE --prompt TEXT"
        yield CheckResult("bundle", "note", "was never fine-tuned on conversations", advice)


def _check_speed(figures: BundleSpeed) -> Iterator[CheckResult]:
    text = "the files are those that were exported, and give the golden continuation on this machine"
    yield CheckResult("verified", "ok", text)
    speed = figures.decode_tokens_per_second
    threads = "1 thread" if figures.threads == 1 else f"{figures.threads} threads"
    text = (
        f"{speed:,.0f} tokens/s on {threads}, the first after {figures.time_to_first_token_s * 1000:,.0f} ms "
        f"with a prompt of {figures.prompt_tokens}"
    )
    if speed < _READING_SPEED:
        yield CheckResult("speed", "note", text, "slower than people read: a smaller model, or int8, would be faster")
    else:
        yield CheckResult("speed", "ok", text)
    read, memory = figures.read_gb_per_s, figures.memory_gb_per_s
    share = f"{read / memory:.0%} of the {memory:,.1f} that memory gives"
    if read > memory:
        share = f"from the processor's caches; memory gives {memory:,.1f}"
    text = f"each token reads all weights: {read:,.1f} GB/s, {share}"
    yield CheckResult("bandwidth", "ok", text)


def _with_memory(speeds: Sequence[SizeSpeed], machine: Machine) -> list[SizeEstimate]:
    """Add to each estimate the memory that the model needs, and whether it is free."""
    has_avx2 = "avx2" in (machine.features or ())
    room = machine.memory.room
    estimates = []
    for speed in speeds:
        size = speed.megabytes * 1_000_000
        layers, width = _TYPICAL[speed.megabytes]
        needed = estimate_bytes(size, _TYPICAL_CONTEXT * layers * width, has_avx2 and size > BLOCKS_FROM)
        fits = None if room is None else needed <= room
        estimates.append(SizeEstimate(**msgspec.structs.asdict(speed), memory_mb=round(needed / 1e6), fits=fits))
    return estimates
