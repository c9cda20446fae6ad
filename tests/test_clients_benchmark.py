"""What `python -m benchmarks.clients` makes of the clients' scores; the server's beside those of transformers."""

from __future__ import annotations

import copy
import importlib
import json
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import pytest
import torch
import transformers

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def clients():
    """The package's modules by name."""
    sys.path.insert(0, str(ROOT))
    try:
        yield {name: importlib.import_module(f"benchmarks.clients.{name}") for name in ("__main__", "scores")}
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def scores(clients):
    return clients["scores"]


@pytest.fixture(scope="module")
def exports(make_run, must, tmp_path_factory):
    """A llama run, its bundle in fp32 and its Hugging Face folder."""
    folder = tmp_path_factory.mktemp("exports")
    # Room for questions of some hundred characters, which are nearly as many tokens of so small a vocabulary
    run = make_run(folder / "run", steps=16, model_arch="llama", model_context_length=640)
    must("export", run, "--out", folder / "fp32", "--huggingface", folder / "huggingface")
    return run, folder / "fp32", folder / "huggingface"


class Served:
    """Log-likelihoods through the server, asked for as `local-completions` does."""

    def __init__(self, http):
        self.http = http

    def encode(self, text):
        return self.http.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()["tokens"]

    def score(self, before, after):
        body = {"prompt": before + after, "temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": True}
        choice = self.http.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
        values, tops = (choice[name][len(before) : -1] for name in ("token_logprobs", "top_logprobs"))
        return sum(values), all(value == max(top.values()) for value, top in zip(values, tops, strict=True))


class Transformers:
    """The same as the `hf` back end computes it."""

    def __init__(self, folder):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    @torch.no_grad()
    def score(self, before, after):
        if before[:1] != [self.tokenizer.bos_token_id]:
            before = [self.tokenizer.bos_token_id, *before]
        rows = self.model(torch.tensor([before + after])).logits[0, len(before) - 1 : -1].log_softmax(-1)
        chosen = rows.gather(1, torch.tensor(after)[:, None])
        return float(chosen.sum()), rows.argmax(-1).tolist() == after


def scored_by(back_end, questions, documents):
    """What `with_lm_eval.py` writes of a back end."""
    result = {"questions": [], "documents": [], "bits_per_byte": 0.0}
    right = 0
    for question in map(json.loads, questions.read_text().splitlines()):
        values = []
        for choice in question["choices"]:
            before = back_end.encode(question["context"])
            after = back_end.encode(f"{question['context']} {choice}")[len(before) :]
            score = back_end.score(before, after)
            values.append(score[0])
            result["questions"].append({"arguments": [question["context"], f" {choice}"], "score": list(score)})
        right += values.index(max(values)) == question["label"]
    result["acc"] = result["acc_norm"] = right / len(questions.read_text().splitlines())
    for document in map(json.loads, documents.read_text().splitlines()):
        value, _ = back_end.score([1], back_end.encode(document["text"]))
        result["documents"].append({"arguments": [document["text"]], "score": value})
    return result


@pytest.fixture(scope="module")
def scored(scores, exports, start_server, tmp_path_factory):
    """Questions, and what both back ends make of them and of documents."""
    run, bundle, folder = exports
    data = tmp_path_factory.mktemp("data")
    questions, documents = data / "questions.jsonl", data / "documents.jsonl"
    scores.write_questions(questions, 8)
    scores.write_documents(documents, 3, run)
    with start_server(bundle) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        served = scored_by(Served(http), questions, documents)
    return questions, documents, served, scored_by(Transformers(folder), questions, documents)


def test_the_server_scores_a_llama_model_as_torch_and_transformers_do(scores, exports, scored):
    questions, documents, served, own = scored
    assert len(documents.read_text().splitlines()) == 3
    figures = scores.compare(exports[0], served, questions) | scores.compare_back_ends(served, own)
    assert figures["log_likelihoods"] == 32
    assert figures["largest_deviation"] < 1e-5
    assert figures["largest_deviation_hf"] < 1e-5
    assert figures["scores_equal"] == figures["equally_greedy"] == figures["equally_greedy_hf"] == 1
    scores.check(figures)


def test_scores_that_differ_are_told(scores, scored):
    _, _, served, own = scored
    other = copy.deepcopy(own)
    other["documents"][0]["score"] *= 1.01
    figures = scores.compare_back_ends(served, other)
    assert figures["scores_equal"] == pytest.approx(34 / 35)
    with pytest.raises(RuntimeError, match=r"^the scores differ: largest_deviation_hf 0\.0099"):
        scores.check(figures)
    figures = scores.compare_back_ends(served, {**own, "acc_norm": own["acc_norm"] + 0.125})
    with pytest.raises(RuntimeError, match=r"accuracy_norm_hf"):
        scores.check(figures)


def test_scores_of_other_texts_are_not_compared(scores, scored):
    _, _, served, own = scored
    with pytest.raises(RuntimeError, match="documents: the back ends scored other texts"):
        scores.compare_back_ends(served, {**own, "documents": own["documents"][1:]})


def test_documents_fit_into_the_context(scores, make_run, tmp_path):
    run = make_run(tmp_path / "run", steps=1, finetune=False, model_context_length=512)
    scores.write_documents(tmp_path / "documents.jsonl", 20, run)
    with (tmp_path / "documents.jsonl").open() as lines:
        texts = [json.loads(line)["text"] for line in lines]
    tokenizer = scores.RunFolder(run).load_tokenizer()
    assert texts
    assert max(len(tokenizer.encode(text)) for text in texts) <= 512 - 3


def test_an_environment_finds_torch_behind_its_own_packages(clients, tmp_path):
    venv.create(tmp_path / "environment")
    clients["__main__"].share_packages(tmp_path / "environment")
    programs = clients["__main__"].Environments(tmp_path).programs("environment")
    code = "import importlib.util, sys; print(importlib.util.find_spec('torch').origin); print(sys.path[-1])"
    done = subprocess.run([programs / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [torch.__file__, str(Path(torch.__file__).parents[1])]
