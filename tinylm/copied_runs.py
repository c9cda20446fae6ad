"""The longest runs of words that texts share with others, in one pass through the others and memory for the texts."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.words import words_of


class CopiedRuns:
    """Finds the longest run of words of each of some texts that occurs in other texts, word for word.

    The texts become a suffix automaton (Blumer et al. 1985, doi:10.1016/0304-3975(85)90157-4), through which the other
    texts are read. Its states are sets of runs that occur at the same places; reading keeps the state of the longest
    run that ends at the current word, and the longest one seen in each state.

    Args:
        texts: a run never reaches over the end of one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [words_of(text) for text in texts]
        self._next: list[dict[str, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        for words in self._texts:
            last = 0
            for word in words:
                last = self._extend(last, word)
        self._seen = [0] * len(self._next)

    def add(self, text: str) -> None:
        """Read another text; a run never reaches over its end."""
        following, links, lengths, seen = self._next, self._link, self._length, self._seen
        known = self._next[0]
        state = length = 0
        for word in words_of(text):
            if word not in known:
                state = length = 0
                continue
            while word not in following[state]:
                state = links[state]
                length = lengths[state]
            state = following[state][word]
            length += 1
            if length > seen[state]:
                seen[state] = length

    def longest(self) -> list[tuple[str, ...]]:
        """The longest run of each text that occurred in what was read, as words; of equally long ones, the first."""
        reached = self._longest_of_states()
        runs: list[tuple[str, ...]] = []
        for words in self._texts:
            state = longest = end = 0
            for place, word in enumerate(words):
                state = self._next[state][word]
                if reached[state] > longest:
                    longest, end = reached[state], place + 1
            runs.append(tuple(words[end - longest : end]))
        return runs

    def _longest_of_states(self) -> list[int]:
        """Of each state, the length of the longest run seen that ends as the runs of the state do."""
        reached = self._seen.copy()
        order = sorted(range(1, len(reached)), key=self._length.__getitem__)
        # A run that was seen was seen with all of its ends, which are in the states that the links lead to
        for state in reversed(order):
            if reached[state]:
                reached[self._link[state]] = self._length[self._link[state]]
        for state in order:
            reached[state] = reached[state] or reached[self._link[state]]
        return reached

    def _extend(self, last: int, word: str) -> int:
        """Add a word behind the run of a state.

        Args:
            last: the state of a text so far.
            word: the next word of the text.

        Returns:
            the state of the text with the word.
        """
        known = self._next[last].get(word)
        if known is not None:
            return self._state_of(last, word, known)
        state = self._new_state({}, self._length[last] + 1, 0)
        while last >= 0 and word not in self._next[last]:
            self._next[last][word] = state
            last = self._link[last]
        if last >= 0:
            self._link[state] = self._state_of(last, word, self._next[last][word])
        return state

    def _state_of(self, last: int, word: str, following: int) -> int:
        """The state of the longest run of `last` with a word; parted from its longer runs if they share one."""
        length = self._length[last] + 1
        if self._length[following] == length:
            return following
        state = self._new_state(self._next[following].copy(), length, self._link[following])
        self._link[following] = state
        while last >= 0 and self._next[last].get(word) == following:
            self._next[last][word] = state
            last = self._link[last]
        return state

    def _new_state(self, following: dict[str, int], length: int, link: int) -> int:
        self._next.append(following)
        self._length.append(length)
        self._link.append(link)
        return len(self._next) - 1
