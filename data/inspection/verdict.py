"""Sum up an inspection in one line: how the data was read, and whether training on it makes sense."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.data.inspection.checks import DataFinding
from tinylm.data.inspection.inspection import ExampleKind, Inspection

_OPTIONS: dict[ExampleKind, str] = {"conversations": "--finetune", "documents": "--pretrain"}
_SHOWN_FORMS = 2


def verdict_of(inspection: Inspection, findings: Sequence[DataFinding]) -> str:
    """Sum up an inspection in one line.

    Args:
        inspection: of the data.
        findings: its problems, errors first.
    """
    understood = " and ".join(_what(inspection, kind) for kind in inspection.kinds)
    errors = [finding for finding in findings if finding.severity == "error"]
    if not understood:
        return f"Nothing here can be trained on: {errors[0].problem}." if errors else "Nothing here can be trained on."
    if errors:
        more = f" (and {len(errors) - 1:,} more, see below)" if len(errors) > 1 else ""
        return f"{understood}. Do not train on this yet: {errors[0].problem}{more}."
    options = " and ".join(_OPTIONS[kind] for kind in inspection.kinds)
    if findings:
        return f"{understood}. You can train on this with {options}, but: {findings[0].problem}."
    return f"{understood}. Good to train on, with {options}."


def _what(inspection: Inspection, kind: ExampleKind) -> str:
    count = inspection.kinds[kind].count
    files = [file for file in inspection.files if file.kind == kind]
    forms = list(dict.fromkeys(file.form for file in files))
    form = "; ".join(forms[:_SHOWN_FORMS]) + ("; and more" if len(forms) > _SHOWN_FORMS else "")
    name = kind.removesuffix("s") if count == 1 else kind
    said = "texts to continue" if kind == "documents" else "a user and an assistant who replies"
    where = f" in {len(files):,} files" if len(files) > 1 else ""
    return f"{count:,} {name} ({said}){where}, read from {form}"
