"""JSON files that are read as documents and cannot be."""

import json

import pytest

from tinylm.data import DataError, ReadSummary, iter_documents

HI = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
BYE = [{"role": "user", "content": "bye"}, {"role": "assistant", "content": "see you"}]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"text": 1}, "text must be a text, found a number"),
        ({"text": "a\ud83d"}, "text holds half a surrogate pair (\\ud83d), which is no character; take it out"),
    ],
)
def test_wrong_documents(tmp_path, record, problem):
    path = tmp_path / "documents.jsonl"
    path.write_text(f'{{"text": "a"}}\n{json.dumps(record)}')
    summary = ReadSummary(path)
    assert list(iter_documents(path, summary)) == ["a"]
    assert summary.sentences() == [f"{path}: 1 skipped, 1 kept: not understood (the first at line 2: {problem})"]
    path.write_text(f"\n{json.dumps(record)}")
    with pytest.raises(DataError) as caught:
        list(iter_documents(path))
    assert str(caught.value) == f"{path}:2: {problem}"


def test_documents_and_conversations_in_one_file(tmp_path):
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps([{"text": " <bos> a "}, {"messages": HI}, BYE, {"text": "b", "messages": HI}], indent=1))
    assert list(iter_documents(path)) == ["<bos> a", "hi\nhello", "bye\nsee you", "b"]
