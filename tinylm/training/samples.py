"""Generate samples during training, for the display and the report."""

from __future__ import annotations

from collections.abc import Callable

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.config import TrainConfig
from tinylm.run_folder import StageName
from tinylm.runtime.generation import Generation
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.tokenizer import Tokenizer
from tinylm.training.callbacks import TrainingSample
from tinylm.training.model import LanguageModel
from tinylm.training.torch_decoder import TorchDecoder

# Not from the user's data: a report that is passed around must not quote private conversations
QUESTIONS = ("Hello! Who are you?",)
OPENINGS = ("",)


class SampleGenerator:
    """Generates a sample for each prompt. An error ends the samples with one warning, and never the training.

    Args:
        settings: prompts, length and seed of the samples.
        model: the model in training; the caller sets it to evaluation mode.
        tokenizer: the model's tokenizer.
        warn: receives the error.
    """

    def __init__(
        self, settings: TrainConfig, model: LanguageModel, tokenizer: Tokenizer, warn: Callable[[str], None]
    ) -> None:
        self._settings, self._model, self._tokenizer, self._warn = settings, model, tokenizer, warn
        self._failed = settings.sample_tokens == 0

    def __call__(self, stage: StageName) -> list[TrainingSample]:
        """Generate a sample for each prompt; none after an error."""
        own = QUESTIONS if stage == "finetune" else OPENINGS
        samples: list[TrainingSample] = []
        for prompt in self._settings.sample_prompts or own:
            if self._failed:
                break
            try:
                samples.append(TrainingSample(prompt, self._generate(stage, prompt)))
            except Exception as error:  # noqa: BLE001 - samples must not end hours of training
                self._failed = True
                self._warn(f"no more samples in this run: {' '.join(str(error).split()) or type(error).__name__}")
        return samples

    def _generate(self, stage: StageName, prompt: str) -> str:
        tokenizer, decoder = self._tokenizer, TorchDecoder(self._model)
        if stage == "finetune":
            ids = encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
        else:
            ids = encode_text_prompt(tokenizer, prompt)
        # A generator of its own: the random numbers of training stay as they are
        options = SamplingOptions(seed=self._settings.seed, max_new_tokens=self._settings.sample_tokens)
        return "".join(Generation(decoder, tokenizer, ids, TokenSampler.of(tokenizer, options)))
