"""`lm-evaluation-harness` with its `local-completions`: multiple choice by log-likelihood.

Arguments: the server's address, the task's questions (JSON Lines), the file for the scores.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import lm_eval
import requests
from lm_eval.tasks import TaskManager

TASK = """
task: next_sentence
dataset_path: json
dataset_kwargs:
  data_files:
    test: {questions}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
target_delimiter: " "
metric_list:
  - metric: acc
  - metric: acc_norm
metadata:
  version: 1
"""


def main() -> None:
    """Evaluate."""
    url, questions, out = sys.argv[1:]
    model = requests.get(f"{url}/v1/models", timeout=60).json()["data"][0]
    with TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder
        (Path(folder) / "next_sentence.yaml").write_text(TASK.format(questions=questions))
        evaluated = lm_eval.simple_evaluate(
            model="local-completions",
            model_args=f"model={model['id']},base_url={url}/v1/completions,num_concurrent=4,max_length={model['context_length']}",
            tasks=["next_sentence"],
            task_manager=TaskManager(include_path=folder),
            log_samples=True,
            bootstrap_iters=0,
        )
    scores = [
        {"arguments": list(arguments), "log_likelihood": score, "greedy": greedy}
        for sample in evaluated["samples"]["next_sentence"]
        for arguments, ((score, greedy),) in zip(sample["arguments"], sample["resps"], strict=True)
    ]
    results = evaluated["results"]["next_sentence"]
    Path(out).write_text(
        json.dumps({"acc": results["acc,none"], "acc_norm": results["acc_norm,none"], "scores": scores})
    )


main()
