"""`tinylm train`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from tinylm.cli.console import print_toml, say
from tinylm.cli.options import FILE, FOLDER, NumberRange, reading_options
from tinylm.printable import command_line
from tinylm.signatures import takes_fields_of
from tinylm.training.options import TrainingOptions, requested_config, require_data


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainingOptions):
    """The options of `tinylm train`: those of `train`, and `--show-config`."""

    progress: bool = False
    show_config: bool = False


@click.command("train")
@click.option(
    "--pretrain",
    multiple=True,
    metavar="PATH[=WEIGHT]",
    help="Raw text for stage 1: a file, a folder or a quoted glob. Seen WEIGHT times as often, as in notes.txt=2. "
    "Repeatable.",
)
@click.option(
    "--finetune", multiple=True, metavar="PATH[=WEIGHT]", help="Conversations for stage 2, likewise. Repeatable."
)
@click.option("--out", type=FOLDER, help="The run's folder.  [default: runs/<date>-<time>]")
@click.option("--config", type=FILE, help="A TOML file of hyperparameters.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="One hyperparameter. Repeatable.")
@click.option("--steps", type=click.IntRange(min=1), help="Budget: optimizer steps, both stages together.")
@click.option(
    "--minutes",
    type=NumberRange(min=0, min_open=True),
    help="Budget: wall clock of this whole command, tokenizer and validation included.",
)
@click.option(
    "--device-tokens-per-second",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Speed of the demo model where the model will run, as `tinylm bench` shows it there. Of about equally good "
    "sizes, the fastest there is chosen.",
)
@click.option("--init", type=FOLDER, help="Start from another run's weights and tokenizer.")
@click.option(
    "--new-tokenizer",
    is_flag=True,
    help="With --init: train a new tokenizer on the data, and match the weights' rows by piece.",
)
@reading_options
@click.option("--resume", type=FOLDER, help="Continue a run that was stopped.")
@click.option("--tensorboard", is_flag=True, help="Also write event files for TensorBoard into the run's folder.")
@click.option("--show-config", is_flag=True, help="Print the configuration with every default, and exit.")
@takes_fields_of(TrainCommand)
def command(options: TrainCommand) -> None:
    """Train a model: pre-training on raw text, then fine-tuning on conversations; either alone works too."""
    if options.resume is None:
        # Checked before torch is imported, which takes seconds
        config, _ = requested_config(options)
        if options.show_config:
            from tinylm.config import config_to_toml

            print_toml(config_to_toml(config))
            return
        require_data(config)
    from tinylm.cli.display.progress import progress_display
    from tinylm.training.pipeline import run_training

    try:
        run = run_training(options, progress_display())
    except KeyboardInterrupt:
        raise SystemExit(1) from None
    if not run.finished:
        say(f"Stopped and saved after {run.state.stage} step {run.state.step:,}. Continue with:")
        say(f"  {command_line('tinylm', 'train', '--resume', run.path)}")
        raise SystemExit(1)
    say(f"Done in {run.state.seconds / 60:.1f} minutes of training. Curves, samples and advice: {run.folder.report}")
    say("Next:")
    say(f"  {command_line('tinylm', 'export', run.path, '--quantize', '--out', 'BUNDLE')}")
