"""From a file to documents and conversations.

Files:
    front_door.py      which form a file has; calls the reader of that form
    paths.py           files, folders and globs with their weights
    sources.py         files as byte streams, decompressed
    encodings.py       UTF-8, UTF-16, cp1252: decided from the whole file
    lines.py           text as numbered lines
    raw_text.py        split plain text at separators
    tagged.py          conversations in tagged or labelled text
    markup.py          role tags, chat templates and labels in text
    line_dialogues.py  one dialogue a line
    chat_logs.py       messenger logs
    json_values.py yaml_values.py tables.py parquet.py
    JSON, YAML, CSV and Parquet as streams of records
    records.py         the forms of record: OpenAI, ShareGPT, Alpaca and more
    messages.py        lists of messages
    prompt_response.py pairs of prompt and response
    trees.py           trees of messages
    grouped_rows.py    one turn a row
    record_values.py   texts from values
    turns.py           roles and turns
    read_summary.py    what was read, what was left out and why
"""
