"""Training with torch: the model, the recipe, the loop and its checkpoints.

Public names: `train`, `TrainedRun`, `TrainingCallback`, `StepReport`, `TrainingSample`.

Files:
    pipeline.py            from files and a configuration to a trained run
    trained_run.py         the value of `train`
    options.py             the arguments of `train`, and the configuration that they ask for
    initial_run.py         the run that a training starts from
    model.py               the Transformer
    dropout.py             dropout that is fast on CPUs
    trained_weights.py     which weights are trained
    lora.py                low-rank adapters on the matrices of the blocks
    kv_cache.py            keys and values of the tokens before, for inference
    loss.py                forward and backward pass, chunked fused linear cross-entropy
    optimizer.py           parameter groups, AdamW
    muon.py                Muon for many matrices at once
    trainer.py             the training loop of both stages
    callbacks.py           training callbacks
    progress.py            progress of a training, printed as lines
    reply_measurement.py   the replies of a run when its training ends
    run_report.py          the callback that logs the end and writes the report
    stopping.py            graceful shutdown on SIGINT, SIGTERM and SIGHUP
    divergence.py          detection of a NaN or exploding loss
    window_losses.py       loss on held-out windows
    torch_decoder.py       the model as a decoder for the runtime's generation loop
    samples.py             samples generated during training
    checkpoint.py          safetensors checkpoints, vocabulary matching
    checkpoint_history.py  earlier checkpoints: keep, delete, go back to
    run_lock.py            one training process a run folder
    distributed.py         several processes: DDP and FSDP2
    autosize.py            from a time budget and data to a configuration
    pretrained_plan.py     how a pre-trained model is trained that is much larger than time and data
    speed.py               how fast this machine trains models of any size
    step_budget.py         the budget, steps or time, divided among the stages
    stage.py               what a stage learns from and is measured on
    schedule.py            number of steps and learning rate of a stage, and new plans for them
    pace.py                which schedule is in force, and when it is replaced
    threads.py             number of CPU threads beside other programs
    openmp.py              how long waiting threads spin
    step_timer.py          losses and speed of recent steps
    mfu.py                 model FLOPs utilization
    memory.py              memory that training takes, detection of too little
    hardware.py            device, precision and compilation
    tensorboard.py         curves for TensorBoard
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinylm.training.openmp import limit_spinning

if TYPE_CHECKING:
    from tinylm.training.callbacks import StepReport, TrainingCallback, TrainingSample
    from tinylm.training.pipeline import train
    from tinylm.training.trained_run import TrainedRun

__all__ = ["StepReport", "TrainedRun", "TrainingCallback", "TrainingSample", "train"]

limit_spinning()

_MODULES = {
    "StepReport": "callbacks",
    "TrainedRun": "trained_run",
    "TrainingCallback": "callbacks",
    "TrainingSample": "callbacks",
    "train": "pipeline",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds, and the command line needs some modules of this package without it
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
