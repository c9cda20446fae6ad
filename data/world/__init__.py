"""The bundled world: data that a small model can learn in minutes, and a test of what it has learned.

Pip, a chat helper on a Raspberry Pi, talks about the house, the garden, the weather, the animals and a small rover,
remembers what users tell, and says so when it is asked something that it does not know.

Files:
    documents.py     texts for pre-training
    generator.py     conversations for fine-tuning
    talk.py          a conversation under construction
    intents.py       what users ask, and the right answers
    topics/          the topics as text: questions and answers; README.md describes their form
    topic_files.py   reader of these files
    phrasings.py     from a core phrasing to a whole question
    as_typed.py      from a question to what a user types
    told_facts.py    the facts that users tell about themselves
    values.py        names, colours, towns and the like: short lists
    open_values.py   the same without an end: made-up words, and words of words.txt
    made_up_words.py words of the syllables of many languages
    test_items/      the test as text, written apart from training; README.md describes its form
    held_out.py      reader of these files, and the values that training never has
    items.py         the test items
    judge.py         whether a reply is right, and the score of a model
    write.py         writes the world as files
    demo.toml demo_model.toml
                     the hyperparameters of `make demo` and of the demo model
"""

from tinylm.data.world.documents import training_documents
from tinylm.data.world.generator import training_conversations
from tinylm.data.world.items import test_items
from tinylm.data.world.judge import WorldItem, WorldScore, baseline_accuracy, score_world
from tinylm.data.world.write import DEFAULT_CONVERSATIONS, DEFAULT_DOCUMENTS, write_world

__all__ = [
    "DEFAULT_CONVERSATIONS",
    "DEFAULT_DOCUMENTS",
    "WorldItem",
    "WorldScore",
    "baseline_accuracy",
    "score_world",
    "test_items",
    "training_conversations",
    "training_documents",
    "write_world",
]
