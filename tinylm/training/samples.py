"""Samples of a model in training, for the display and for the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinylm.config import TrainConfig
    from tinylm.run_folder import StageName
    from tinylm.tokenizer import Tokenizer
    from tinylm.training.callbacks import Sample
    from tinylm.training.model import LanguageModel

# Words of our own: a report that is shown around quotes nobody's conversations
QUESTIONS = ("Hello! Who are you?",)
OPENINGS = ("",)


class Sampler:
    """Lets a model in training speak; what goes wrong is said once, and never stops the training.

    Args:
        settings: prompts, length and seed.
        model: in training; in evaluation mode while it is asked.
        tokenizer: of the model.
        notify: told what went wrong.
    """

    def __init__(
        self, settings: TrainConfig, model: LanguageModel, tokenizer: Tokenizer, notify: Callable[[str], None]
    ) -> None:
        # Here, where it takes no time of training
        import tinylm.runtime.generation
        import tinylm.training.torch_decoder  # noqa: F401

        self._settings, self._model, self._tokenizer, self._notify = settings, model, tokenizer, notify
        self._failed = settings.sample_tokens == 0

    def __call__(self, stage: StageName) -> list[Sample]:
        """A sample for each prompt; none where sampling does not work."""
        from tinylm.training.callbacks import Sample

        own = QUESTIONS if stage == "finetune" else OPENINGS
        samples: list[Sample] = []
        for prompt in self._settings.sample_prompts or own:
            if self._failed:
                break
            try:
                samples.append(Sample(prompt, self._say(stage, prompt)))
            except Exception as error:  # noqa: BLE001 - hours of training are worth more than a look at it
                self._failed = True
                self._notify(f"no more samples in this run: {' '.join(str(error).split()) or type(error).__name__}")
        return samples

    def _say(self, stage: StageName, prompt: str) -> str:
        from tinylm.chat_format import encode_prompt, encode_text_prompt
        from tinylm.runtime.generation import Generation
        from tinylm.runtime.sampling import SamplingOptions, TokenSampler
        from tinylm.training.torch_decoder import TorchDecoder

        tokenizer, decoder = self._tokenizer, TorchDecoder(self._model)
        if stage == "finetune":
            ids = encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
        else:
            ids = encode_text_prompt(tokenizer, prompt)
        # Numbers of its own: those of training stay as they are
        options = SamplingOptions(seed=self._settings.seed, max_new_tokens=self._settings.sample_tokens)
        return "".join(Generation(decoder, tokenizer, ids, TokenSampler.of(tokenizer, options)))
