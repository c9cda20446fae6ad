"""From documents and conversations to batches of token ids.

Files:
    preparation.py  from files and configuration to the data of each stage
    survey.py       counts and hashes of a stage's files; the tokenizer's training text
    held_out.py     which examples are held out
    overlap.py      held-out conversations inside raw text
    reservoir.py    samples and duplicates in bounded memory
    tokens.py       text to token ids in several threads
    disk_cache.py   hash-verified disk cache of tokens
    stages.py       the data of a stage: token shards and rows of them
    packing.py      rows of documents and of conversations
    batches.py      an endless sequence of batches
    sequences.py    a file of any form as token ids, for evaluation
"""
