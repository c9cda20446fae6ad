"""`tinylm export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinylm.cli.console import notice, say
from tinylm.cli.options import FILE, FOLDER
from tinylm.export.options import ExportOptions
from tinylm.files import temporary_folder
from tinylm.manifest import MANIFEST_FILE
from tinylm.printable import command_line, printable

if TYPE_CHECKING:
    from tinylm.manifest import Manifest


@click.command("export")
@click.argument("run", type=FOLDER, required=False)
@click.option("--out", type=FOLDER, help="The bundle's folder, which is created.")
@click.option(
    "--web",
    type=FILE,
    metavar="FILE.html|FOLDER",
    help="Write a chat page with the model in it: a file that opens by double-click, or a folder for a web host.",
)
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
def command(run: Path | None, out: Path | None, web: Path | None, **options: Any) -> None:
    """Export a RUN as a bundle: ONNX with a KV cache, compared with torch before it is written.

    With --web, RUN becomes a web page, beside a bundle or instead of one. It may be a bundle already; without it the
    page gets the demo model in the box.
    """
    if web is None:
        if run is None or out is None:
            raise click.UsageError("Give RUN and --out BUNDLE, or --web FILE.html.")
        _export(ExportOptions(run, out, **options))
        return
    from tinylm.runtime.web.writing import check_page

    overwrite = bool(options["overwrite"])
    is_bundle = run is None or (run / MANIFEST_FILE).is_file()
    if is_bundle:
        _refuse_options_of_runs(web)
    elif options["portable"]:
        raise click.UsageError("A page cannot run a model of --portable: leave out one of the two.")
    check_page(web, overwrite)
    if run is None or is_bundle:
        from tinylm.runtime.demo import DEMO_BUNDLE

        _write_page(run or DEMO_BUNDLE, web, overwrite)
    elif out is not None:
        _export(ExportOptions(run, out, **options))
        _write_page(out, web, overwrite)
    else:
        with temporary_folder(web.absolute().parent) as folder:
            bundle = folder / "bundle"
            _export(ExportOptions(run, bundle, **options), keep=False)
            _write_page(bundle, web, overwrite)


def _refuse_options_of_runs(web: Path) -> None:
    """Refuse what says how a run is exported, where there is a bundle already."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in {"run", "web", "overwrite"} and context.get_parameter_source(name) is not default:
            raise click.UsageError(f"A bundle goes into {printable(web)} as it is: leave out {parameter.opts[0]}.")


def _export(options: ExportOptions, keep: bool = True) -> None:
    """Export a bundle, and show how it compares with torch; `keep`: it is what the user asked for."""
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
    if keep:
        verb = "chat" if manifest.chat else "complete"
        more = [] if manifest.chat else ["--prompt", "Once upon a time"]
        following = command_line("tinylm", verb, out, *more)
        say(f"Bundle: {out} ({_megabytes(out):.1f} MB). Copy the folder to the device, then:\n  {following}")


def _write_page(bundle: Path, web: Path, overwrite: bool) -> None:
    from tinylm.runtime.web.writing import is_file, write_page

    sizes = write_page(bundle, web, overwrite=overwrite)
    parts = ", ".join(f"{part} {size / 1e6:.1f}" for part, size in sizes.items())
    use = "Open it in a browser" if is_file(web) else "Put the folder on a web host"
    say(f"Page: {printable(web)} ({sum(sizes.values()) / 1e6:.1f} MB: {parts}). {use}.")


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
