"""Which replies are good and which are bad, under the names that are in use for it.

A record with a good and a bad reply (`chosen` and `rejected`, `real` and `generated`, …) is brought into the form with
`chosen` and `rejected`; one whose only reply is marked as bad is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from tinylm.data.readers.lines import Place
from tinylm.data.readers.record_values import fields_of
from tinylm.data.readers.turns import BAD_REPLIES, UnusableError

CHOSEN, REJECTED = "chosen", "rejected"

# In the names of keys. `positive` and `negative` are passages to search for, not replies
_OPPOSITES = (
    *(("chosen", "rejected"), ("real", "generated"), ("preferred", "non_preferred"), ("preferred", "nonpreferred")),
    *(("preferred", "dispreferred"), ("preferred", "rejected"), ("accepted", "rejected"), ("selected", "rejected")),
    *(("winner", "loser"), ("winning", "losing"), ("win", "lose"), ("good", "bad"), ("better", "worse")),
    *(("best", "worst"), ("desirable", "undesirable"), ("approved", "disapproved")),
)
_LETTERS = (("y_w", "y_l"), ("response_j", "response_k"))
# What is told of a reply is no reply
_ABOUT = frozenset({"model", "score", "scores", "rating", "id", "name", "source", "length", "reason", "rank", "policy"})
_PAIRS_OF_REPLIES = (("a", "b"), ("0", "1"), ("1", "2"))
_VERDICTS = ("winner", "preference", "preferred", "choice", "better", "vote", "better_response_id", "chosen")
_WON = ("winner_model_a", "winner_model_b")
_GOOD_MARKS = frozenset(
    f"{prefix}{word}"
    for prefix in ("", "is_")
    for word in ("good", "accepted", "chosen", "preferred", "desirable", "approved", "correct", "helpful", "liked")
) | {"thumbs_up", "upvoted"}
_BAD_MARKS = frozenset(
    f"{prefix}{word}" for prefix in ("", "is_") for word in ("bad", "rejected", "undesirable", "disliked", "incorrect")
) | {"thumbs_down", "downvoted"}
_MAY_BE_REPLIES = frozenset({"good", "accepted", "chosen", "preferred", "correct", "bad", "rejected", "incorrect"})
_WORD_MARKS = ("label", "feedback", "verdict", "quality", "vote", "reaction", "rating")
_BAD_WORDS = frozenset(
    {"bad", "rejected", "reject", "undesirable", "thumbs_down", "thumbsdown", "thumbs down", "thumb_down", "down"}
    | {"downvote", "downvoted", "dislike", "disliked", "incorrect", "wrong", "\U0001f44e"}
)
_NO = frozenset({"false", "no", "0", "0.0", "-1", "-1.0", "f", "n"})
_YES = frozenset({"true", "yes", "1", "1.0", "t", "y"})
_DETAILS = ("metadata", "meta", "info", "annotation", "annotations", "feedback", "extra", "attributes")


def with_canonical_choice(fields: dict[str, object]) -> dict[str, object]:
    """The values of a record, its good and its bad reply under `chosen` and `rejected` whatever they are called."""
    shape = _shape(tuple(fields))
    if not shape.opposites and not shape.verdict:
        return fields
    found = _opposites(fields, shape) or (_voted(fields) if shape.verdict else None)
    if found is None or found == (CHOSEN, REJECTED):
        return fields
    good, bad = found
    rest = {key: value for key, value in fields.items() if key not in found}
    return {**rest, CHOSEN: fields[good], REJECTED: fields[bad]}


def is_preference(fields: Mapping[str, object]) -> bool:
    """Whether a record has a chosen and a rejected reply."""
    return _is_reply(fields.get(CHOSEN)) and REJECTED in fields


def check_mark(place: Place, fields: Mapping[str, object], *, labels_are_classes: bool = False) -> None:
    """See that a record, or a message, is not marked as bad.

    Args:
        place: where it is.
        fields: its values by their normal keys.
        labels_are_classes: `label` holds more than good and bad, so that a 0 in it is a class.

    Raises:
        UnusableError: it is.
    """
    shape = _shape(tuple(fields))
    if not shape.marks and not shape.details:
        return
    for values in (fields, *(_details(fields) if shape.details else ())):
        for key in _shape(tuple(values)).marks:
            if _says_bad(key, values[key], labels_are_classes):
                problem = f"its {key} is {_plain(values[key])}: a bad reply; take the record out"
                raise UnusableError(place, problem, BAD_REPLIES)


def are_classes(labels: Iterable[object]) -> bool:
    """Whether labels tell more apart than good and bad."""
    known = _NO | _YES | _BAD_WORDS | {"good", "ok", "accepted", "chosen", "desirable", "correct", "none", ""}
    return any(_plain(label) not in known for label in labels)


class _Shape(NamedTuple):
    """What the keys of a record may tell about its replies.

    Attributes:
        opposites: keys of a good and a bad reply; the shortest, which says no more than that, first.
        verdict: whether a key may say which of two is the good one.
        marks: keys whose values may say that a reply is bad.
        details: whether there may be further values under a key.
    """

    opposites: tuple[tuple[str, str], ...]
    verdict: bool
    marks: tuple[str, ...]
    details: bool


@lru_cache(maxsize=1024)
def _shape(keys: tuple[str, ...]) -> _Shape:
    found = [pair for pair in _LETTERS if set(pair) <= set(keys)]
    for key in keys:
        found += [
            (key, other)
            for good, bad in _OPPOSITES
            if (other := _replaced(key, good, bad)) is not None and other in keys
        ]
    return _Shape(
        tuple(sorted(found, key=lambda pair: len(pair[0]))),
        not {*_VERDICTS, *_WON}.isdisjoint(keys),
        tuple(key for key in keys if key in _WORD_MARKS or key in _GOOD_MARKS or key in _BAD_MARKS),
        not set(_DETAILS).isdisjoint(keys),
    )


def _opposites(fields: Mapping[str, object], shape: _Shape) -> tuple[str, str] | None:
    for good, bad in shape.opposites:
        if _is_reply(fields[good]) and (fields[bad] is None or _is_reply(fields[bad])):
            return good, bad
    return None


def _replaced(key: str, good: str, bad: str) -> str | None:
    words = key.split("_")
    if good not in words or _ABOUT & set(words) or "non" in words:
        return None
    index = words.index(good)
    return "_".join((*words[:index], bad, *words[index + 1 :]))


def _voted(fields: Mapping[str, object]) -> tuple[str, str] | None:
    """Of two replies that are told apart by a letter or number, the one that a verdict names, then the other."""
    verdict = next((_plain(fields[key]) for key in _VERDICTS if fields.get(key) is not None), None)
    if verdict is None:
        won = next((key for key in _WON if _plain(fields.get(key)) in _YES), None)
        verdict = won.removeprefix("winner_") if won is not None else None
    if verdict is None:
        return None
    for key in fields:
        for one, other in _PAIRS_OF_REPLIES:
            if not key.endswith(f"_{one}"):
                continue
            twin = key.removesuffix(one) + other
            both = _is_reply(fields[key]) and _is_reply(fields.get(twin))
            if both and not _ABOUT & set(key.split("_")):
                last = verdict.rsplit("_", 1)[-1]
                if last in (one, "tie"):
                    return key, twin
                if last == other:
                    return twin, key
    return None


def _is_reply(value: object) -> bool:
    return isinstance(value, str | list | dict) and bool(value)


def _details(fields: Mapping[str, object]) -> list[dict[str, object]]:
    return [fields_of(value) for key in _DETAILS if key in fields and isinstance(value := fields[key], dict)]


def _says_bad(key: str, value: object, labels_are_classes: bool) -> bool:
    if value is None or isinstance(value, list | dict):
        return False
    if key == "label":
        return _plain(value) in (_BAD_WORDS if labels_are_classes and not isinstance(value, bool) else _BAD_WORDS | _NO)
    # Under a bare `chosen`, "no" may be the reply
    said = ("true", "false") if isinstance(value, str) and key in _MAY_BE_REPLIES else (*_NO, *_YES)
    if key in _GOOD_MARKS:
        return _plain(value) in _NO and _plain(value) in said
    if key in _BAD_MARKS:
        return _plain(value) in _YES and _plain(value) in said
    return key in _WORD_MARKS and _plain(value) in _BAD_WORDS


def _plain(value: object) -> str:
    return str(value).strip().lower() if not isinstance(value, str) or len(value) < 40 else value
