"""What is asked of every CPU, and whether it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cpus.emulation import CPUS, HOST, Cpu
from benchmarks.cpus.probe import Findings, Quality, Subject

QUALITY_LOSS_PERCENT = 0.1
"""Bits per byte of int8 over fp32's, at most."""

SPREAD_PERCENT = 0.05
"""Bits per byte of int8 on any CPU over those on any other, at most."""


def judge(subjects: Sequence[Subject], found: Mapping[str, Findings | str]) -> dict[str, Any]:
    """Compare what was found with what is asked.

    Args:
        subjects: the models.
        found: by CPU, with "host" among them; a text where the CPU gave nothing but a problem.

    Returns:
        `figures` by CPU; `spread_percent` of bits per byte by model; `problems`; `passed`, which is to have none.
    """
    references = _references(subjects, found)
    figures = {cpu.name: _figures(cpu, subjects, found[cpu.name], references) for cpu in CPUS if cpu.name in found}
    problems = [f"{name}: {problem}" for name, values in figures.items() for problem in values["problems"]]
    spreads = {subject.name: _spread(subject.name, found) for subject in subjects}
    problems += [
        f"{name}: bits per byte differ by {spread:.3f} % between CPUs (limit {SPREAD_PERCENT} %)"
        for name, spread in spreads.items()
        if spread is not None and spread > SPREAD_PERCENT
    ]
    return {"figures": figures, "spread_percent": spreads, "problems": problems, "passed": not problems}


def table(verdict: Mapping[str, Any]) -> str:
    """The verdict for people."""
    lines = [f"{'quality':<12}{'model':<10}{'golden':>8}{'bits per byte':>15}{'over fp32':>11}"]
    for cpu, values in verdict["figures"].items():
        for name, quality in values["models"].items():
            loss = _format(quality["quality_loss_percent"], "+.3f", " %")
            bits = _format(quality["bits_per_byte"], ".5f")
            lines.append(f"{cpu:<12}{name:<10}{quality['golden_equal']:>8}{bits:>15}{loss:>11}")
    spreads = [f"{name} {_format(spread, '.3f', ' %')}" for name, spread in verdict["spread_percent"].items()]
    lines += [f"bits per byte between CPUs differ by: {', '.join(spreads)} (limit {SPREAD_PERCENT} %)", ""]
    lines.append(f"{'decode, S':<12}{'fp32 ms':>10}{'int8 ms':>10}{'ratio':>8}{'asked':>7}   machines")
    for cpu in CPUS:
        if cpu.name in verdict["figures"]:
            values = verdict["figures"][cpu.name]
            times = f"{_format(values['fp32_ms'], '.2f'):>10}{_format(values['int8_ms'], '.2f'):>10}"
            ratio, asked = _format(values["int8_over_fp32"], ".2f"), _format(cpu.least_ratio, ".1f")
            lines.append(f"{cpu.name:<12}{times}{ratio:>8}{asked:>7}   {cpu.remark}")
    lines += ["", *(f"FAILED  {problem}" for problem in verdict["problems"])]
    return "\n".join(lines)


def _figures(
    cpu: Cpu, subjects: Sequence[Subject], found: Findings | str, references: Mapping[str, float]
) -> dict[str, Any]:
    if isinstance(found, str):
        empty = {"machine": None, "onnxruntime": None, "fp32_ms": None, "int8_ms": None, "int8_over_fp32": None}
        return {"passed": False, "problems": [found], "models": {}, **empty}
    models: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for subject in subjects:
        quality = found.subjects[subject.name]
        models[subject.name] = _model_figures(quality, references.get(subject.name))
        problems += [f"{subject.name}: {problem}" for problem in _problems(subject, quality, models[subject.name])]
    if cpu.least_ratio is not None and found.ratio < cpu.least_ratio:
        problems.append(f"int8 is {found.ratio:.2f} x as fast as fp32 (asked: {cpu.least_ratio} x)")
    return {
        "passed": not problems,
        "problems": problems,
        "machine": found.machine,
        "onnxruntime": found.onnxruntime,
        "models": models,
        "fp32_ms": round(found.milliseconds["fp32"], 3),
        "int8_ms": round(found.milliseconds["int8"], 3),
        "int8_over_fp32": round(found.ratio, 3),
    }


def _model_figures(quality: Quality, reference: float | None) -> dict[str, Any]:
    bits = quality.bits_per_byte
    loss = None if bits is None or reference is None else 100 * (bits / reference - 1)
    return {
        "verified": not quality.problem,
        "golden_equal": quality.golden_equal,
        "bits_per_byte": bits,
        "quality_loss_percent": loss,
    }


def _problems(subject: Subject, quality: Quality, figures: Mapping[str, Any]) -> list[str]:
    if quality.problem:
        return [quality.problem]
    problems = []
    wanted = sum(len(golden.continuation) for golden in subject.golden)
    if quality.golden_equal != wanted:
        problems.append(f"only {quality.golden_equal} of {wanted} golden tokens were found")
    loss = figures["quality_loss_percent"]
    if loss is not None and loss > QUALITY_LOSS_PERCENT:
        problems.append(f"int8 costs {loss:.3f} % in bits per byte (limit {QUALITY_LOSS_PERCENT} %)")
    return problems


def _references(subjects: Sequence[Subject], found: Mapping[str, Findings | str]) -> dict[str, float]:
    """Bits per byte of the fp32 models, where there are such: as this machine's own CPU has them."""
    host = found[HOST.name]
    if isinstance(host, str):
        return {}
    values = {subject.name: host.subjects[subject.name].fp32_bits_per_byte for subject in subjects}
    return {name: value for name, value in values.items() if value is not None}


def _spread(name: str, found: Mapping[str, Findings | str]) -> float | None:
    findings = [value for value in found.values() if not isinstance(value, str)]
    bits = [value for finding in findings if (value := finding.subjects[name].bits_per_byte) is not None]
    return 100 * (max(bits) / min(bits) - 1) if bits else None


def _format(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
