"""Opposites and numbers: questions and answers in the notation of `intents`."""

TEXT = """
# opposite counting
? what is the opposite of {s}
? which word is the opposite of {s}
? what is not {s}
? something is not {s}, what is it
~ the opposite of {s}
> and the opposite of {s}
> and of {s}
= The opposite of {s} is {t}.
= {T}, because {t} is not {s}.
! {t}
d The opposite of {s} is {t}.
- hot: s=hot; t=cold
- cold: s=cold; t=hot
- big: s=big; t=small
- small: s=small; t=big
- wet: s=wet; t=dry
- dry: s=dry; t=wet
- fast: s=fast; t=slow
- slow: s=slow; t=fast
- old: s=old; t=new
- new: s=new; t=old
- happy: s=happy; t=sad
- sad: s=sad; t=happy
- full: s=full; t=empty
- empty: s=empty; t=full
"""

_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def numbers() -> str:
    """The number questions: what comes after and before a number, and small sums."""
    after = [f"- {_WORDS[n]}: s={_WORDS[n]}; t={_WORDS[n + 1]}" for n in range(1, 12)]
    before = [f"- {_WORDS[n]}: s={_WORDS[n]}; t={_WORDS[n - 1]}" for n in range(2, 13)]
    sums = [
        f"- {_WORDS[a]}_{_WORDS[b]}: a={_WORDS[a]}; b={_WORDS[b]}; c={_WORDS[a + b]}"
        for a in range(1, 6)
        for b in range(1, 6)
    ]
    return "\n".join(
        [
            "# after counting",
            "? [what|which number] comes after {s}",
            "? what number is after {s}",
            "? what is the next number after {s}",
            "~ [what|which number] comes after {s}",
            "~ the number after {s}",
            "> and after {s}",
            "= After {s} comes {t}.",
            "= {T} comes after {s}.",
            "! {t}",
            "d After {s} comes {t}.",
            *after,
            "# before counting",
            "? [what|which number] comes before {s}",
            "? what number is before {s}",
            "? what is the number before {s}",
            "~ [what|which number] comes before {s}",
            "~ the number before {s}",
            "> and before {s}",
            "= Before {s} comes {t}.",
            "= {T} comes before {s}.",
            "! {t}",
            "d Before {s} comes {t}.",
            *before,
            "# plus counting",
            "? what is {a} plus {b}",
            "? how much is {a} [plus|and] {b}",
            "? what do you get for {a} plus {b}",
            "? can you add {a} and {b}",
            "~ what {a} plus {b} is",
            "~ how much {a} plus {b} is",
            "> and {a} plus {b}",
            "= {A} plus {b} is {c}.",
            "= {A} and {b} make {c}.",
            "! {c}",
            "d {A} plus {b} is {c}.",
            *sums,
        ]
    )
