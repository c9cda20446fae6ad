"""`lm-evaluation-harness`: multiple choice and perplexity by `local-completions`, and by its own Hugging Face back end.

Arguments: the server's address, a folder with the tasks' questions and documents (JSON Lines), the file for the scores,
and, where its own back end shall score the same, the model's Hugging Face folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import lm_eval
import requests
from lm_eval.tasks import TaskManager

DATA = """
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
metadata:
  version: 1
"""
TASKS = {
    "questions": """
task: questions
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
target_delimiter: " "
metric_list:
  - metric: acc
  - metric: acc_norm
""",
    "documents": """
task: documents
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: bits_per_byte
""",
}


def evaluate(
    back_end: str, arguments: dict[str, str | int], manager: TaskManager, for_documents: str = ""
) -> dict[str, Any]:
    """Run both tasks.

    Args:
        back_end: one of the harness's models.
        arguments: its arguments.
        manager: knows the tasks.
        for_documents: more arguments, where it scores documents.

    Returns:
        the metrics by name, and the log-likelihood of each choice and of each document.
    """
    results: dict[str, Any] = {}
    for task in TASKS:
        model_args = ",".join(f"{name}={value}" for name, value in arguments.items())
        evaluated = lm_eval.simple_evaluate(
            model=back_end,
            model_args=model_args + for_documents * (task == "documents"),
            device="cpu",
            tasks=[task],
            task_manager=manager,
            log_samples=True,
            bootstrap_iters=0,
        )
        metrics = evaluated["results"][task]
        results |= {name.removesuffix(",none"): value for name, value in metrics.items() if name.endswith(",none")}
        results[task] = [
            {"arguments": list(scored), "score": score}
            for sample in sorted(evaluated["samples"][task], key=lambda sample: sample["doc_id"])
            for scored, (score,) in zip(sample["arguments"], sample["resps"], strict=True)
        ]
    return results


def main() -> None:
    """Evaluate."""
    url, data, out, *folders = sys.argv[1:]
    model = requests.get(f"{url}/v1/models", timeout=60).json()["data"][0]
    # One less than the context: <bos> is put before a prompt
    length = model["context_length"] - 1
    with TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder
        for name, task in TASKS.items():
            (Path(folder) / f"{name}.yaml").write_text(task + DATA.format(file=Path(data) / f"{name}.jsonl"))
        manager = TaskManager(include_path=folder)
        served = {"model": model["id"], "base_url": f"{url}/v1/completions", "num_concurrent": 4, "max_length": length}
        results = {"server": evaluate("local-completions", served, manager)}
        for exported in folders:
            # It puts <bos> before documents by itself, once more if the tokenizer does
            arguments = {"pretrained": exported, "dtype": "float32"}
            results["hf"] = evaluate("hf", arguments, manager, for_documents=",add_bos_token=False")
    Path(out).write_text(json.dumps(results))


main()
