"""TinyLM: your own text and chats in, a chat model on a Raspberry Pi out.

This folder is the core, which every other part may import. It needs neither torch nor onnx; reply_quality.py and
suite_scoring.py use the runtime, and measured_model.py and quality.py are on top of the other parts.

Files:
    chat_format.py     a conversation as token ids and a loss mask
    config.py          every hyperparameter, validated
    model_config.py    the shape of the model, validated
    config_messages.py one-line messages for mistakes in a configuration
    copied_runs.py     runs of words that texts share with others
    errors.py          the errors that a user can cause
    evaluation.py      held-out windows, loss and bits per byte
    file_lock.py       a lock for what several processes may change
    files.py           atomic writes of files and folders
    installation.py    how TinyLM was installed, and how to add an extra
    manifest.py        a bundle's manifest and its hashes
    printable.py       text that every stream, file and JSON parser takes
    processors.py      cores and threads that this process may use
    provenance.py      what a run was trained on
    repetition.py      how much of a text is repetition
    reply_ranking.py   hits@1 of 10: tasks and baselines
    run_folder.py      a run's folder and the state of its checkpoints
    run_log.py         metrics.jsonl: the log of a run
    signatures.py      functions that take the fields of a dataclass
    user_cache.py      disposable key-value cache in the user's cache folder
    words.py           words of a text
    reply_quality.py   how good a model's replies are
    suite_scoring.py   accuracy on a suite of items
    measured_model.py  a run or a bundle, opened to be measured
    quality.py         `evaluate`: the quality of a run or a bundle
    __main__.py        `python -m tinylm`
    tokenizer/         text to token ids and back
    importing/         pre-trained models become runs
    training/          the model and its training, with torch
    report/            the report of a run
"""

import os
import sys
import warnings
from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "cli" / "main.py").is_file():
    # In the source tree the folders beside this one are its subpackages, so that one version is imported, never two
    __path__.append(str(_root))

# onnxruntime reads this once, while it is imported; without it, it writes a device id below the user's cache folder and
# reports to its maker. Python runs this file before any module of TinyLM, so here it is early enough in every program
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
if "onnxruntime" in sys.modules and os.environ.get(_NO_TELEMETRY, "").lower() not in {"1", "true", "yes", "on"}:
    warnings.warn(
        f"onnxruntime was imported before tinylm, and so its telemetry is on: import tinylm first, or set "
        f"{_NO_TELEMETRY}=1 before the program starts",
        RuntimeWarning,
        stacklevel=2,
    )
os.environ[_NO_TELEMETRY] = "1"
