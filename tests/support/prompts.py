"""Prompts of token ids."""


def prompt_of(length, first=20):
    """So many ids, `<bos>` first."""
    return [1, *(first + number % 50 for number in range(length - 1))]
