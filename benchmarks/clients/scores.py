"""The scores of `lm-evaluation-harness` through the server, beside those of the training model in torch."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

from tinylm.data.world.documents import training_documents
from tinylm.run_folder import RunFolder
from tinylm.tokenizer import Tokenizer
from tinylm.training.checkpoint import load_run_model
from tinylm.training.model import LanguageModel

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
        place = dice.randrange(1, min(4, len(sentences) - 1))
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


def compare(run: Path, scored: dict[str, Any], questions: Path) -> dict[str, float]:
    """How far the server's scores are from torch's.

    Args:
        run: whose best checkpoint was exported and served.
        scored: what `with_lm_eval.py` wrote.
        questions: that were asked.

    Returns:
        the largest relative deviation of a log-likelihood, that of their sum, the part of equal judgements of whether a
        choice is the greedy one, and the accuracy by both.
    """
    model, tokenizer, _ = load_run_model(RunFolder(run))
    expected = [_score(model.eval(), tokenizer, *one["arguments"]) for one in scored["scores"]]
    served = [(one["log_likelihood"], one["greedy"]) for one in scored["scores"]]
    deviations = [abs(a - b) / abs(b) for (a, _), (b, _) in zip(served, expected, strict=True)]
    labels = [json.loads(line)["label"] for line in questions.read_text().splitlines()]
    chances = [value for value, _ in expected]
    chosen = [chances[start : start + _CHOICES] for start in range(0, len(chances), _CHOICES)]
    right = [values.index(max(values)) == label for values, label in zip(chosen, labels, strict=True)]
    sums = [sum(value for value, _ in scores) for scores in (served, expected)]
    return {
        "largest_deviation": max(deviations),
        "deviation_of_sum": abs(sums[0] - sums[1]) / abs(sums[1]),
        "equally_greedy": sum(a == b for (_, a), (_, b) in zip(served, expected, strict=True)) / len(served),
        "accuracy": scored["acc"],
        "accuracy_torch": sum(right) / len(right),
        "log_likelihoods": len(served),
    }


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
