"""Log-probabilities of tokens, beside those of the training model."""

import numpy as np
import pytest
import torch

from tinylm.evaluation import Window
from tinylm.runtime import ChatModel, Generation, SamplingOptions
from tinylm.runtime.logprobs import LogprobRecorder, log_softmax
from tinylm.runtime.sampling import TokenSampler
from tinylm.runtime.scoring import decode_logits


@pytest.fixture(scope="module")
def model(bundles):
    return ChatModel(bundles["modern", "fp32"], threads=1)


def generate(model, prompt, recorder, **options):
    tokenizer = model.tokenizer
    sampler = TokenSampler(SamplingOptions(**{"seed": 1, "max_new_tokens": 12, **options}), tokenizer.never_sampled)
    generation = Generation(model.session, tokenizer, prompt, sampler, logprobs=recorder)
    pieces = [(piece, len(generation.certain_logprobs)) for piece in generation.steps()]
    return generation, pieces


def prompt_of(model, text="Pip lives in the garden."):
    return [model.tokenizer.bos_id, *model.tokenizer.encode(text)]


def test_log_softmax_is_that_of_torch():
    logits = np.random.default_rng(0).normal(0, 20, 500).astype(np.float32)
    expected = torch.log_softmax(torch.from_numpy(logits).double(), 0).numpy()
    np.testing.assert_allclose(log_softmax(logits), expected, atol=1e-12)


def test_the_reply_has_the_model_s_own_probabilities_whatever_the_sampling(model):
    prompt = prompt_of(model)
    recorder = LogprobRecorder(alternatives=3)
    options = {"temperature": 1.7, "top_k": 5, "logit_bias": {40: 3.0}, "presence_penalty": 1.0}
    generation, _ = generate(model, prompt, recorder, **options)
    ids = [*prompt, *generation.result.ids]
    rows = decode_logits(model.session, Window(np.array(ids[:-1]), np.array(ids[1:])))[len(prompt) - 1 :]
    assert [entry.id for entry in recorder.reply] == generation.result.ids
    for entry, row in zip(recorder.reply, rows, strict=True):
        expected = log_softmax(row)
        # The prompt came in a chunk there, and one by one here
        assert entry.logprob == pytest.approx(expected[entry.id], abs=1e-4)
        assert [id_ for id_, _ in entry.top] == np.argsort(-expected)[:3].tolist()
        assert [logprob for _, logprob in entry.top] == sorted((logprob for _, logprob in entry.top), reverse=True)


def test_a_scored_prompt_has_the_probabilities_of_the_decode_path_to_the_bit(model):
    prompt = prompt_of(model)
    model.session.append(prompt)  # nothing of it is reused
    recorder = LogprobRecorder(1, with_prompt=True)
    generate(model, prompt, recorder)
    assert [entry.id for entry in recorder.prompt] == prompt
    assert recorder.prompt[0].logprob is None
    rows = decode_logits(model.session, Window(np.array(prompt[:-1]), np.array(prompt[1:])))
    assert [entry.logprob for entry in recorder.prompt[1:]] == [
        float(log_softmax(row)[id_]) for row, id_ in zip(rows, prompt[1:], strict=True)
    ]


def test_recording_changes_no_reply(model):
    plain, _ = generate(model, prompt_of(model), None, temperature=1.2)
    recorded, _ = generate(model, prompt_of(model), LogprobRecorder(2), temperature=1.2)
    assert plain.result.ids == recorded.result.ids
    assert plain.certain_logprobs == ()


def test_tokens_are_certain_once_their_text_has_come(model):
    options = {"temperature": 1.5, "logit_bias": {model.tokenizer.eos_id: -100}, "max_new_tokens": 24}
    whole, _ = generate(model, prompt_of(model), LogprobRecorder(), **options)
    text = whole.result.reply
    stop = text[-3:]
    assert text.index(stop) > 10
    recorder = LogprobRecorder()
    stopped, steps = generate(model, prompt_of(model), recorder, **options, stop=[stop])
    assert stopped.result.finish_reason == "stop"
    decode = model.tokenizer.decode
    said = ""
    for piece, certain in steps:
        said += piece
        assert said.startswith(decode([entry.id for entry in recorder.reply[:certain]]))
    assert text[: text.index(stop)].startswith(decode([entry.id for entry in stopped.certain_logprobs]))
    assert len(stopped.certain_logprobs) >= steps[-1][1] > 0


def test_more_alternatives_than_there_are_and_wrong_numbers():
    recorder = LogprobRecorder(20)
    recorder.add(1, log_softmax(np.array([0.0, 1.0, 1.0], np.float32)))
    assert [id_ for id_, _ in recorder.reply[0].top] == [1, 2, 0]
    for wrong in (-1, 21):
        with pytest.raises(ValueError, match="alternatives"):
            LogprobRecorder(wrong)
