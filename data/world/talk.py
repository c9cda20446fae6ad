"""A conversation while it is generated: messages, known facts, and the next exchange."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

from tinylm.chat_format import Conversation
from tinylm.data.world.as_typed import remark, typed
from tinylm.data.world.intents import OPEN_FIELDS, Intent, all_intents, intents_by_family
from tinylm.data.world.open_values import new_value
from tinylm.data.world.phrasings import Core, normal, surround, upper_first
from tinylm.data.world.told_facts import KIND_BY_NAME, FactKind, families
from tinylm.data.world.values import ASSISTANTS, SOUNDS

LINKS: dict[str, tuple[str, ...]] = {
    "pip": ("talk", "workshop", "animals", "kitchen"),
    "talk": ("pip", "weather", "kitchen", "garden"),
    "weather": ("garden", "seasons", "workshop"),
    "garden": ("kitchen", "weather", "animals"),
    "kitchen": ("garden", "animals", "workshop"),
    "animals": ("garden", "seasons", "pip"),
    "seasons": ("weather", "garden", "counting"),
    "workshop": ("pip", "weather", "counting"),
    "counting": ("workshop", "seasons", "talk"),
}
UNKNOWN = {"not_known": 50, "not_able": 26, "not_sums": 11, "not_clear": 13}
"""The questions that Pip cannot answer, with how often they come."""
UNKNOWN_SHARE = 0.27
OFTEN = {"pip": 2.5, "talk": 2.5}
"""The topics whose questions come more often than those of others, by how much."""
OFTEN_TOLD = ("name", "age", "animal", "person", "town", "job", "hobby", "colour", "food", "favourite_thing", "number",
              "how_many", "lies", "lives", "plan")  # fmt: skip
"""The families of facts that people tell first."""
COMMON_THINGS = 12
"""Of each family, as many things at the beginning of its `each:` are told of more often than the others."""
_PLAIN_ENDS = ("", ".", ".", ".", "!")
_WORDY_ENDS = (
    ", remember that.", ", please remember it.", " by the way.", ", you know.", ", okay?", ", just so you know.",
    ", in case you wonder.", ", for your information.", ", do not forget it.", ", as i said.", " and i like it.",
    " and that is that.", " and i am new to this.", ". nice, is it not?", ". that is all.", ". always has been.",
    ", believe it or not.", ", if you want to know.", ". got it?", ". keep it in mind.",
)  # fmt: skip
"""How a statement about the user ends."""
_CORRECTIONS_OF_OLD = (
    "not {old}, {v}.", "no, not {old}, {v}.", "it is {v}, not {old}.", "it is not {old}, it is {v}.", "{v}, not {old}.",
    "i said {old}, but i meant {v}.", "i wrote {old}, but it is {v}.", "forget {old}, it is {v}.",
    "{old} was wrong, it is {v}.", "{old} is wrong, {v} is right.", "sorry, not {old} but {v}.",
    "i meant {v} when i said {old}.", "please change {old} to {v}.", "did i say {old}? i meant {v}.",
    "no longer {old}, now it is {v}.", "instead of {old} it should be {v}.", "{old} is a typo, it is {v}.",
)  # fmt: skip
_NOT_THE_OLD_ONE = (", not {old}.", " and not {old}.", ", no longer {old}.", ", i do not know why i said {old}.",
                    ". {old} was wrong.", ", so forget {old}.", " instead of {old}.")  # fmt: skip
_ASIDES = ("", "", " by the way", ", by the way", ", just so you know", ", you know", ", as i said")
_REPEATED = ("say that again.", "again please?", "what was that?", "sorry, what?", "come again?",
             "can you repeat that?", "please repeat it.", "one more time.", "i did not get that.", "what did you say?",
             "pardon?", "could you say it once more?", "huh?", "repeat that.", "once more, please.")  # fmt: skip
"""What users say to hear the last reply once more."""
OPENING = ("hello", "good_morning", "how_are_you", "pip_help")
CLOSING = ("goodbye", "good_night", "thanks")


@dataclass
class Talk:
    """The state of a conversation.

    Attributes:
        me: the assistant's name.
        ending: word that a style message wants at the end of each reply, or "".
        known: facts that the user or the system message told, by kind.
        told_at: number of the exchange in which each was told.
        said: name of the intent of each exchange; "" for facts and questions about them.
    """

    rng: random.Random
    messages: Conversation = field(default_factory=list)
    me: str = "Pip"
    ending: str = ""
    known: dict[str, str] = field(default_factory=dict)
    told_at: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def vocative(self) -> bool:
        """Whether the user may call the assistant "Pip"."""
        return self.me == "Pip"

    def finish(self, reply: str) -> str:
        """Fill the names into a reply and add the ending of this conversation."""
        user = f" {self.known['name']}" if "name" in self.known else ""
        text = reply.replace("{me}", self.me).replace("{user}", user)
        return f"{text} {self.ending}!" if self.ending else text

    def exchange(self, user: str, reply: str, intent: str = "") -> None:
        """Append a user's turn and the reply to it."""
        self.messages.append({"role": "user", "content": user})
        self.messages.append({"role": "assistant", "content": self.finish(reply)})
        self.said.append(intent)

    def new_value(self, kind: FactKind) -> str:
        """Draw a value that no other fact of this conversation has."""
        while True:
            value = new_value(self.rng, kind.values)
            if value.lower() not in (known.lower() for known in self.known.values()):
                return value

    def set_system(self, persona: bool = False, user: FactKind | None = None, style: bool = False) -> None:
        """Append a system message.

        Args:
            persona: whether it gives the assistant a name.
            user: a kind of fact about the user that it tells.
            style: whether it sets a style.
        """
        parts: list[str] = []
        if persona:
            self.me = self.rng.choice(ASSISTANTS)
            parts.append(
                self.rng.choice(
                    ("Your name is {n}.", "You are {n}.", "You are called {n}.", "You are {n}, a small helper.")
                ).replace("{n}", self.me)
            )
        if user is not None:
            self.known[user.name] = value = self.new_value(user)
            self.told_at[user.name] = -1
            parts.append(self.rng.choice(user.system).replace("{v}", value))
        if style:
            self.ending = self.rng.choice(tuple(SOUNDS))
            who = SOUNDS[self.ending]
            if who is not None and self.rng.random() < 0.5:
                parts.append(self.rng.choice(("Talk like {w}.", "You talk like {w}.")).replace("{w}", who))
            else:
                text = self.rng.choice(("End every reply with {s}!", "Always end with {s}!"))
                parts.append(text.replace("{s}", self.ending))
        if parts:
            self.messages.append({"role": "system", "content": " ".join(parts)})

    def random_system(self) -> None:
        """Append a system message with one or two of persona, fact and style."""
        effects = self.rng.sample(("persona", "user", "style"), 2 if self.rng.random() < 0.2 else 1)
        kind = KIND_BY_NAME["name"] if self.rng.random() < 0.6 else any_kind(self.rng)
        self.set_system("persona" in effects, kind if "user" in effects else None, "style" in effects)

    def next_intent(self) -> Intent:
        """Draw the next question: of the same topic, a linked one or, at the start, any."""
        families = intents_by_family()
        asked = [all_intents()[name] for name in self.said if name]
        last = next((intent for intent in reversed(asked) if intent.topic in LINKS), None)
        draw = self.rng.random()
        if last is None or draw < 0.15:
            topics = tuple(LINKS)
        elif draw < 0.5:
            topics = (last.topic,)
        else:
            topics = LINKS[last.topic]
        choices = [
            family
            for family, intents in families.items()
            if intents[0].topic in topics and family not in OPENING[:2] and family not in CLOSING
        ]
        weights = [OFTEN.get(families[family][0].topic, 1) * len(families[family]) ** 0.5 for family in choices]
        while True:
            intent = self.rng.choice(families[self.rng.choices(choices, weights)[0]])
            if intent.name not in self.said:
                return intent

    def ask_intent(self, intent: Intent, follow: bool = False) -> bool:
        """Append a question of this intent and a reply; False where it is not asked in this way."""
        cores = intent.follows if follow or intent.parent else intent.cores
        if not cores:
            return False
        text = typed(self.rng, surround(self.rng, cores, self.vocative and intent.vocative))
        user = text.fill(lambda name: _foreign_value(self.rng, OPEN_FIELDS[name]))
        self.exchange(user, self.rng.choice(intent.replies), intent.name)
        return True

    def follow_up(self) -> tuple[Intent, bool] | None:
        """Draw an intent that can follow the last one, and whether it is of the same family; None for no follow-up."""
        if not self.said or not self.said[-1]:
            return None
        last = all_intents()[self.said[-1]]
        why = all_intents().get(f"why.{last.name}")
        if why is not None and self.rng.random() < 0.45:
            return why, False
        siblings = [
            intent
            for intent in intents_by_family().get(last.family, ())
            if intent.follows and intent.name not in self.said
        ]
        if siblings and self.rng.random() < 0.3:
            return self.rng.choice(siblings), True
        return None

    def chat_once(self) -> None:
        """Append one exchange about the world or about what Pip does not know; at times one about a told fact."""
        if self.known and self.rng.random() < 0.08:
            self.ask_fact(KIND_BY_NAME[self.rng.choice(tuple(self.known))])
            return
        following = self.follow_up()
        if following is not None and self.ask_intent(following[0], follow=following[1]):
            return
        if self.rng.random() < UNKNOWN_SHARE:
            self.ask_intent(all_intents()[self.rng.choices(tuple(UNKNOWN), tuple(UNKNOWN.values()))[0]])
            return
        while not self.ask_intent(self.next_intent()):
            pass

    def greet(self) -> None:
        """Append a greeting."""
        self.ask_intent(all_intents()[self.rng.choice(OPENING)])

    def part(self) -> None:
        """Append a thank-you or a goodbye."""
        self.ask_intent(all_intents()[self.rng.choice(CLOSING)])

    def tell(self, kinds: list[FactKind]) -> None:
        """The user tells one fact, or several in one breath; at times Pip is asked something right after it."""
        if len(kinds) == 1 and self.rng.random() < 0.1 and self._tell_in_an_aside(kinds[0]):
            return
        texts: list[str] = []
        for place, kind in enumerate(kinds):
            # The second fact stands after another one, where no greeting fits.
            tells = [tell for tell in kind.tells if not texts or not tell.startswith(("hello", "hi", "good", "hey"))]
            if texts and kind.shortened and kind.family == kinds[place - 1].family and self.rng.random() < 0.5:
                tells = list(kind.shortened)
            texts.append(self.rng.choice(tells).replace("{v}", f"{{v{len(texts)}}}"))
        values = [self.new_value(kind) for kind in kinds]
        text = typed(self.rng, self._opened(self._joined(texts)), values=True)
        self.exchange_about(
            kinds, [text.spelled(value) for value in values], text.fill(lambda name: values[int(name[1:])])
        )
        if self.rng.random() < 0.14:
            self.ask_fact(self.rng.choice(kinds))

    def _joined(self, texts: list[str]) -> str:
        """Statements in one breath."""
        joiner = self.rng.choice((" and ", " and ", ". ", ", ", ", and ", "; ", ". also, ", " but "))
        joined = texts[0]
        for text in texts[1:]:
            joined += (" " if joined.endswith("?") else joiner) + text
        return joined

    def _tell_in_an_aside(self, kind: FactKind) -> bool:
        """The user tells a fact and asks about the world in one message, and Pip answers the question."""
        intent = self._any_question()
        cores = [core for core in intent.cores if core.form == "?"]
        told = self.rng.choice(kind.tells)
        if not cores:
            return False
        if not told.endswith("?"):
            told += self.rng.choice(_ASIDES)
        question = surround(self.rng, [self.rng.choice(cores)], vocative=False)
        joiner = " " if told.endswith("?") else self.rng.choice((". ", ". ", "! ", ", ", " and ", " - "))
        value = self.new_value(kind)
        text = typed(self.rng, told + joiner + question, values=True)
        self.known[kind.name] = text.spelled(value)
        self.told_at[kind.name] = len(self.said)
        user = text.fill(lambda name: value if name == "v" else _foreign_value(self.rng, OPEN_FIELDS[name]))
        self.exchange(user, self.rng.choice(intent.replies), intent.name)
        return True

    def _any_question(self) -> Intent:
        """A question about the world or, at times, one that Pip cannot answer."""
        return all_intents()["not_known"] if self.rng.random() < 0.15 else self.next_intent()

    def exchange_about(self, kinds: list[FactKind], values: list[str], user: str) -> None:
        """Append what the user said about some facts and Pip's thanks for one of them; remember their values."""
        for kind, value in zip(kinds, values, strict=True):
            self.known[kind.name] = value
            self.told_at[kind.name] = len(self.said)
        told = self.rng.randrange(len(kinds)) if self.rng.random() < 0.3 else 0
        reply = self.rng.choice(kinds[told].acknowledgements).replace("{v}", values[told])
        self.exchange(user, reply)

    def correct(self, kind: FactKind) -> None:
        """Append a turn in which the user corrects a fact, at times with the value that was wrong."""
        old, value = self.known[kind.name], self.new_value(kind)
        draw = self.rng.random()
        if draw < 0.3:
            correction = self.rng.choice(_CORRECTIONS_OF_OLD)
        elif draw < 0.5:
            correction = self.rng.choice(kind.corrections) + self.rng.choice(_NOT_THE_OLD_ONE)
        else:
            correction = self.rng.choice(kind.corrections) + "."
        text = typed(self.rng, correction, values=True)
        new = self.known[kind.name] = text.spelled(value)
        self.told_at[kind.name] = len(self.said)
        thanks = self.rng.choice(("Thank you! I will remember {v}.", "I see, {v}. I will remember it."))
        self.exchange(text.fill(lambda name: old if name == "old" else value), thanks.replace("{v}", new))

    def ask_fact(self, kind: FactKind) -> None:
        """The user asks for a fact that was told, or never told."""
        value = self.known.get(kind.name, "")
        others = [name for name in self.known if name != kind.name]
        if value and others and self.rng.random() < 0.03:
            self._ask_two_facts(kind, KIND_BY_NAME[self.rng.choice(others)])
            return
        question = surround(self.rng, kind.asks, self.vocative)
        if self.rng.random() < 0.06:
            before, after = f"{remark(self.rng)}. {question}", f"{question} {remark(self.rng)}."
            question = after if question.endswith("?") and self.rng.random() < 0.5 else before
        user = typed(self.rng, question).text
        reply = self.rng.choice(kind.replies if value else kind.unknown)
        self.exchange(user, upper_first(reply.replace("{v}", value)))
        if self.rng.random() < 0.025:
            self.exchange(typed(self.rng, self.rng.choice(_REPEATED)).text, upper_first(reply.replace("{v}", value)))

    def _ask_two_facts(self, first: FactKind, second: FactKind) -> None:
        """The user asks for two told facts in one message."""
        kinds = (first, second)
        direct = [[core.text for core in kind.asks if core.form == "?" and ":" not in core.text] for kind in kinds]
        asks = [self.rng.choice(texts).removeprefix("and ") for texts in direct]
        joined = Core("?", self.rng.choice((" and ", " and ", ", and ", "? and ", "? ")).join(asks))
        user = typed(self.rng, surround(self.rng, [joined], self.vocative)).text
        replies = (self.rng.choice(kind.replies).replace("{v}", self.known[kind.name]) for kind in kinds)
        self.exchange(user, " ".join(upper_first(reply) for reply in replies))

    def _opened(self, text: str) -> str:
        """A statement with some words before or after it."""
        openers = [
            "",
            "by the way, ",
            "oh, ",
            "um, ",
            "well, ",
            "so ",
            "you know, ",
            "guess what, ",
            "okay, ",
            "listen, ",
        ]
        openers = [""] * 6 + openers
        if self.vocative:
            openers += ["pip, ", "hey pip, "]
        if self.rng.random() < 0.06:
            openers = [f"{remark(self.rng)}. "]
        ends: tuple[str, ...] = self.rng.choices((_PLAIN_ENDS, _WORDY_ENDS), (78, 22))[0]
        if text.endswith("?"):
            ends = ("",)
        elif self.rng.random() < 0.05:
            ends = (f". {remark(self.rng)}.", f" and {remark(self.rng)}.", f", but {remark(self.rng)}.")
        return self.rng.choice(openers) + text + self.rng.choice(ends)


def any_kind(rng: random.Random) -> FactKind:
    """A kind of fact: of each family as often, but of those that people tell first more often; often a common thing."""
    names = tuple(families())
    weights = [3 if name in OFTEN_TOLD else 1 for name in names]
    kinds = families()[rng.choices(names, weights)[0]]
    return rng.choice(kinds[:COMMON_THINGS] if rng.random() < 0.4 else kinds)


@cache
def _words_of_the_world() -> frozenset[str]:
    """The words of what Pip knows: of its replies, and of questions about the house."""
    texts = (
        text
        for intent in all_intents().values()
        if intent.topic != "unknown"
        for text in (*(core.text for core in _questions_about_the_house(intent)), *intent.replies)
    )
    words = {word for text in texts for word in normal(text).split()}
    return frozenset(words | {word.removesuffix("s") for word in words})


def _questions_about_the_house(intent: Intent) -> tuple[Core, ...]:
    """Empty for small talk, where people name any thing: "my coffee is cold"."""
    return () if intent.topic in ("pip", "talk") else (*intent.cores, *intent.follows)


def _foreign_value(rng: random.Random, values: str) -> str:
    """A value for a question that Pip cannot answer: nothing of the world that Pip knows."""
    while True:
        value = new_value(rng, values)
        if _words_of_the_world().isdisjoint(value.lower().split()):
            return value
