"""The figures on replies in held-out conversations that training logged at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from tinylm.run_log import RunLog


class ReplyFigures(TypedDict):
    """Values of the template: number of replies, and of each figure its name, the model's and what stands beside it."""

    count: int
    rows: list[tuple[str, str, str]]


def reply_figures(log: RunLog) -> ReplyFigures | None:
    """The last figures in a log; None where there are none."""
    values = _measured(log)
    if values is None:
        return None
    rows: list[tuple[str, str, str]] = []
    if _is_number(values.get("hits_at_1_of_10")):
        error = values.get("hits_at_1_of_10_standard_error")
        shown = _share(values["hits_at_1_of_10"]) + (f" ± {_share(error)}" if _is_number(error) else "")
        baselines = values.get("hits_at_1_of_10_baselines")
        others = baselines.items() if isinstance(baselines, dict) else ()
        beside = ", ".join(f"{name.replace('_', ' ')} {_share(value)}" for name, value in others)
        rows.append(("the true reply is found among ten (hits@1)", shown, beside))
    if _is_number(values.get("repetition")):
        beside = f"people {_share(values.get('repetition_baseline'))}"
        rows.append(("runs of four words that are repeated in a reply", _share(values["repetition"]), beside))
    if _is_number(values.get("longest_copied_run")):
        beside = f"people {values.get('longest_copied_run_baseline')}"
        rows.append(("longest run of words copied from the training data", str(values["longest_copied_run"]), beside))
    return {"count": values["replies"], "rows": rows}


def found_share(log: RunLog) -> list[tuple[str, str]]:
    """The figure at the top of the report with its label; empty where there is none."""
    values = _measured(log) or {}
    share = values.get("hits_at_1_of_10")
    return [(_share(share), "of true replies found among ten")] if _is_number(share) else []


def _measured(log: RunLog) -> Mapping[str, Any] | None:
    found = (event.details for event in reversed(log.events) if event.event == "measured")
    return next((values for values in found if isinstance(values.get("replies"), int)), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, int | float) else "none"
