"""Train what counting.py has, as one of the processes that torchrun starts: ranks.py FOLDER KEY=VALUE…"""

import json
import sys
from pathlib import Path

import torch
from counting import config_of, make_model, make_trainer, stages_of

from tinylm.run_folder import RunFolder, load_state
from tinylm.training.distributed import start_ranks
from tinylm.training.trained_weights import prepare_model

path = Path(sys.argv[1])
values = {key: json.loads(value) for key, _, value in (argument.partition("=") for argument in sys.argv[2:])}
stop_after = values.pop("stop_after", None)
resume = values.pop("resume", False)
torch.set_num_threads(1)
with start_ranks() as ranks:
    config = config_of(**values)
    # Weights of the other processes are other ones until they are sent those of the first
    model = make_model(config, seed=ranks.rank)
    prepare_model(model, config.train)
    state = None
    if resume:
        from tinylm.training.checkpoint import load_parameters

        load_parameters(RunFolder(path).checkpoint("last"), model, ranks)
        state = ranks.from_main(lambda: load_state(RunFolder(path).checkpoint("last")))
    taken = 0

    def should_stop():
        global taken
        taken += 1
        # Only one process is asked to
        return ranks.rank == ranks.size - 1 and taken == stop_after

    trainer = make_trainer(
        path,
        config,
        stages=stages_of("pretrain", "finetune"),
        model=model,
        state=state,
        ranks=ranks,
        should_stop=should_stop,
    )
    trainer.train()
