"""`tinylm info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import print_json, say
from tinylm.cli.options import FOLDER, json_option
from tinylm.errors import BundleError
from tinylm.manifest import read_manifest
from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.manifest import Manifest
    from tinylm.provenance import ImportedModel


@click.command("info")
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--verify", is_flag=True, help="Check every hash and that this machine computes what it should.")
@json_option
def command(bundle: Path | None, verify: bool, as_json: bool) -> None:
    """Show what BUNDLE, or the demo model in the box, is."""
    if bundle is None:
        from tinylm.runtime.demo import DEMO_BUNDLE

        bundle = DEMO_BUNDLE
    manifest = read_manifest(bundle)
    problem: BundleError | None = None
    if verify:
        from tinylm.runtime.verification import verify_bundle

        try:
            verify_bundle(bundle)
        except BundleError as error:
            problem = error
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(manifest), "verified": verify and problem is None})
    elif problem is None:
        _show(manifest, bundle)
    if problem is not None:
        raise problem
    if verify:
        say("Verified: every file is whole, and this machine gives the golden continuation.")


def _show(manifest: Manifest, bundle: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    model, gate = manifest.model, manifest.gate
    table = Table(title=printable(bundle), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    measured_on = "held-out text"
    if gate.sampled_positions:
        measured_on = "text that is partly sampled from the model, for want of held-out text"
    rows = {
        "kind": "chat model" if manifest.chat else "text model, never fine-tuned on conversations",
        "architecture": f"{model.arch}, {model.num_layers} layers, {model.d_model} wide, {model.nhead} heads, "
        f"feed-forward {model.dim_feedforward}",
        "parameters": f"{manifest.provenance.parameters:,}",
        "vocabulary": f"{model.vocab_size:,} tokens",
        "context": f"{model.context_length:,} tokens",
        "weights": f"{manifest.graph.precision}, {manifest.model_bytes / 1e6:.2f} MB",
        "quality": f"{gate.bits_per_byte:.4f} bits per byte on {measured_on} "
        f"({gate.quality_loss_percent:+.3f} % to torch in fp32)",
        "imported from": _origin(manifest.provenance.imported),
        "chat format": manifest.chat_format.family if manifest.chat_format else "",
        "trained": ", ".join(f"{steps:,} steps of {stage}" for stage, steps in manifest.provenance.steps.items()),
        "needs": f"onnxruntime {manifest.graph.least_onnxruntime} or newer",
        "written by": f"TinyLM {manifest.tinylm_version}, schema {manifest.schema_version}",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    Console().print(table)


def _origin(model: ImportedModel | None) -> str:
    return f"{printable(model.name)} ({model.form}), licence: {model.license or 'not given'}" if model else ""
