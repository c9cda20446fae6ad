"""From a file to documents and conversations.

Files:
    front_door.py      read a file as conversations or documents
    registry.py        all readers, in the order in which they are asked
    forms.py           what a reader is: base classes for forms of file and of record
    options.py         what the user says about files
    paths.py           files, folders and globs with their weights
    sources.py         files as byte streams, decompressed
    encodings.py       UTF-8, UTF-16, cp1252: decided from the whole file
    lines.py           text as numbered lines
    refused.py         HTML, RTF, subtitles and the like
    raw_text.py prose.py                    split plain text into documents
    tagged.py marked_text.py                conversations in tagged or labelled text
    markup.py labels.py                     role tags, chat templates and labels in text
    line_dialogues.py  one dialogue a line
    chat_logs.py people.py people_records.py times.py
                       conversations of people: logs and exports of messengers
    json_values.py json_stream.py yaml_values.py tables.py parquet.py
                       JSON, YAML, CSV and Parquet as streams of records
    records.py         a stream of records as conversations and documents
    record_forms.py    the forms of record: OpenAI, ShareGPT, Alpaca and more
    record_keys.py record_values.py         what keys tell, texts from values
    messages.py cells.py                    lists of messages, dialogues in one value
    prompt_response.py preferences.py       pairs of prompt and response, good and bad replies
    trees.py           trees of messages
    grouped_rows.py    one turn a row
    turns.py           roles and turns
    read_summary.py    what was read, what was left out and why
"""
