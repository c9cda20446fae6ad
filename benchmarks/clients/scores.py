"""The scores of `lm-evaluation-harness` through the server, beside those of the training model in torch and its own."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tinylm.data.world.documents import training_documents
from tinylm.run_folder import RunFolder
from tinylm.tokenizer import Tokenizer
from tinylm.training.checkpoint import load_run_model
from tinylm.training.model import LanguageModel

TOLERANCE = 1e-3
"""Of a log-likelihood, relative."""

_CHOICES = 4
_SEED = 7
"""Of texts that no run of the bundled world trains on: it uses other seeds."""


def write_questions(path: Path, count: int) -> None:
    """Write questions about the bundled world: which sentence comes next?

    Args:
        path: JSON Lines of `context`, `choices` and `label`.
        count: of questions.
    """
    dice = random.Random(_SEED)
    texts = [text.split(". ") for text in training_documents(4 * count, seed=_SEED)]
    texts = [sentences for sentences in texts if len(sentences) > 3]
    lines = []
    for number in range(count):
        sentences = texts[number]
        place = dice.randrange(1, 3)
        wrong = [dice.choice(other[:-1]) for other in dice.sample(texts, _CHOICES - 1)]
        choices = [*wrong, sentences[place]]
        dice.shuffle(choices)
        lines.append(
            {
                "context": ". ".join(sentences[:place]) + ".",
                "choices": [f"{choice}." for choice in choices],
                "label": choices.index(sentences[place]),
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_documents(path: Path, count: int, run: Path) -> None:
    """Write texts of the bundled world that fit into the context of a run's model, whole.

    Longer ones are parted, and then the back ends differ: the server's later parts begin with `<bos>`, too.

    Args:
        path: JSON Lines of `text`.
        count: of texts, at most.
        run: whose model is meant.
    """
    folder = RunFolder(run)
    tokenizer, context = folder.load_tokenizer(), folder.load_config().model.context_length
    texts = training_documents(2 * count, seed=_SEED)
    # What the harness scores at once: <bos> and a token that is generated have their places, and it keeps one free
    fitting = [text for text in texts if len(tokenizer.encode(text)) <= context - 3]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in fitting[:count]))


def compare(run: Path, scored: dict[str, Any], questions: Path) -> dict[str, float]:
    """How far the server's scores of choices are from torch's.

    Args:
        run: whose best checkpoint was exported and served.
        scored: what `with_lm_eval.py` wrote of the server.
        questions: that were asked.

    Returns:
        the largest relative deviation of a log-likelihood, that of their sum, the part of equal judgements of whether a
        choice is the greedy one, and the accuracy by both.
    """
    model, tokenizer, _ = load_run_model(RunFolder(run))
    expected = [_score(model.eval(), tokenizer, *one["arguments"]) for one in scored["questions"]]
    served = [one["score"] for one in scored["questions"]]
    labels = [json.loads(line)["label"] for line in questions.read_text().splitlines()]
    chances = [value for value, _ in expected]
    chosen = [chances[start : start + _CHOICES] for start in range(0, len(chances), _CHOICES)]
    right = [values.index(max(values)) == label for values, label in zip(chosen, labels, strict=True)]
    sums = [sum(value for value, _ in scores) for scores in (served, expected)]
    return {
        "largest_deviation": max(_deviations([value for value, _ in served], chances)),
        "deviation_of_sum": abs(sums[0] - sums[1]) / abs(sums[1]),
        "equally_greedy": sum(a == b for (_, a), (_, b) in zip(served, expected, strict=True)) / len(served),
        "accuracy": scored["acc"],
        "accuracy_torch": sum(right) / len(right),
        "log_likelihoods": len(served),
    }


def compare_back_ends(served: dict[str, Any], own: dict[str, Any]) -> dict[str, float]:
    """How far the harness's scores through the server are from those of its Hugging Face back end.

    Args:
        served: what `with_lm_eval.py` wrote of the server.
        own: and of the back end.

    Returns:
        the part of the log-likelihoods, of choices and of documents, that are equal but for `TOLERANCE`; their largest
        relative deviation; the part of the choices on which both agree whether it is the greedy one; and the metrics by
        both.

    Raises:
        RuntimeError: they scored other texts.
    """
    for task in ("questions", "documents"):
        if [one["arguments"] for one in served[task]] != [one["arguments"] for one in own[task]]:
            raise RuntimeError(f"{task}: the back ends scored other texts")
    values, greedy = [], []
    for scores in (served, own):
        choices = [one["score"] for one in scores["questions"]]
        values.append([value for value, _ in choices] + [one["score"] for one in scores["documents"]])
        greedy.append([is_greedy for _, is_greedy in choices])
    deviations = _deviations(*values)
    return {
        "scores_equal": sum(deviation <= TOLERANCE for deviation in deviations) / len(deviations),
        "largest_deviation_hf": max(deviations),
        "equally_greedy_hf": sum(a == b for a, b in zip(*greedy, strict=True)) / len(greedy[0]),
        "accuracy": served["acc"],
        "accuracy_hf": own["acc"],
        "accuracy_norm": served["acc_norm"],
        "accuracy_norm_hf": own["acc_norm"],
        "bits_per_byte": served["bits_per_byte"],
        "bits_per_byte_hf": own["bits_per_byte"],
        "documents": len(served["documents"]),
    }


def check(figures: dict[str, float]) -> None:
    """Refuse scores that are not those of torch, or of the Hugging Face back end.

    Args:
        figures: of `compare`, and of `compare_back_ends` where it was called.

    Raises:
        RuntimeError: a log-likelihood, or a metric, differs by more than `TOLERANCE`.
    """
    off = [name for name in ("largest_deviation", "largest_deviation_hf") if figures.get(name, 0) > TOLERANCE]
    for name, other in (
        ("accuracy", "accuracy_torch"),
        ("accuracy", "accuracy_hf"),
        ("accuracy_norm", "accuracy_norm_hf"),
        ("bits_per_byte", "bits_per_byte_hf"),
    ):
        if other in figures and abs(figures[name] - figures[other]) > TOLERANCE * figures[other]:
            off.append(other)
    if off:
        raise RuntimeError("the scores differ: " + ", ".join(f"{name} {figures[name]:.6g}" for name in off))


def _deviations(values: Sequence[float], expected: Sequence[float]) -> list[float]:
    """Relative, of log-likelihoods: none of them is 0."""
    return [abs(value - other) / abs(other) for value, other in zip(values, expected, strict=True)]


@torch.no_grad()
def _score(model: LanguageModel, tokenizer: Tokenizer, context: str, continuation: str) -> tuple[float, bool]:
    """The log-likelihood of a continuation and whether it is greedy, as the harness splits the two into tokens."""
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before, whole = tokenizer.encode(context), tokenizer.encode(context + continuation)
    ids = torch.tensor([[tokenizer.bos_id, *whole]])
    logits = model(ids)[0].double().log_softmax(-1)
    places = range(len(before), len(whole))
    score = sum(float(logits[place, whole[place]]) for place in places)
    return score, all(int(logits[place].argmax()) == whole[place] for place in places)
