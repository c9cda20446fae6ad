"""Training with torch: the model, the recipe, the loop and its checkpoints.

Files:
    model.py               the Transformer
    loss.py                forward and backward pass in the wanted precision
    cross_entropy.py       chunked fused linear cross-entropy
    optimizer.py           parameter groups, learning-rate schedule, AdamW
    muon.py                Muon for many matrices at once
    trainer.py             the training loop of both stages
    callbacks.py           training callbacks
    divergence.py          detection of a NaN or exploding loss
    window_losses.py       loss on held-out windows
    torch_decoder.py       the model as a decoder for the runtime's generation loop
    samples.py             samples generated during training
    checkpoint.py          safetensors checkpoints, vocabulary matching
    checkpoint_history.py  earlier checkpoints: keep, delete, go back to
    run_lock.py            one training process a run folder
    distributed.py         several processes: DDP and FSDP2
    autosize.py            from a time budget and data to a configuration
    step_budget.py         from a time budget to a number of steps
    step_timer.py          losses and speed of recent steps
    mfu.py                 model FLOPs utilization
    hardware.py            device, precision and compilation
    tensorboard.py         curves for TensorBoard
"""
