"""The gate: compare torch, the fp32 ONNX graph and the bundle's graphs on the same text before a bundle is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.errors import ConfigError, TinyLMError
from tinylm.evaluation import (
    IGNORED,
    Score,
    TokenSequences,
    Window,
    make_windows,
    negative_log_likelihood,
    score,
    spread_order,
)
from tinylm.manifest import GateFigures
from tinylm.run_folder import RunFolder, StageName
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.scoring import decode_logits
from tinylm.runtime.session import Session
from tinylm.tokenizer import Tokenizer
from tinylm.training.model import LanguageModel

POSITIONS = 4096
"""Fewest positions that are compared."""

MOST_POSITIONS = 65_536
"""Most positions that are compared to measure the quality loss precisely enough, of a model up to `_SMALL`."""

_SMALL = 10_000_000
"""Parameters; a larger model is compared at fewer positions, as each takes longer."""

_STANDARD_ERROR_PERCENT = 0.03
_PREFIXES = 1024
_PREFIX_TOKENS = 65_536
_GREEDY_TOKENS = 64
# In a window; a long context would take hours to fill
_MOST_SAMPLED = 1024


@dataclass(frozen=True)
class GateLimits:
    """Limits of the figures of the same names.

    Attributes:
        quality_loss_percent: most bits per byte above torch's, in percent.
        fp32_logit_difference: largest difference between the logits of the fp32 graph and torch's.
        greedy_agreement: lowest share of positions at which the graph's most likely token is torch's.
        prefill_agreement: lowest share of prefixes after which prefill and decode have the same most likely token.
    """

    quality_loss_percent: float = 0.2
    fp32_logit_difference: float = 5e-4
    greedy_agreement: float = 0.95
    prefill_agreement: float = 0.95

    @classmethod
    def parse(cls, settings: Sequence[str] | Mapping[str, float], bits: int = 8) -> GateLimits:
        """Read limits from `name=value` settings, or from values by name.

        Args:
            settings: as given with `--limit`.
            bits: of a weight; at 4, the default limits are wider.

        Raises:
            ConfigError: a name is unknown or a value is not a number.
        """
        known = [limit.name for limit in fields(cls)]
        values = {"quality_loss_percent": 5.0, "greedy_agreement": 0.85} if bits == 4 else {}
        if isinstance(settings, Mapping):
            settings = [f"{name}={value}" for name, value in settings.items()]
        for setting in settings:
            name, _, text = setting.partition("=")
            if name not in known:
                raise ConfigError(f"--limit {setting}: known are {', '.join(known)}")
            try:
                values[name] = float(text)
            except ValueError:
                values[name] = math.nan
            if math.isnan(values[name]):
                raise ConfigError(f"--limit {setting}: not a number")
        return cls(**values)


@dataclass
class _Comparison:
    """Sums over the windows that a session of the bundle was compared on."""

    session: Session
    nll: dict[str, float] = field(default_factory=lambda: {"torch": 0.0, "fp32": 0.0, "bundle": 0.0})
    differences: dict[str, float] = field(default_factory=lambda: {"fp32": 0.0, "bundle": 0.0})
    positions: int = 0
    agreed: int = 0
    costs: list[float] = field(default_factory=list)

    @property
    def standard_error_percent(self) -> float:
        """Standard error of the quality loss, in percent."""
        return 100 * _standard_error_of_sum(self.costs) / max(self.nll["torch"], 1e-9)

    @property
    def is_done(self) -> bool:
        """Whether the quality loss is measured precisely enough.

        If the model predicts nearly every token with certainty, a few thousand positions are too few.
        """
        return self.positions >= POSITIONS and self.standard_error_percent <= _STANDARD_ERROR_PERCENT

    def add(self, window: Window, logits: Mapping[str, NDArray[np.float32]]) -> None:
        """Add a window.

        Args:
            window: the text.
            logits: at each of its positions, of torch, of the fp32 graph and of the bundle's.
        """
        reference, own = logits["torch"], logits["bundle"]
        before = self.nll["bundle"] - self.nll["torch"]
        for name, found in logits.items():
            self.nll[name] += negative_log_likelihood(found, window.targets)
        for name in self.differences:
            difference = float(np.abs(logits[name] - reference).max())
            self.differences[name] = max(self.differences[name], difference)
        counted = window.targets != IGNORED
        self.agreed += int((own.argmax(-1) == reference.argmax(-1))[counted].sum())
        self.positions += int(counted.sum())
        self.costs.append(self.nll["bundle"] - self.nll["torch"] - before)

    def figures(
        self, windows: Sequence[Window], sampled_positions: int, byte_lengths: NDArray[np.int64], cache_agreement: bool
    ) -> GateFigures:
        """Compute the figures; the arguments are those of `run_gate`."""
        windows = windows[: len(self.costs)]
        prefill_agreement, prefill_difference = _prefill_against_decode(self.session, windows)

        def total(name: str) -> Score:
            return score(lambda _: self.nll[name], windows, byte_lengths)

        by_torch, by_bundle = total("torch"), total("bundle")
        return GateFigures(
            positions=self.positions,
            sampled_positions=sampled_positions,
            torch_bits_per_byte=by_torch.bits_per_byte,
            fp32_bits_per_byte=total("fp32").bits_per_byte,
            bits_per_byte=by_bundle.bits_per_byte,
            quality_loss_standard_error=self.standard_error_percent,
            quality_loss_percent=100 * (by_bundle.nll / max(by_torch.nll, 1e-9) - 1),
            fp32_logit_difference=self.differences["fp32"],
            logit_difference=self.differences["bundle"],
            greedy_agreement=self.agreed / max(self.positions, 1),
            prefill_agreement=prefill_agreement,
            prefill_logit_difference=prefill_difference,
            cache_agreement=cache_agreement,
            torch_loss=by_torch.loss,
            loss=by_bundle.loss,
        )


def run_gate(
    model: LanguageModel,
    fp32: Session,
    sessions: Sequence[Session],
    windows: Sequence[Window],
    sampled_positions: int,
    byte_lengths: NDArray[np.int64],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[GateFigures]:
    """Compare graphs with torch, window by window; torch and the fp32 graph compute each window once.

    Args:
        model: in evaluation mode, in fp32.
        fp32: the fp32 graph.
        sessions: of the graphs that the bundle will hold; one may be `fp32` itself.
        windows: held-out text. All sessions see the first `POSITIONS` positions or more; further ones until the
            standard error of the quality loss is at most 0.03 percent.
        sampled_positions: see `GateFigures`.
        byte_lengths: bytes of text of each token id.
        progress: receives the positions compared and how many there are.

    Returns:
        the figures of each session.
    """
    comparisons = [_Comparison(session) for session in sessions]
    positions = 0
    for window in windows:
        unfinished = [comparison for comparison in comparisons if not comparison.is_done]
        if not unfinished:
            break
        with torch.inference_mode():
            reference: NDArray[np.float32] = model(torch.from_numpy(window.inputs)[None])[0].numpy()
        by_fp32 = decode_logits(fp32, window)
        for comparison in unfinished:
            own = by_fp32 if comparison.session is fp32 else decode_logits(comparison.session, window)
            comparison.add(window, {"torch": reference, "fp32": by_fp32, "bundle": own})
        positions += int((window.targets != IGNORED).sum())
        progress(positions, max(POSITIONS, positions))
    cache_agreement = _cache_agrees(fp32, windows[0])
    return [comparison.figures(windows, sampled_positions, byte_lengths, cache_agreement) for comparison in comparisons]


def check_limits(figures: GateFigures, limits: GateLimits) -> None:
    """Compare figures with their limits.

    Raises:
        TinyLMError: names every figure that exceeds its limit, and what to try.
    """
    problems = []
    for name, limit in asdict(limits).items():
        figure = getattr(figures, name)
        if not (figure >= limit if name.endswith("agreement") else figure <= limit):
            problems.append(f"{name} is {figure:.4g} (limit {limit:g})")
    if not figures.cache_agreement:
        problems.append("the fp32 graph gives other tokens with its cache than without")
    if problems:
        raise TinyLMError(
            f"the exported graph did not pass its gate: {'; '.join(problems)}; nothing was written. "
            "Train longer, export without --quantize or with more bits, or change the limit with --limit NAME=VALUE"
        )


def gate_windows(
    run: RunFolder, stage: StageName, model: LanguageModel, tokenizer: Tokenizer, fp32: Session
) -> tuple[list[Window], int]:
    """Choose windows of text to compare on.

    They are of the held-out data of the run's last stage, in an order that spreads the first ones over all of it. If
    there are fewer than `POSITIONS` positions, the model samples the rest.

    Returns:
        the windows, and how many of their positions are sampled.
    """
    windows: list[Window] = []
    path = run.held_out(stage)
    if path.is_file():
        held_out = TokenSequences.load(path)
        chosen = make_windows(held_out, model.config.context_length, tokenizer.bos_id, most_positions(model))
        windows = [chosen[index] for index in spread_order(len(chosen))]
    counted = sum(int((window.targets != IGNORED).sum()) for window in windows)
    sampled = 0
    sampler = TokenSampler.of(tokenizer, SamplingOptions(temperature=1.0, top_k=0, top_p=1.0, seed=0))
    while counted + sampled < POSITIONS or len(windows) < 2:
        window = _sample_window(fp32, tokenizer, sampler, stage)
        windows.append(window)
        sampled += int((window.targets != IGNORED).sum())
    return windows, sampled


def most_positions(model: LanguageModel) -> int:
    """Positions at which a model is compared at most: so many that the gate takes minutes, whatever its size."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return min(MOST_POSITIONS, max(POSITIONS, MOST_POSITIONS * _SMALL // parameters))


def _standard_error_of_sum(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) * math.sqrt(len(values))) if len(values) > 1 else math.inf


def _sample_window(session: Session, tokenizer: Tokenizer, sampler: TokenSampler, stage: StageName) -> Window:
    session.truncate(0)
    opening = encode_text_prompt(tokenizer, "")
    if stage == "finetune":
        opening = encode_prompt(tokenizer, [{"role": "user", "content": "Hello!"}])
    ids = list(opening)
    while len(ids) <= min(session.context_length, _MOST_SAMPLED):
        logits = session.append(ids[session.length :])
        ids.append(sampler.choose(logits))
    targets = np.array(ids[1:], np.int64)
    targets[: len(opening) - 1] = IGNORED
    return Window(np.array(ids[:-1], np.int64), targets)


def _prefill_against_decode(session: Session, windows: Sequence[Window]) -> tuple[float, float]:
    """Compare prefill with decode after some prefixes, which end at counted positions.

    Returns:
        the share of prefixes with the same most likely token, and the largest difference of logits.
    """
    agreed, prefixes, tokens, difference = 0, 0, 0, 0.0
    order = spread_order(len(windows))
    each = max(8, _PREFIXES // max(len(windows), 1))
    for window in (windows[index] for index in order):
        counted = np.flatnonzero(window.targets != IGNORED)
        ends = np.unique(counted[np.linspace(0, len(counted) - 1, min(each, len(counted))).astype(int)]) + 1
        decoded = decode_logits(session, window)
        # A prefix of one token is decoded, not prefilled
        for length in ends[ends > 1].tolist():
            session.truncate(0)
            prefilled = session.append(window.inputs[:length].tolist())
            assert prefilled is not None
            difference = max(difference, float(np.abs(prefilled - decoded[length - 1]).max()))
            agreed += int(prefilled.argmax() == decoded[length - 1].argmax())
            prefixes, tokens = prefixes + 1, tokens + length
        if prefixes >= _PREFIXES or tokens >= _PREFIX_TOKENS:
            break
    return (agreed / prefixes if prefixes else 1.0), difference


def _cache_agrees(session: Session, window: Window) -> bool:
    """Whether greedy decoding with the cache gives the tokens that prefilling the whole text for each token gives."""
    prompt = window.inputs[: max(1, len(window.inputs) // 4)].tolist()
    tokens = min(_GREEDY_TOKENS, session.context_length - len(prompt))
    cached: list[int] = []
    session.truncate(0)
    pending = prompt
    for _ in range(tokens):
        logits = session.append(pending)
        pending = [int(logits.argmax())]
        cached += pending
    ids = list(prompt)
    for token in cached:
        session.truncate(0)
        logits = session.append(ids)
        # Two tokens may have nearly equal logits
        if logits[token] < logits.max() - 1e-4:
            return False
        ids.append(token)
    return True
