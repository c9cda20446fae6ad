"""`report.html` of a run: curves, samples, figures and advice, in a single file without references."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tinylm import __version__
from tinylm.config import Config, config_values
from tinylm.errors import RunError, TinyLMError
from tinylm.files import write_file
from tinylm.printable import command_line, printable
from tinylm.provenance import read_provenance
from tinylm.report.advice import smoothed, stage_advice
from tinylm.report.replies import found_share, reply_figures
from tinylm.run_folder import STAGE_TITLES, RunFolder, StageName, TrainState, load_state
from tinylm.run_log import EventLine, RunLog, read_metrics

_MOST_SAMPLES = 40


def write_report(run: RunFolder) -> Path:
    """Write `report.html` into a run folder; it replaces an earlier one only when it is complete.

    Raises:
        RunError: the run has logged nothing yet, or its files are broken.
        TinyLMError: the file cannot be written.
    """
    write_file(run.report, make_report(run))
    return run.report


def make_report(run: RunFolder) -> str:
    """Create the page: HTML without references to other files; all text is escaped.

    Raises:
        RunError: the run has logged nothing yet, or its files are broken.
    """
    if not run.config.is_file():
        raise RunError(f"{run.path}: not a run folder of `tinylm train` (no {run.config.name} in it)")
    try:
        log = read_metrics(run.metrics)
    except OSError as error:
        raise RunError(f"{run.metrics}: cannot be read ({error.strerror}); has the run begun?") from None
    config = run.load_config()
    state = _state(run)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("tinylm.report").joinpath("report.html").read_text("utf-8"))
    return template.render(_values(run, log, config, state))


def _values(run: RunFolder, log: RunLog, config: Config, state: TrainState | None) -> dict[str, Any]:
    """The values of the template."""
    started = next((event for event in log.events if event.event == "started"), None)
    facts = started.details if started is not None else {}
    latest = next((event.details for event in reversed(log.events) if "machine" in event.details), {})
    offset = {stage: (state.plan.get("pretrain", 0) if state and stage == "finetune" else 0) for stage in log.stages()}
    stages = [_stage(log.of_stage(stage), stage, config, state, facts.get("data", {})) for stage in log.stages()]
    finished = state is not None and state.finished
    return {
        "name": printable(run.path.resolve().name),
        "folder": command_line(run.path),
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "version": __version__,
        "status": _status(log, state),
        "chats": log.stages()[-1:] == ["finetune"],
        "finished": finished,
        "headline": _headline(log, state, facts),
        "charts": _charts(log, offset),
        "stages": stages,
        "data": _data(run, facts.get("data", {})),
        "replies": reply_figures(log),
        "samples": [_thinned(log.of_stage(stage).samples) for stage in log.stages()],
        "configuration": _configuration(config),
        "machine": latest.get("machine", {}),
        "versions": latest.get("versions", {}),
        "events": [_event(event) for event in log.events],
    }


def _headline(log: RunLog, state: TrainState | None, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures at the top, each with its label."""
    stage = log.of_stage(log.stages()[-1]) if log.stages() else log
    figures: list[tuple[str, str]] = []
    if stage.validations:
        best = min(stage.validations, key=lambda line: line.validation_loss)
        figures.append((f"{best.bits_per_byte:.4f}", "bits per byte on held-out data"))
    if stage.steps:
        figures.append((f"{smoothed([line.loss for line in stage.steps])[-1]:.3f}", "training loss, nats a token"))
    figures += found_share(log)
    if "parameters" in facts:
        figures.append((_short(facts["parameters"]), "parameters"))
    if state is not None and state.tokens:
        figures.append((_short(state.tokens), "tokens trained on"))
        figures.append((_duration(state.seconds), "of training"))
    if log.steps:
        speeds = sorted(line.tokens_per_second for line in log.steps)
        figures.append((f"{speeds[len(speeds) // 2]:,.0f}", "tokens a second"))
    shares = sorted(line.utilization for line in log.steps if line.utilization is not None)
    if shares:
        figures.append((f"{shares[len(shares) // 2]:.0%}", "of the GPU's rate (MFU)"))
    return figures


def _stage(
    log: RunLog, stage: StageName, config: Config, state: TrainState | None, data: dict[str, Any]
) -> dict[str, Any]:
    facts = data.get(stage, {})
    steps = state.plan.get(stage, 0) if state is not None else 0
    taken = max((line.step for line in log.steps), default=0)
    a_step = config.train.batch_size * config.train.accumulate * config.model.context_length
    tokens = facts.get("tokens", 0)
    epochs = taken * a_step / tokens if tokens else 0.0
    return {
        "name": stage,
        "title": STAGE_TITLES[stage].capitalize(),
        "steps": steps,
        "taken": taken,
        "epochs": epochs,
        "validations": log.validations,
        "advice": stage_advice(log, stage, 0 < steps <= taken, epochs, tokens, facts.get("held_out_tokens", 0)),
    }


def _charts(log: RunLog, offset: dict[StageName, int]) -> list[dict[str, Any]]:
    """The charts over the steps of both stages, each with title and unit."""
    from tinylm.report.charts import Curve, chart_svg

    borders = [float(offset[stage]) for stage in log.stages()[1:]]
    loss: list[Curve] = []
    bits: list[Curve] = []
    rate: list[Curve] = []
    speed: list[Curve] = []
    for stage in log.stages():
        part = log.of_stage(stage)
        x = [float(line.step + offset[stage]) for line in part.steps]
        raw = [line.loss for line in part.steps]
        if x:
            # One legend entry for the curves of all stages
            names = ("", "") if loss else ("a batch", "smoothed")
            loss += [Curve(x, raw, names[0], "faint"), Curve(x, smoothed(raw), names[1])]
            rate.append(Curve(x, [line.learning_rate for line in part.steps]))
            speed.append(Curve(x, [line.tokens_per_second for line in part.steps]))
        if part.validations:
            at = [float(line.step + offset[stage]) for line in part.validations]
            bits.append(Curve(at, [line.bits_per_byte for line in part.validations], style="marked"))
    drawn = (
        ("Training loss", "nats a token", loss, True),
        ("Held-out data", "bits per byte", bits, False),
        ("Learning rate", "", rate, False),
        ("Speed", "tokens a second", speed, False),
    )
    return [
        {"title": title, "unit": unit, "svg": Markup(chart_svg(title, curves, borders=borders, wide_range=wide))}
        for title, unit, curves, wide in drawn
        if curves
    ]


def _data(run: RunFolder, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Files, counts and notes of each stage."""
    provenance = read_provenance(run.provenance)
    recorded = {stage: provenance[stage] for stage in STAGE_TITLES if stage in provenance}
    return [
        {
            "title": STAGE_TITLES[stage].capitalize(),
            "kind": "documents" if stage == "pretrain" else "conversations",
            "files": trained.files,
            "examples": trained.examples,
            "held_out": trained.held_out,
            "tokens": facts.get(stage, {}).get("tokens"),
            "held_out_tokens": facts.get(stage, {}).get("held_out_tokens"),
            "notes": facts.get(stage, {}).get("notes", []),
        }
        for stage, trained in recorded.items()
    ]


def _configuration(config: Config) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """Sections with their keys and values, and whether each value differs from the default."""
    defaults = config_values(Config())
    return [
        (section, [(key, _shown(value), value != defaults[section][key]) for key, value in table.items()])
        for section, table in config_values(config).items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _event(event: EventLine) -> dict[str, Any]:
    return {
        "time": event.time[:16].replace("T", " "),
        "event": event.event.replace("_", " "),
        "where": f"{STAGE_TITLES[event.stage].capitalize()}, step {event.step:,}",
        "reason": str(event.details.get("reason", ""))
        + (f" at step {event.details['from_step']:,}" if isinstance(event.details.get("from_step"), int) else ""),
    }


def _status(log: RunLog, state: TrainState | None) -> str:
    if state is not None and state.finished:
        return "finished"
    last = log.events[-1].event if log.events else ""
    return {"stopped": "stopped", "failed": "failed"}.get(last, "in training")


def _state(run: RunFolder) -> TrainState | None:
    """The state of the last checkpoint, if there is one."""
    try:
        return load_state(run.checkpoint("last"))
    except TinyLMError:
        return None


def _thinned(samples: list[Any]) -> list[Any]:
    """At most `_MOST_SAMPLES` of the samples, evenly spread, with the first and the last."""
    if len(samples) <= _MOST_SAMPLES:
        return samples
    last = len(samples) - 1
    return [samples[round(number * last / (_MOST_SAMPLES - 1))] for number in range(_MOST_SAMPLES)]


def _short(number: int) -> str:
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
