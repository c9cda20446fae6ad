"""The kinds of facts that users tell about themselves, with everything that is said about them."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm.data.world.phrasings import Core, expand
from tinylm.data.world.values import COLOURS, FOODS, NAMES, NUMBERS, PETS, TOWNS


@dataclass(frozen=True)
class FactKind:
    """One kind of fact about the user; "{v}" stands for its value.

    Attributes:
        name: what it is called here.
        missing: the fact as a reply names it when it was never told, "You have not told me {your name} yet."
        key: the word or phrase of this that a right reply has.
        values: the closed list of its values; kinds with the same list never get the same value in one chat.
        tells, corrections: what users say; asks: their questions.
        acknowledgements, replies, unknown: what the assistant says to a fact, to a question, and when never told.
        system: how a system message says it.
    """

    name: str
    missing: str
    key: str
    values: tuple[str, ...]
    tells: tuple[str, ...]
    corrections: tuple[str, ...]
    asks: tuple[Core, ...]
    acknowledgements: tuple[str, ...]
    replies: tuple[str, ...]
    unknown: tuple[str, ...]
    system: tuple[str, ...]


def _kind(
    name: str, missing: str, key: str, values: tuple[str, ...], tells: str, asks: str, acknowledgements: str,
    replies: str, corrected: str, system: str,
) -> FactKind:  # fmt: skip
    lines = [line.strip() for line in asks.strip().splitlines()]
    return FactKind(
        name=name,
        missing=missing,
        key=key,
        values=values,
        tells=tuple(text for line in tells.strip().splitlines() for text in expand(line.strip())),
        corrections=tuple(
            text
            for line in ("actually, {c}", "no, sorry, {c}", "wait, {c}", "i made a mistake, {c}", "sorry, i mean {c}")
            for text in expand(line.replace("{c}", corrected))
        ),
        asks=tuple(Core(line[0], text) for line in lines for text in expand(line[2:])),
        acknowledgements=tuple(line.strip() for line in acknowledgements.strip().splitlines()),
        replies=tuple(line.strip() for line in replies.strip().splitlines()),
        unknown=(f"You have not told me {missing} yet.", f"I do not know {missing} yet. Please tell me!"),
        system=tuple(line.strip() for line in system.strip().splitlines()),
    )


KINDS = (
    _kind(
        "name", "your name", "your name", NAMES,
        """
        my name is {v}
        i am {v}
        [you can|] call me {v}
        i am called {v}
        [hello|hi], i am {v}
        [hello|hi], my name is {v}
        people call me {v}
        this is {v} [speaking|]
        """,
        """
        ? what is my name
        ? do you [remember|know] my name
        ? who am i
        ? what am i called
        ? what did i say my name was
        ? do you [remember|know] who i am
        ~ what my name is
        ~ who i am
        ~ my name
        """,
        """
        Nice to meet you, {v}!
        Hello {v}! Welcome to my shelf.
        {v} is a lovely name.
        Good to know, {v}.
        """,
        """
        Your name is {v}.
        You are {v}.
        You told me that your name is {v}.
        """,
        "my name is {v}",
        """
        The user is called {v}.
        The name of the user is {v}.
        You are talking to {v}.
        """,
    ),
    _kind(
        "colour", "your favourite colour", "colour", COLOURS,
        """
        my favourite [colour|color] is {v}
        i like {v} best
        {v} is my favourite [colour|color]
        the [colour|color] i like most is {v}
        i love the [colour|color] {v}
        my bike and my hat are {v}, because i like {v} best
        """,
        """
        ? what is my favourite [colour|color]
        ? do you [remember|know] my favourite [colour|color]
        ? which [colour|color] do i like [best|most]
        ? what [colour|color] do i [like|love]
        ~ what my favourite [colour|color] is
        ~ which [colour|color] i like [best|most]
        ~ my favourite [colour|color]
        """,
        """
        {v} is a beautiful colour.
        I will remember {v}.
        Oh, {v}! A good choice.
        """,
        """
        Your favourite colour is {v}.
        You like {v} best.
        You told me that your favourite colour is {v}.
        """,
        "my favourite [colour|color] is {v}",
        """
        The favourite colour of the user is {v}.
        The user likes {v} best.
        """,
    ),
    _kind(
        "age", "your age", "age", NUMBERS,
        """
        i am {v} years old
        i am {v}
        i am {v} now
        my age is {v}
        i turned {v} [this week|today|]
        """,
        """
        ? how old am i
        ? what is my age
        ? do you [remember|know] my age
        ? do you [remember|know] how old i am
        ~ how old i am
        ~ what my age is
        ~ my age
        """,
        """
        {v} is a good age.
        {v} years! I am much younger.
        So you are {v} years old. I will remember it.
        """,
        """
        You are {v} years old.
        Your age is {v}.
        You told me that you are {v} years old.
        """,
        "i am {v} years old",
        """
        The user is {v} years old.
        """,
    ),
    _kind(
        "number", "your lucky number", "lucky number", NUMBERS,
        """
        my lucky number is {v}
        {v} is my lucky number
        the number {v} brings me luck
        my lucky number has always been {v}
        """,
        """
        ? what is my lucky number
        ? do you [remember|know] my lucky number
        ? which number brings me luck
        ? which number is my lucky one
        ~ what my lucky number is
        ~ which number brings me luck
        ~ my lucky number
        """,
        """
        {v} sounds lucky to me.
        I will remember {v}.
        {v}! May it bring you luck.
        """,
        """
        Your lucky number is {v}.
        {v} is your lucky number.
        You told me that your lucky number is {v}.
        """,
        "my lucky number is {v}",
        """
        The lucky number of the user is {v}.
        """,
    ),
    _kind(
        "plants", "how many plants you have", "plants", NUMBERS,
        """
        i have {v} plants [at home|]
        there are {v} plants in my [room|garden]
        i own {v} plants
        i grow {v} plants
        """,
        """
        ? how many plants do i have
        ? how many plants are [mine|there in my home]
        ? do you [remember|know] how many plants i have
        ? what is the number of my plants
        ~ how many plants i have
        ~ the number of my plants
        """,
        """
        {v} plants! That is almost a forest.
        {v} plants drink a lot of water.
        Say hello to all {v} of them.
        """,
        """
        You have {v} plants.
        There are {v} plants in your home.
        You told me that you have {v} plants.
        """,
        "i have {v} plants",
        """
        The user has {v} plants.
        """,
    ),
    _kind(
        "pet", "the name of your pet", "pet", PETS,
        """
        my [dog|cat|pet|rabbit] is called {v}
        i have a [dog|cat|rabbit|pet] called {v}
        the name of my [dog|cat|pet|rabbit] is {v}
        {v} is my [dog|cat|pet|rabbit]
        """,
        """
        ? what is my pet called
        ? what is the name of my pet
        ? do you [remember|know] [my pet|the name of my pet]
        ? what do i call my pet
        ~ what my pet is called
        ~ the name of my pet
        """,
        """
        {v} sounds very sweet.
        Please say hello to {v}.
        I would like to meet {v}. Miso too.
        """,
        """
        Your pet is called {v}.
        The name of your pet is {v}.
        You told me that your pet is called {v}.
        """,
        "my pet is called {v}",
        """
        The pet of the user is called {v}.
        """,
    ),
    _kind(
        "town", "where you live", "live", TOWNS,
        """
        i live in {v}
        i am from {v}
        my home is in {v}
        my [house|flat|home] is in {v}
        {v} is my home town
        i come from {v}
        """,
        """
        ? where do i live
        ? where am i from
        ? which [town|city] do i live in
        ? do you [remember|know] where i live
        ? what is my [home town|town]
        ~ where i live
        ~ which [town|city] i live in
        ~ my town
        """,
        """
        {v} must be a nice place.
        I have never been to {v}.
        Greetings to {v}!
        """,
        """
        You live in {v}.
        Your home is in {v}.
        You told me that you live in {v}.
        """,
        "i live in {v}",
        """
        The user lives in {v}.
        The home of the user is in {v}.
        """,
    ),
    _kind(
        "food", "your favourite food", "food", FOODS,
        """
        my favourite food is {v}
        i love to eat {v}
        the food i like most is {v}
        i could eat {v} every day
        {v} for dinner makes me happy
        i like to eat {v}
        """,
        """
        ? what is my favourite food
        ? what do i [like|love] to eat
        ? do you [remember|know] my favourite food
        ? which food do i like [best|most]
        ~ what my favourite food is
        ~ what i [like|love] to eat
        ~ my favourite food
        """,
        """
        Mmm, {v}! Save some for the cat.
        A plate of {v} sounds tasty.
        Grandma makes good {v} too.
        """,
        """
        Your favourite food is {v}.
        You love to eat {v}.
        You told me that your favourite food is {v}.
        """,
        "my favourite food is {v}",
        """
        The favourite food of the user is {v}.
        The user loves to eat {v}.
        """,
    ),
    _kind(
        "friend", "the name of your friend", "friend", NAMES,
        """
        my [best|] friend is called {v}
        the name of my friend is {v}
        {v} is my [best|] friend
        i have a friend called {v}
        """,
        """
        ? who is my [best|] friend
        ? what is my friend called
        ? what is the name of my friend
        ? do you [remember|know] the name of my friend
        ~ who my [best|] friend is
        ~ what my friend is called
        ~ the name of my friend
        """,
        """
        {v} is lucky to have you.
        Please say hello to {v}.
        {v} sounds like a good friend.
        """,
        """
        Your friend is called {v}.
        The name of your friend is {v}.
        You told me that your friend is called {v}.
        """,
        "my friend is called {v}",
        """
        The best friend of the user is called {v}.
        """,
    ),
)  # fmt: skip
