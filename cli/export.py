"""`tinylm export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinylm.cli.console import notice, say
from tinylm.cli.options import FOLDER
from tinylm.export.options import ExportOptions
from tinylm.printable import command_line
from tinylm.signatures import takes_fields_of

if TYPE_CHECKING:
    from tinylm.manifest import Manifest


@click.command("export")
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The bundle's folder, which is created.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--quantize", is_flag=True, help="int8 weights instead of fp32: a quarter of the size, and faster.")
@click.option(
    "--bits",
    type=click.Choice(["8", "4"]),
    default="8",
    show_default=True,
    callback=lambda _context, _option, bits: int(bits),
    help="Bits of a quantized weight. 4 costs quality; slow without dot-product instructions (Pi 4 and older).",
)
@click.option("--portable", is_flag=True, help="Use standard ONNX operators only, for other runtimes; slower here.")
@click.option("--genai", is_flag=True, help="Also write what onnxruntime-genai needs to run the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle, once the new one has passed its gate.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a limit of the gate, as quality_loss_percent=0.5. Repeatable.",
)
@takes_fields_of(ExportOptions)
def command(options: ExportOptions) -> None:
    """Export a RUN as a bundle: ONNX with a KV cache, compared with torch before it is written."""
    from rich.console import Console
    from rich.progress import Progress

    from tinylm.export.bundle import export_run

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Comparing with torch", total=None)
        bundle = export_run(
            replace(
                options,
                notify=notice,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        )
    manifest, out = bundle.manifest, bundle.path
    show_gate(manifest)
    verb = "chat" if manifest.chat else "complete"
    more = [] if manifest.chat else ["--prompt", "Once upon a time"]
    following = command_line("tinylm", verb, out, *more)
    say(f"Bundle: {out} ({_megabytes(out):.1f} MB). Copy the folder to the device, then:\n  {following}")


def show_gate(manifest: Manifest) -> None:
    """Print the gate's figures as a table on stderr."""
    from rich.console import Console
    from rich.table import Table

    gate = manifest.gate
    table = Table(title=f"The gate: {gate.positions:,} positions, decoded one by one", title_justify="left")
    for column in ("", "torch fp32", "ONNX fp32", f"this bundle ({manifest.graph.precision})"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(
        "bits per byte",
        f"{gate.torch_bits_per_byte:.4f}",
        f"{gate.fp32_bits_per_byte:.4f}",
        f"{gate.bits_per_byte:.4f} ({gate.quality_loss_percent:+.3f} %)",
    )
    table.add_row("largest logit difference", "", f"{gate.fp32_logit_difference:.1e}", f"{gate.logit_difference:.4f}")
    table.add_row("same most likely token", "", "", f"{gate.greedy_agreement:.2%}")
    table.add_row("prefill agrees with decode", "", "", f"{gate.prefill_agreement:.2%}")
    Console(stderr=True).print(table)


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
