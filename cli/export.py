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
@click.option(
    "--gguf",
    type=FILE,
    help="A GGUF file, which is created, for llama.cpp and Ollama: F16, or Q8_0 with --quantize.",
)
@click.option(
    "--huggingface", type=FOLDER, help="A folder, which is created, for transformers and what reads its models."
)
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option(
    "--context-length",
    type=click.IntRange(min=0),
    default=0,
    show_default="the model's",
    help="Tokens of context, at most the model's. A shorter one needs less memory.",
)
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
def command(out: Path | None, web: Path | None, gguf: Path | None, huggingface: Path | None, **options: Any) -> None:
    """Export a RUN as a bundle: ONNX with a KV cache, compared with torch before it is written.

    With --web, RUN becomes a web page, beside a bundle or instead of one. It may be a bundle already; without it the
    page gets the demo model in the box.

    Runs of --set model.arch=llama can also be exported for other programs, beside a bundle or instead of one.
    """
    run, overwrite = options["run"], options["overwrite"]
    if web is not None and (run is None or (run / MANIFEST_FILE).is_file()):
        _refuse_options_of_runs(web)
        _write_page(run, web, overwrite)
        return
    if run is None:
        raise click.UsageError("Give RUN and --out BUNDLE, or --web FILE.html.")
    if out is None and web is None and gguf is None and huggingface is None:
        raise click.UsageError("Missing option '--out': give a place for the bundle, or --web, --gguf, --huggingface.")
    if out is None and web is None:
        _check_without_bundle(options)
    if gguf is not None and options["bits"] != 8:
        raise click.UsageError("--gguf is F16 or, with --quantize, Q8_0: leave out --bits 4.")
    if web is not None:
        _check_page(web, options)
    bundle_options = ExportOptions(out=out or Path(), **options)
    if out is not None:
        from tinylm.export.bundle import check_out

        check_out(out, overwrite)
    _export_for_others(gguf, huggingface, options)
    if out is not None:
        _export_bundle(bundle_options)
        if web is not None:
            _write_page(out, web, overwrite)
    elif web is not None:
        with temporary_folder(web.absolute().parent) as folder:
            _export_bundle(replace(bundle_options, out=folder / "bundle"), keep=False)
            _write_page(folder / "bundle", web, overwrite)


def _refuse_options_of_runs(web: Path) -> None:
    """Refuse what says how a run is exported, where there is a bundle already."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in {"run", "web", "overwrite"} and context.get_parameter_source(name) is not default:
            raise click.UsageError(f"A bundle goes into {printable(web)} as it is: leave out {parameter.opts[0]}.")


def _check_page(web: Path, options: dict[str, Any]) -> None:
    """Refuse what would fail only after the export."""
    from tinylm.runtime.web.writing import check_page

    if options["portable"]:
        raise click.UsageError("A page cannot run a model of --portable: leave out one of the two.")
    check_page(web, options["overwrite"])


def _write_page(bundle: Path | None, web: Path, overwrite: bool) -> None:
    """Write a page with a bundle in it; None: the demo model."""
    from tinylm.runtime.demo import DEMO_BUNDLE
    from tinylm.runtime.web.writing import is_file, write_page

    sizes = write_page(bundle or DEMO_BUNDLE, web, overwrite=overwrite)
    parts = ", ".join(f"{part} {size / 1e6:.1f}" for part, size in sizes.items())
    use = "Open it in a browser" if is_file(web) else "Put the folder on a web host"
    say(f"Page: {printable(web)} ({sum(sizes.values()) / 1e6:.1f} MB: {parts}). {use}.")


def _check_without_bundle(options: dict[str, Any]) -> None:
    """Refuse what is for bundles alone."""
    for name in ("portable", "genai", "limits"):
        if options[name]:
            raise click.UsageError(f"--{name.removesuffix('s')} is for a bundle: give --out too.")


def _export_for_others(gguf: Path | None, huggingface: Path | None, options: dict[str, Any]) -> None:
    shared = {name: options[name] for name in ("checkpoint", "context_length", "overwrite")}
    if gguf is not None:
        from tinylm.export.gguf_file import export_gguf

        export_gguf(options["run"], gguf, quantize=options["quantize"], **shared)
        say(f"GGUF: {gguf} ({gguf.stat().st_size / 1e6:.1f} MB), for llama.cpp and programs built on it")
    if huggingface is not None:
        from tinylm.export.huggingface import export_huggingface

        export_huggingface(options["run"], huggingface, **shared)
        say(f"Hugging Face: {huggingface} ({_megabytes(huggingface):.1f} MB), for transformers and others")


def _export_bundle(options: ExportOptions, keep: bool = True) -> None:
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
    if not keep:
        return
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
