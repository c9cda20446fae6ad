"""Suites of questions with one right answer among several, for `tinylm eval --suite`.

Files:
    items.py              an item, and reading items from JSON Lines files
    simple_english.py     templates of minimal pairs of simple English, by phenomenon
    simple-english.jsonl  the pairs made of them: `python -m tinylm.data.suites.simple_english` writes them
"""

from tinylm.data.suites.items import BUNDLED, SuiteItem, read_suite

__all__ = ["BUNDLED", "SuiteItem", "read_suite"]
