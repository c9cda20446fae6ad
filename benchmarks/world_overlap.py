"""How near the items of the demo world's test are to its training data.

For each item, the message whose reply is judged is compared with all users' messages of the training conversations,
both reduced to their lower-case words: whether one is the same, and whether one is a near neighbour, which has at least
the share `--near` of their four-letter pieces in common (of those that either has). A table by category, then a line of
JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable

from tinylm.data.world import DEFAULT_CONVERSATIONS, test_items, training_conversations
from tinylm.data.world.phrasings import normal

PIECE = 4


def pieces(text: str) -> frozenset[str]:
    """The pieces of four letters of a text, blanks at its ends included."""
    padded = f" {text} "
    return frozenset(padded[start : start + PIECE] for start in range(max(1, len(padded) - PIECE + 1)))


class Neighbours:
    """Looks for the text that is most like another one."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._pieces = [pieces(text) for text in texts]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, found in enumerate(self._pieces):
            for piece in found:
                self._places[piece].append(place)

    def nearest(self, text: str) -> float:
        """The largest share of common pieces with any text, from 0 to 1."""
        wanted = pieces(text)
        shared: dict[int, int] = defaultdict(int)
        for piece in wanted:
            for place in self._places.get(piece, ()):
                shared[place] += 1
        return max(
            (count / (len(wanted) + len(self._pieces[place]) - count) for place, count in shared.items()), default=0.0
        )


def main() -> None:
    """Compare, and print the table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=DEFAULT_CONVERSATIONS)
    parser.add_argument("--near", type=float, default=0.6, metavar="SHARE")
    options = parser.parse_args()
    training = {
        normal(message["content"])
        for conversation in training_conversations(options.conversations)
        for message in conversation
        if message["role"] == "user"
    }
    neighbours = Neighbours(training)
    rows: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for item in test_items():
        text = normal(item.turns[-1])
        row = (text in training, neighbours.nearest(text) >= options.near)
        rows[item.category].append(row)
        rows["all"].append(row)
    figures: dict[str, float] = {}
    print(f"{'category':14}{'items':>8}{'the same':>12}{'near':>10}")
    for category, found in rows.items():
        same, near = (sum(row[column] for row in found) / len(found) for column in (0, 1))
        print(f"{category:14}{len(found):>8}{same:>12.1%}{near:>10.1%}")
        figures |= {f"{category}.same": same, f"{category}.near": near}
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
