"""Constrain a reply to a JSON schema or a regular expression, by llguidance (the extra `constrain`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tinylm.errors import ConfigError, TinyLMError
from tinylm.installation import install_command
from tinylm.printable import printable
from tinylm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

MAX_SCHEMA_CHARACTERS = 65_536
"""Maximum length of a JSON schema as text."""

MAX_REGEX_CHARACTERS = 4096
"""Maximum length of a regular expression."""

_JSON_OPTIONS: JsonCompileOptions = {
    # A space, or a line break and indentation. More would let a small model write blanks until its tokens are used up.
    "whitespace_pattern": r" |\n {0,16}",
    # A keyword that is not enforced is refused
    "lenient": False,
}
_LIMITS: dict[str, Any] = {
    "initial_lexer_fuel": 300_000,
    "step_lexer_fuel": 100_000,
    "step_max_items": 20_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
    "verbose_errors": False,
}
"""Some ten milliseconds for a token, and 40 MB for a reply."""
_LONGEST_REASON = 200
_COMBINED = ("$ref", "anyOf")
"""What may ask for more members of an object, beside its own `properties`."""
_OPENING = ("additionalProperties", "unevaluatedProperties", "patternProperties")


class _Vocabulary:
    """A tokenizer as llguidance reads it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id, self.bos_token_id = tokenizer.ends[0], tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.control)
        self.tokens = tokenizer.token_bytes()
        for id_ in self.special_token_ids:
            self.tokens[id_] = tokenizer.piece_of(id_).encode()
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


# Creating one takes longer than a token of a small model
_vocabularies: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()


class Grammar:
    """Allow at each token only what continues a text of the language; what ends a reply only where such a text ends.

    Args:
        tokenizer: the model's tokenizer.
        json_schema: the reply is JSON that is valid against it. Where an object has `properties` and does not say
            whether there may be others, it gets none: a small model would go on with them until its tokens are used up.
        regex: the reply as a whole matches it, in the syntax of Rust's `regex` crate. One of the two is given.

    Raises:
        ConfigError: it is no schema or regular expression, is too large, or has something that cannot be enforced; or
            llguidance is not installed.
    """

    def __init__(
        self, tokenizer: Tokenizer, json_schema: Mapping[str, Any] | None = None, regex: str | None = None
    ) -> None:
        try:
            from llguidance import LLMatcher, LLParserLimits
        except ImportError:
            raise ConfigError(
                f"replies by a JSON schema or a regular expression need llguidance: {install_command('constrain')}"
            ) from None
        self._name = "regex" if json_schema is None else "JSON schema"
        text = _schema_text(json_schema) if json_schema is not None else printable(regex or "")
        longest = MAX_REGEX_CHARACTERS if json_schema is None else MAX_SCHEMA_CHARACTERS
        if len(text) > longest:
            raise ConfigError(f"{self._name}: {len(text):,} characters are more than {longest:,}")
        try:
            grammar = (
                LLMatcher.grammar_from_regex(text)
                if json_schema is None
                else LLMatcher.grammar_from_json_schema(_without_other_members(text), overrides=_JSON_OPTIONS)
            )
        except ValueError as error:  # nested too deeply, or a lone surrogate
            raise ConfigError(f"{self._name}: {_reason(str(error))}") from None
        self._matcher: LLMatcher = LLMatcher(
            _vocabulary_of(tokenizer), grammar, log_level=0, limits=LLParserLimits(**_LIMITS)
        )
        self._ends = tokenizer.ends
        # The first mask finds what the grammar alone does not show, as that nothing matches
        if not any(self._mask()):
            raise ConfigError(f"{self._name}: no text matches it")

    def restrict(self, logits: NDArray[np.float32]) -> None:
        """Set the logits of all tokens that are not allowed to minus infinity.

        Args:
            logits: fp32 [vocab_size]; overwritten.

        Raises:
            ConfigError: the limits of llguidance are reached.
        """
        allowed = np.frombuffer(self._mask(), np.uint8) != 0
        allowed[self._ends] = allowed[self._ends[0]]
        logits[len(allowed) :] = -np.inf
        logits[: len(allowed)][~allowed] = -np.inf

    def feed(self, token: int) -> None:
        """Record the token that was chosen."""
        if not self._matcher.consume_token(token):
            raise TinyLMError(f"{self._name}: token {token} was not allowed: {_reason(self._matcher.get_error())}")

    def _mask(self) -> bytes:
        """A byte for each token: 0 where it is not allowed."""
        mask = self._matcher.compute_logit_bias() if not self._matcher.is_error() else b""
        if self._matcher.is_error():
            raise ConfigError(f"{self._name}: {_reason(self._matcher.get_error())}")
        return mask


def _schema_text(schema: Mapping[str, Any]) -> str:
    try:
        return json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"JSON schema: not JSON ({_reason(str(error))})") from None


def _without_other_members(text: str) -> str:
    """The schema with `additionalProperties` false for each object that lists its members and is silent about others.

    It is returned as it is where that could change what is valid otherwise: objects that are combined of several.
    """
    try:
        schema = json.loads(text)
    except RecursionError:
        return text
    objects: list[dict[str, Any]] = []
    left: list[Any] = [schema]
    while left:
        one = left.pop()
        if not isinstance(one, dict):
            continue
        members = one.get("properties")
        if "allOf" in one or "oneOf" in one or ("properties" in one and any(name in one for name in _COMBINED)):
            return text
        if isinstance(members, dict) and members and not any(name in one for name in _OPENING):
            required = one.get("required", [])
            if isinstance(required, list) and all(isinstance(name, str) and name in members for name in required):
                objects.append(one)
        for name in ("properties", "$defs", "definitions"):
            if isinstance(parts := one.get(name), dict):
                left += parts.values()
        for name in ("anyOf", "prefixItems", "items"):
            if isinstance(parts := one.get(name), list):
                left += parts
        left += [one.get(name) for name in ("items", "additionalProperties")]
    for one in objects:
        one["additionalProperties"] = False
    return json.dumps(schema)


def _vocabulary_of(tokenizer: Tokenizer) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    found = _vocabularies.get(tokenizer)
    if found is None:
        found = _vocabularies[tokenizer] = LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)))
    return found


def _reason(message: str) -> str:
    """What is wrong, on one line, from a message of several."""
    lines: Sequence[str] = message.partition("<state>")[0].partition("<non-verbose/>")[0].splitlines() or [""]
    named = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    reason = " ".join((named or lines)[0].split())
    if reason.startswith("NoExtension"):
        return "no text matches it"
    shown = "".join(character if character.isprintable() else "\ufffd" for character in reason[:_LONGEST_REASON])
    return shown or "it cannot be enforced"
