"""Raw text: what parts documents, running prose, and text in a markup of its own, which is refused."""

import json

import pytest
from reading import lines, read

BOOK = """Ruth walked down to the pond and sat there.

"It is deep," said Tim.

She looked at him. Then she laughed, and the ducks came nearer to see what there was.

"It is," she said.

He took off his shoes.
"""
TALES = """Once upon a time there was a duck. She swam all day.

Tom had a red ball. He lost it in the garden, but a dog found it.

One day a bird sang. Everybody listened, and it sang again.

A small boat sailed to the island. The wind was kind.

Lily liked to draw. She drew a house with a blue door.
"""
MANUAL = """# The pond

It holds water.

- It is deep.
- It is cold.

## How to swim

Slowly.
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("book.txt", BOOK),
        ("book.txt", BOOK.replace("\n", "\r\n")),
        (
            "buch.txt",
            "Anna ging zum Teich.\n\n\u201eEr ist tief\u201c, sagte Tim.\n\nSie lachte.\n\nDann schwieg er.\n\n"
            "Es wurde Abend.\n",
        ),
        ("livre.txt", "Anne alla au bord.\n\n\u00ab C'est profond \u00bb, dit-il.\n\nElle rit.\n\nPuis elle partit.\n"),
        ("pond.md", MANUAL),
        (
            "wide.txt",
            "\n\n".join(
                f"{start} sat by the pond for a while and thought of the water that was there\nand all that had been "
                f"there before the ducks came and took the place for them-\nselves."
                for start in (
                    "Ruth",
                    "Tim",
                    "\u201cWell,\u201d said Ruth and",
                    "Ann",
                    "She",
                    "Tim",
                    "Ruth",
                    "They",
                    "The dog",
                    "The cat",
                )
            ),
        ),
    ],
)
def test_paragraphs_of_prose_are_one_text(tmp_path, name, text):
    found = read(tmp_path / name, text, documents=True)
    assert found.items == [text.replace("\r\n", "\n").strip()]
    assert "paragraphs are no documents of their own (if they are, say --documents blank-lines)" in found.said[0]


@pytest.mark.parametrize(
    ("text", "count", "median"),
    [
        (TALES, 5, 54),
        ("One fact.\n\nAnother fact.\n", 2, 13),
        ("\u201cBe quiet.\u201d Ann\n\n\u201cNever.\u201d Ben\n\n\u201cAlways.\u201d Cleo\n", 3, 14),
        ("one\n\ntwo\n\nthree\n\nfour\n", 4, 4),
    ],
)
def test_texts_between_blank_lines_are_documents_and_it_is_said(tmp_path, text, count, median):
    found = read(tmp_path / "a.txt", text, documents=True)
    assert len(found.items) == count
    said = f"blank lines part it into {count} documents of {median} characters (median); if it is one text, say"
    assert found.said == [f"{said} --documents file"]


def test_the_user_says_what_parts_documents(tmp_path):
    text = BOOK + "***\n" + TALES
    path = tmp_path / "a.txt"

    def documents(said):
        from tinylm.data import ReadSummary, iter_documents
        from tinylm.data.readers.options import ReadOptions

        path.write_text(text)
        summary = ReadSummary(path)
        return list(iter_documents(path, summary, ReadOptions(documents=said))), summary.notes

    assert documents("blank-lines") == ([part.strip() for part in text.split("\n\n")], [])
    assert documents("file") == ([text.strip()], [])
    assert documents(" *** ") == ([BOOK.strip(), TALES.strip()], [])
    assert documents("+++") == ([text.strip()], ["no line is '+++': the file is one document"])


@pytest.mark.parametrize(
    ("text", "documents", "said"),
    [
        (
            "<|startoftext|>A pond.<|endoftext|>\n<|startoftext|>A bean.<|endoftext|>\n",
            ["A pond.", "A bean."],
            "parts the documents",
        ),
        ("A pond.<|endoftext|>A bean.<|endoftext|>", ["A pond.", "A bean."], "parts the documents"),
        ("A\n\nb <|endoftext|>\nC\n\nd<|endoftext|>", ["A\n\nb", "C\n\nd"], "parts the documents"),
        ("<|begin_of_text|>A pond.<|end_of_text|>\n", ["A pond."], "parts the documents"),
        ("The mark <|endoftext|> ends a text.", ["The mark <|endoftext|> ends a text."], "which is learnt as text: 1"),
        ("A\n<|endoftext|>\nB <|endoftext|> C\n", ["A", "B <|endoftext|> C"], "which is learnt as text: 1"),
        ("<s> A </s>\n<s> B </s>\n<s> C </s>\n", ["<s> A </s>\n<s> B </s>\n<s> C </s>"], "which is learnt as text: 3"),
    ],
)
def test_marks_inside_lines_part_documents_or_are_said(tmp_path, text, documents, said):
    found = read(tmp_path / "a.txt", text, documents=True)
    assert found.items == documents
    assert said in " ".join(found.said)


def test_marks_in_records(tmp_path):
    records = [
        {"text": "<|startoftext|>A pond.<|endoftext|>"},
        {"text": "A<|endoftext|>B<|endoftext|>C"},
        {"text": "uses <|endoftext|> here"},
    ]
    found = read(tmp_path / "a.jsonl", lines(*records), documents=True)
    assert found.items == ["A pond.", "A", "B", "C", "uses <|endoftext|> here"]
    assert found.said == ["texts with <|endoftext|> or the like inside, which is learnt as text: 1"]
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b <|im_end|><|endoftext|>\n"}]
    assert read(tmp_path / "a.json", {"messages": turns}).items == [[turns[0], {"role": "assistant", "content": "b"}]]


NOTEBOOK = {"cells": [{"cell_type": "code", "source": ["x"], "outputs": ["y"]}], "metadata": {}, "nbformat": 4}
HTML, XML = "is HTML; open it in a browser and save its text as .txt", "is XML; save its texts as .txt or .jsonl"
MARKUP = {
    "page.html": ("<!DOCTYPE html>\n<html><body><p>A pond.</p></body></html>", HTML),
    "page.txt": ("\n<html><head><style>p{}</style></head><body><p>A pond.</p></body></html>", HTML),
    "comment.htm": ("<!-- saved -->\n<html><body>A pond.</body></html>", HTML),
    "part.txt": ("<div class='x'><p>A pond.</p>\n<p>A bean.</p></div>", HTML),
    "page.csv": ("<html><body>A pond.</body></html>", HTML),
    "feed.xml": ('<?xml version="1.0"?><rss><item>A pond.</item></rss>', XML),
    "books.txt": ("<books>\n<book><title>A</title></book>\n<book><title>B</title></book>\n</books>", XML),
    "drawing.svg": ("<svg xmlns='x'><path/></svg>", XML),
    "note.rtf": ("{\\rtf1\\ansi A pond.\\par}", "is RTF; open it and save its text as .txt"),
    "note.txt": ("{\\rtf1\\ansi A pond.\\par}", "is RTF; open it and save its text as .txt"),
    "film.srt": ("1\n00:00:01,000 --> 00:00:03,000\nDeep?\n", "holds subtitles; save what is said, without"),
    "film.txt": (
        "\ufeff1\r\n00:00:01,000 --> 00:00:03,000\r\nDeep?\r\n",
        "holds subtitles; save what is said, without",
    ),
    "film.vtt": ("WEBVTT\n\n00:01.000 --> 00:03.000\nDeep?\n", "holds subtitles (WebVTT); save what is said"),
    "film.ass": ("[Script Info]\nTitle: x\n", "holds subtitles (ASS); save what is said"),
    "film.sub": ("{0}{25}Deep?\n{26}{50}Very.\n", "holds subtitles; save what is said"),
    "page.ipynb": (json.dumps(NOTEBOOK), "is a Jupyter notebook; save its text as .txt"),
    "page.json": (json.dumps(NOTEBOOK, indent=1), "is a Jupyter notebook; save its text as .txt"),
    "old.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an office document; save its text as .txt"),
}


@pytest.mark.parametrize("name", MARKUP)
@pytest.mark.parametrize("documents", [True, False])
def test_markup_is_refused(tmp_path, name, documents):
    text, problem = MARKUP[name]
    found = read(tmp_path / name, text, documents)
    assert found.items == []
    assert found.error.startswith(f"{name}: {problem}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "<user> hi\n<assistant> <b>hello</b>"),
        ("a.txt", "<3 love\nand </3> tears"),
        ("a.txt", "Use <p> and </p> for paragraphs."),
        ("a.md", "<p align=center>Logo</p>\n<p>More</p>"),
        ("a.txt", "<s>A pond.</s> <s>A bean.</s>"),
        ("a.txt", "12:30 --> later"),
        ("a.txt", "1\n\nThe first chapter --> a pond"),
        ("a.txt", '{"cells": "are small"}'),
    ],
)
def test_other_text_with_such_signs_is_read(tmp_path, name, text):
    assert "".join(read(tmp_path / name, text, documents=True).items) == text.strip().replace(
        "\n\n", "" if "1\n\n" in text else "\n\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "documents"),
    [
        (
            "a.csv",
            "author,title,text\nRuth Moss,Beans,Beans need sun.\nTim Fern,Ponds,A pond.\n",
            ["Beans need sun.", "A pond."],
        ),
        ("a.csv", "author,title,text\nAI,Beans,Beans need sun.\nAI,Ponds,A pond.\n", ["Beans need sun.", "A pond."]),
        ("a.csv", "speaker,text\nRuth,Deep it is.\nTim,Yes.\nRuth,Ok.\n", ["Deep it is.", "Yes.", "Ok."]),
        (
            "a.json",
            [{"from": "Ruth", "text": "A letter."}, {"from": "Tim", "text": "Another."}],
            ["A letter.", "Another."],
        ),
        (
            "a.csv",
            "from,to,date,subject,body\na@x,b@x,2020-01-01,Hi,Dear B\nb@x,a@x,2020-01-02,Re,Dear A\n",
            ["Dear B", "Dear A"],
        ),
        (
            "a.jsonl",
            lines({"author": "a", "title": "T", "content": "One."}, {"author": "b", "title": "U", "content": "Two."}),
            ["One.", "Two."],
        ),
        (
            "a.jsonl",
            lines(
                {
                    "author": "a",
                    "subreddit": "x",
                    "body": "First.",
                    "created_utc": 1700000000,
                    "id": "1",
                    "parent_id": "t3_1",
                },
                {
                    "author": "b",
                    "subreddit": "x",
                    "body": "[deleted]",
                    "created_utc": 1700000001,
                    "id": "2",
                    "parent_id": "t1_1",
                },
                {
                    "author": "c",
                    "subreddit": "x",
                    "body": "Second.",
                    "created_utc": 1700000002,
                    "id": "3",
                    "parent_id": "t1_1",
                },
            ),
            ["First.", "Second."],
        ),
        ("a.jsonl", lines({"author": "a", "title": "T", "selftext": "One.", "subreddit": "x"}), ["One."]),
    ],
)
def test_texts_with_an_author_are_documents(tmp_path, name, text, documents):
    found = read(tmp_path / name, text, documents=True)
    assert (found.items, found.error) == (documents, "")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.tsv", "How deep is it?\tTwo metres.\nCold?\tYes.\n", '"How deep is it?", "Two metres."'),
        ("a.csv", "Can we chat?,Sure\nCold?,Yes.\n", '"Can we chat?", "Sure"'),
        ("a.csv", "1,user,Hi\n1,bot,Hello\n", '"1", "user", "Hi"'),
    ],
)
@pytest.mark.parametrize("documents", [True, False])
def test_a_table_without_names_on_top_is_seen(tmp_path, name, text, problem, documents):
    found = read(tmp_path / name, text, documents)
    said = f"the first line is taken for the columns' names, and none of them is known: {problem}; put a line of"
    assert found.error.startswith(f"{name}:1: {said} names on top")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Question\tAnswer\nhi\thello\nbye\tsee you\n", "read as a table"),
        ("prompt\tresponse\tsource\nhi\thello\tweb\nbye\tsee you\tweb\n", "read as a table"),
        ("id\tquestion\tanswer\n1\thi\thello\n2\tbye\tsee you\n", "read as a table"),
        ("question,answer\nhi,hello\nbye,see you\n", "read as a table"),
        ("User ||| Bot\nhi ||| hello\nbye ||| see you\n", "the names of columns"),
        ("User __eou__ Bot __eou__\nhi __eou__ hello __eou__\nbye __eou__ see you __eou__\n", "the names of columns"),
    ],
)
def test_names_of_columns_in_text_files(tmp_path, text, said):
    found = read(tmp_path / "a.txt", text)
    turns = [[(turn["role"], turn["content"]) for turn in conversation] for conversation in found.items]
    assert turns == [[("user", "hi"), ("assistant", "hello")], [("user", "bye"), ("assistant", "see you")]]
    assert said in found.said[0]


def test_a_third_column_is_asked_for(tmp_path):
    found = read(tmp_path / "a.txt", "hi\thello\tweb\nbye\tsee you\tweb\n")
    assert found.error == (
        "a.txt:1: three columns in every line, of which two are turns; put names on top, such as prompt, response, "
        "note, and name the file .tsv"
    )
    assert len(read(tmp_path / "a.txt", "hi\thello\tyou\nbye\tsee you\na\tb\tc\td\n").items) == 3
