"""A conversation while it is generated: messages, known facts, and the next exchange."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tinylm.chat_format import Conversation
from tinylm.data.world.intents import Intent, all_intents, intents_by_family, upper_first
from tinylm.data.world.phrasings import WorldSplit, dress, phrase
from tinylm.data.world.recall import KIND_BY_NAME, recall_question
from tinylm.data.world.recall_kinds import KINDS, FactKind
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
OPENING = ("hello", "good_morning", "how_are_you", "pip_help")
CLOSING = ("goodbye", "good_night", "thanks")


@dataclass
class Talk:
    """The state of a conversation.

    Attributes:
        rng: source of all choices.
        messages: of the conversation so far.
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
        return self.rng.choice([value for value in kind.values if value not in self.known.values()])

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
        kind = KIND_BY_NAME["name"] if self.rng.random() < 0.6 else self.rng.choice(KINDS)
        self.set_system("persona" in effects, kind if "user" in effects else None, "style" in effects)

    def next_intent(self) -> Intent:
        """Draw the next question: of the same topic, a linked one or, at the start, any."""
        families = intents_by_family()
        last = next((all_intents()[name] for name in reversed(self.said) if name), None)
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
        weights = [len(families[family]) ** 0.5 for family in choices]
        while True:
            intent = self.rng.choice(families[self.rng.choices(choices, weights)[0]])
            if intent.name not in self.said:
                return intent

    def ask_intent(self, intent: Intent, split: WorldSplit = "train", follow: bool = False) -> bool:
        """Append a question of an intent in a phrasing of the split, and a reply; False if the split has none."""
        cores = intent.follows if follow or intent.parent else intent.cores
        user = phrase(self.rng, cores, split, self.vocative and intent.vocative)
        if user is None:
            return False
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
        """Append one exchange about the world."""
        following = self.follow_up()
        if following is not None and self.ask_intent(following[0], follow=following[1]):
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
        """Append a turn in which the user tells one fact or two."""
        texts: list[str] = []
        for kind in kinds:
            self.known[kind.name] = value = self.new_value(kind)
            self.told_at[kind.name] = len(self.said)
            text = self.rng.choice(kind.tells)
            if texts:
                # The second fact stands after "and", where no greeting fits.
                text = self.rng.choice([tell for tell in kind.tells if not tell.startswith(("hello", "hi"))])
            texts.append(text.replace("{v}", value))
        told = kinds[-1] if len(kinds) > 1 and self.rng.random() < 0.5 else kinds[0]
        reply = upper_first(self.rng.choice(told.acknowledgements).replace("{v}", self.known[told.name]))
        self.exchange(self._typed(" and ".join(texts)), reply)

    def correct(self, kind: FactKind) -> None:
        """Append a turn in which the user corrects a fact."""
        value = self.new_value(kind)
        text = self.rng.choice(kind.corrections).replace("{v}", value)
        self.known[kind.name] = value
        self.told_at[kind.name] = len(self.said)
        thanks = self.rng.choice(("Thank you! I will remember {v}.", "I see, {v}. I will remember it."))
        self.exchange(dress(self.rng, text + "."), thanks.replace("{v}", value))

    def ask_fact(self, kind: FactKind, split: WorldSplit = "train") -> None:
        """Append a question about a fact that was told, or never told."""
        value = self.known.get(kind.name, "")
        user = recall_question(self.rng, kind, value, split, self.vocative)
        reply = self.rng.choice(kind.replies if value else kind.unknown)
        self.exchange(user, upper_first(reply.replace("{v}", value)))

    def _typed(self, text: str) -> str:
        """Put an opener and a final mark around a remark; values keep their case."""
        openers = ("", "", "", "pip, ", "by the way, ") if self.vocative else ("", "", "by the way, ")
        return dress(self.rng, self.rng.choice(openers) + text + self.rng.choice(("", ".", ".", "!")))
