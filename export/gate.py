"""The gate: torch, fp32 ONNX and the bundle's own graph on the same text, before a bundle appears."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.errors import ConfigError, TinyLMError
from tinylm.evaluation import (
    IGNORED,
    TokenSequences,
    Window,
    make_windows,
    negative_log_likelihood,
    score,
    spread_order,
)
from tinylm.run_folder import RunFolder, StageName
from tinylm.runtime.sampling import SamplingOptions, TokenSampler
from tinylm.runtime.scoring import decode_logits
from tinylm.runtime.session import Session
from tinylm.tokenizer import Tokenizer
from tinylm.training.model import LanguageModel

POSITIONS = 4096
"""Positions that the gate looks at, at least."""

MOST_POSITIONS = 65_536
"""Positions that it looks at, at most, while the quality loss is not yet known well enough."""

_STANDARD_ERROR_PERCENT = 0.03
_PREFIXES = 1024
_PREFIX_TOKENS = 65_536
_GREEDY_TOKENS = 64


@dataclass(frozen=True)
class GateLimits:
    """What an exported graph may cost, at most; named as the figures are.

    Attributes:
        quality_loss_percent: bits per byte over torch's, in percent.
        fp32_logit_difference: largest difference of the fp32 graph's logits to torch's.
        greedy_agreement: positions at which the graph's likeliest token is torch's, at least.
        prefill_agreement: positions at which prefill and decode have the same likeliest token, at least.
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
            bits: of a weight; at 4 what is not given is wider.

        Raises:
            ConfigError: an unknown name or a value that is no number.
        """
        known = [field.name for field in fields(cls)]
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


@dataclass(frozen=True)
class GateFigures:
    """What the gate measured.

    Attributes:
        positions: counted positions, decoded one by one.
        sampled_positions: how many of them are of text that the model itself wrote, for want of held-out text.
        torch_bits_per_byte, fp32_bits_per_byte, bits_per_byte: of torch, of the fp32 graph and of the bundle's graph.
        quality_loss_percent: the bundle's bits per byte over torch's.
        quality_loss_standard_error: of that figure, from how it varies between windows; more than `POSITIONS` are
            looked at where it would be above 0.03 percent.
        fp32_logit_difference, logit_difference: largest difference to torch's logits.
        greedy_agreement: part of the positions at which the bundle's likeliest token is torch's.
        prefill_agreement: part of the prefixes after which prefill and decode have the same likeliest token.
        prefill_logit_difference: largest difference of the bundle's logits between prefill and decode.
        cache_agreement: whether the fp32 graph says the same greedy tokens with its cache and without.
        torch_loss, loss: nats a token.
    """

    positions: int
    sampled_positions: int
    torch_bits_per_byte: float
    fp32_bits_per_byte: float
    bits_per_byte: float
    quality_loss_percent: float
    quality_loss_standard_error: float
    fp32_logit_difference: float
    logit_difference: float
    greedy_agreement: float
    prefill_agreement: float
    prefill_logit_difference: float
    cache_agreement: bool
    torch_loss: float
    loss: float

    def values(self) -> dict[str, float | int | bool]:
        """By name, as the manifest stores them."""
        return asdict(self)


def run_gate(
    model: LanguageModel,
    fp32: Session,
    bundle: Session,
    windows: Sequence[Window],
    sampled_positions: int,
    byte_lengths: NDArray[np.int64],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> GateFigures:
    """Measure the graphs against torch.

    Args:
        model: in evaluation mode, in fp32.
        fp32: the fp32 graph.
        bundle: the graph that the bundle will hold; may be `fp32` itself.
        windows: held-out text.
        sampled_positions: see `GateFigures`.
        byte_lengths: bytes of text of each token id.
        progress: told how many positions of how many are done.
    """
    nll = {"torch": 0.0, "fp32": 0.0, "bundle": 0.0}
    differences = {"fp32": 0.0, "bundle": 0.0}
    agreed = positions = 0
    error = 0.0
    costs: list[float] = []
    for window in windows:
        before = dict(nll)
        with torch.inference_mode():
            reference: NDArray[np.float32] = model(torch.from_numpy(window.inputs)[None])[0].numpy()
        nll["torch"] += negative_log_likelihood(reference, window.targets)
        counted = window.targets != IGNORED
        for name, session in (("fp32", fp32), ("bundle", bundle)):
            if session is fp32 and name == "bundle":
                nll[name], differences[name] = nll["fp32"], differences["fp32"]
            else:
                logits = decode_logits(session, window)
                nll[name] += negative_log_likelihood(logits, window.targets)
                differences[name] = max(differences[name], float(np.abs(logits - reference).max()))
        agreed += int((logits.argmax(-1) == reference.argmax(-1))[counted].sum())
        positions += int(counted.sum())
        costs.append(nll["bundle"] - before["bundle"] - nll["torch"] + before["torch"])
        error = 100 * _standard_error_of_sum(costs) / max(nll["torch"], 1e-9)
        progress(positions, max(POSITIONS, positions))
        # Where the model is sure of nearly everything, a few thousand positions say little
        if positions >= POSITIONS and error <= _STANDARD_ERROR_PERCENT:
            break
    windows = windows[: len(costs)]
    prefill_agreement, prefill_difference = _prefill_against_decode(bundle, windows)

    def total(name: str) -> Callable[[Sequence[Window]], float]:
        return lambda _: nll[name]

    by_torch, by_fp32, by_bundle = (score(total(name), windows, byte_lengths) for name in ("torch", "fp32", "bundle"))
    return GateFigures(
        positions=positions,
        sampled_positions=sampled_positions,
        torch_bits_per_byte=by_torch.bits_per_byte,
        fp32_bits_per_byte=by_fp32.bits_per_byte,
        bits_per_byte=by_bundle.bits_per_byte,
        quality_loss_standard_error=error,
        quality_loss_percent=100 * (by_bundle.nll / max(by_torch.nll, 1e-9) - 1),
        fp32_logit_difference=differences["fp32"],
        logit_difference=differences["bundle"],
        greedy_agreement=agreed / max(positions, 1),
        prefill_agreement=prefill_agreement,
        prefill_logit_difference=prefill_difference,
        cache_agreement=_cache_agrees(fp32, windows[0]),
        torch_loss=by_torch.loss,
        loss=by_bundle.loss,
    )


def check_limits(figures: GateFigures, limits: GateLimits) -> None:
    """Compare figures with their limits.

    Raises:
        TinyLMError: names every figure that is over its limit, and what to try.
    """
    problems = []
    for name, limit in asdict(limits).items():
        figure = getattr(figures, name)
        if not (figure >= limit if name.endswith("agreement") else figure <= limit):
            problems.append(f"{name} is {figure:.4g} (limit {limit:g})")
    if not figures.cache_agreement:
        problems.append("the fp32 graph says other tokens with its cache than without")
    if problems:
        raise TinyLMError(
            f"the exported graph did not pass its gate: {'; '.join(problems)}; nothing was written. "
            "Train longer, export without --quantize or with more bits, or move the limit with --limit NAME=VALUE"
        )


def gate_windows(
    run: RunFolder, stage: StageName, model: LanguageModel, tokenizer: Tokenizer, fp32: Session
) -> tuple[list[Window], int]:
    """Windows to measure on, and how many of their positions the model had to write itself.

    They are the run's held-out text of its last stage, the first few spread over all of it; what is missing to
    `POSITIONS` is sampled from the model.
    """
    windows: list[Window] = []
    path = run.held_out(stage)
    if path.is_file():
        held_out = TokenSequences.load(path)
        chosen = make_windows(held_out, model.config.context_length, tokenizer.bos_id, MOST_POSITIONS)
        windows = [chosen[index] for index in spread_order(len(chosen))]
    counted = sum(int((window.targets != IGNORED).sum()) for window in windows)
    sampled = 0
    sampler = TokenSampler.of(tokenizer, SamplingOptions(temperature=1.0, top_k=0, top_p=1.0, seed=0))
    while counted + sampled < POSITIONS or len(windows) < 2:
        window = _sample_window(fp32, tokenizer, sampler, stage)
        windows.append(window)
        sampled += int((window.targets != IGNORED).sum())
    return windows, sampled


def _standard_error_of_sum(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) * math.sqrt(len(values))) if len(values) > 1 else math.inf


def _sample_window(session: Session, tokenizer: Tokenizer, sampler: TokenSampler, stage: StageName) -> Window:
    session.truncate(0)
    opening = encode_text_prompt(tokenizer, "")
    if stage == "finetune":
        opening = encode_prompt(tokenizer, [{"role": "user", "content": "Hello!"}])
    ids = list(opening)
    while len(ids) <= session.context_length:
        logits = session.append(ids[session.length :])
        ids.append(sampler.choose(logits))
    targets = np.array(ids[1:], np.int64)
    targets[: len(opening) - 1] = IGNORED
    return Window(np.array(ids[:-1], np.int64), targets)


def _prefill_against_decode(session: Session, windows: Sequence[Window]) -> tuple[float, float]:
    """After how many of some prefixes prefill and decode agree on the likeliest token, and how far they differ.

    The prefixes end at counted positions, the same number in each window.
    """
    agreed, prefixes, tokens, difference = 0, 0, 0, 0.0
    order = spread_order(len(windows))
    each = max(8, _PREFIXES // max(len(windows), 1))
    for window in (windows[index] for index in order):
        counted = np.flatnonzero(window.targets != IGNORED)
        ends = np.unique(counted[np.linspace(0, len(counted) - 1, min(each, len(counted))).astype(int)]) + 1
        decoded = decode_logits(session, window)
        # A single token is decoded in any case
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
    """Whether greedy decoding with the cache says what prefilling the whole text for every token says."""
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
        # Two tokens may be equal to the last bit of fp32
        if logits[token] < logits.max() - 1e-4:
            return False
        ids.append(token)
    return True
