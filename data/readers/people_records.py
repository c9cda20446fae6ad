"""Messages of people as records: the exports of Telegram, Discord, Instagram, Facebook, Slack, Signal and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tinylm.data.readers.forms import Reading
from tinylm.data.readers.lines import Place
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.people import PersonMessage, is_assistant
from tinylm.data.readers.record_values import fields_of
from tinylm.data.readers.times import seconds_of
from tinylm.data.readers.turns import is_tool_role, known_role, roles_of_speakers

PERSON_KEYS = (
    *("sender_name", "from_name", "from", "sender", "author", "user_profile", "username", "user_name", "display_name"),
    *("user", "creator", "speaker", "nickname", "talker", "who", "role", "agent", "name"),
)
_ALIAS_KEYS = ("from_id", "sender_id", "author_id", "user_id", "user", "username")
# Of an object that stands for a person, the name that others see first
_NAME_KEYS = (
    *("nickname", "display_name", "real_name", "global_name", "name", "username", "formatted_name", "title", "id"),
)
_TEXT_KEYS = ("content", "text", "body", "message", "msg", "value", "utterance", "sentence")
TIME_KEYS = (
    *("date_unixtime", "timestamp_ms", "timestamp", "ts", "date", "time", "datetime", "date_time", "sent_at"),
    *("date_sent", "created_at", "created_date", "create_time", "created", "created_utc", "origin_server_ts"),
    *("originalarrivaltime", "posted_at", "send_time", "sent", "received_at"),
)
_FROM_ME_KEYS = ("is_from_me", "from_me", "is_sender", "is_outgoing", "outgoing", "is_created_by_user")
_DIRECTIONS = {"outgoing": True, "sent": True, "incoming": False, "received": False}
# With one of these, a row is a text of its own that happens to have an author and a date
_TEXT_OF_ITS_OWN = frozenset(
    {"title", "headline", "subject", "subreddit", "permalink", "url", "link", "link_id", "score", "ups"}
    | {"num_comments", "likes", "retweets", "retweet_count", "favorite_count", "views", "tags", "category"}
    | {"publisher", "section", "isbn", "genre", "abstract", "summary", "license", "story", "article"}
    | {"chapter", "book", "lang", "stars", "rating"}
)
# With one of these, it is a message whoever wrote it
_MESSAGE_OF_A_CHAT = frozenset(
    {"sender", "user_profile", "client_msg_id", "thread_ts", "reply_to", "reply_to_message_id"}
    | {"reactions", "attachments", "embeds", "sender_name", "from_id", "author_id", "sticker", "stickers"}
    | {"quote", "mentions", "media_type", "is_from_me", "timestamp_ms", "date_unixtime", "message_type"}
    | {"edited", "sent_at", "is_read", "chat", "channel", "recipients"}
)
_SERVICE_TYPES = frozenset(
    {"service", "call", "recipientadd", "recipientremove", "channelnamechange", "channeliconchange"}
    | {"guildmemberjoin", "channelpinnedmessage", "threadcreated", "userpremiumguildsubscription"}
    | {"group-v2-change", "keychange", "verified-change", "profile-change", "timer-notification"}
    | {"call-history", "change-number-notification"}
)
_SERVICE_SUBTYPES = ("channel_", "group_", "pinned_item", "bot_add", "bot_remove", "reminder_add", "huddle_thread")
SERVICE = "messages of the messenger itself, not of a person"
MEDIA = "messages that are no text, such as pictures"
_BROKEN = "its letters were broken as Facebook's exports break them (\u00c3\u00a9 for \u00e9), and are mended"


def is_people_list(messages: Sequence[object], options: ReadOptions) -> bool:
    """Whether a list holds messages of people by name, none of whom is called by a role.

    Also where one of them has the name that the user gave the assistant.
    """
    names: list[tuple[str, ...]] = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        # Most lists are of roles, and need no further look
        if options.assistant is None and isinstance(message.get("role"), str):
            return False
        fields = fields_of(message)
        if not _is_service(fields) and (found := _names_of(fields) or _me_or(fields, "other")):
            names.append(found)
            if options.assistant is None and known_role(found[0]) is not None:
                return False
    return _are_people(names, options)


def is_person_row(fields: Mapping[str, object]) -> bool:
    """Whether a row says who wrote a text and when, or is a message of a messenger otherwise."""
    if not any(isinstance(fields.get(key), str | list) for key in _TEXT_KEYS):
        return False
    if not _is_of_a_chat(fields) and all(seconds_of(fields.get(key)) is None for key in TIME_KEYS):
        return False
    return bool(_names_of(fields)) or _from_me(fields) is not None


def is_log(rows: Sequence[Mapping[str, object]], options: ReadOptions) -> bool:
    """Whether rows that say who wrote a text and when are a conversation, not texts of their own."""
    rows = [fields for fields in rows if not _is_service(fields)]
    names = [_names_of(fields) or ("",) for fields in rows]
    if any(map(is_text_of_its_own, rows)) or not _are_people(names, options):
        return False
    return 2 * sum(map(_is_of_a_chat, rows)) > len(rows) or 2 * len({name for name, *_ in names}) <= max(4, len(names))


def is_text_of_its_own(fields: Mapping[str, object]) -> bool:
    """Whether a row is a text that has an author, such as an article or a post, rather than a message in a chat."""
    return not _TEXT_OF_ITS_OWN.isdisjoint(fields)


def person_messages(
    messages: Iterable[tuple[Place, object]], reading: Reading, others: str = "other"
) -> Iterator[PersonMessage]:
    """The messages of people in a log, in order of time.

    Args:
        messages: objects, each with its place.
        reading: the file; its summary counts what is no message of a person, or no text.
        others: the name of whoever talks with the owner of the log, where it tells only what the owner wrote.
    """
    dropped = reading.summary.dropped
    known: dict[str, tuple[str, ...]] = {}
    for place, message in messages:
        fields = fields_of(message) if isinstance(message, dict) else {}
        names = _names_of(fields) or _me_or(fields, others)
        if len(names) > 1:
            known.update(dict.fromkeys(names, names))
        names = known.get(names[0], names) if names else names
        text = _text_of(next((fields[key] for key in _TEXT_KEYS if fields.get(key)), None)).strip()
        if _is_service(fields) or not names:
            dropped[SERVICE] += 1
        elif not text or not _is_text(text):
            dropped[MEDIA] += 1
        else:
            times = (seconds_of(fields[key]) for key in TIME_KEYS if key in fields)
            yield PersonMessage(place, names, text, next((time for time in times if time is not None), None))


def in_order(messages: list[PersonMessage]) -> list[PersonMessage]:
    """Messages with the oldest first, as Instagram's and Facebook's exports do not have them."""
    later = earlier = 0
    for one, other in pairwise(messages):
        if one.seconds is not None and other.seconds is not None:
            later += other.seconds > one.seconds
            earlier += other.seconds < one.seconds
    return messages[::-1] if earlier > later else messages


def mended(messages: Iterable[PersonMessage], reading: Reading) -> Iterator[PersonMessage]:
    """Messages whose bytes of UTF-8 were each taken for a character, with the characters that they make."""
    for message in messages:
        text, names = _mend(message.text), tuple(map(_mend, message.names))
        if text != message.text or names != message.names:
            reading.summary.note(_BROKEN)
        yield message._replace(text=text, names=names)


def _is_of_a_chat(fields: Mapping[str, object]) -> bool:
    return not _MESSAGE_OF_A_CHAT.isdisjoint(fields) or fields.get("type") in ("message", "Default", "Reply")


def _are_people(names: Sequence[tuple[str, ...]], options: ReadOptions) -> bool:
    if any(is_assistant(all_of_one, options) for all_of_one in names):
        return True
    firsts = [name for name, *_ in names]
    if not firsts or any(known_role(name) is not None or is_tool_role(name) for name in firsts):
        return False
    return roles_of_speakers(firsts) is None


def _names_of(fields: Mapping[str, object]) -> tuple[str, ...]:
    """How a message names its writer: the name to show, then others."""
    names: dict[str, None] = {}
    for key in PERSON_KEYS:
        value = fields.get(key)
        if value is not None:
            for name in _names_in(value):
                names.setdefault(name)
            if names:
                break
    if names:
        for key in _ALIAS_KEYS:
            if isinstance(value := fields.get(key), str | int) and not isinstance(value, bool):
                names.setdefault(str(value))
    return tuple(names)


def _names_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        inner = fields_of(value)
        if isinstance(inner.get("role"), str):
            yield str(inner["role"])
            return
        for key in (*_NAME_KEYS, "user"):
            if key in inner:
                yield from _names_in(inner[key])


def _from_me(fields: Mapping[str, object]) -> bool | None:
    """Whether the owner of a log wrote a message, where that is all that is told."""
    for key in _FROM_ME_KEYS:
        if key in fields:
            return str(fields[key]).lower() in ("true", "1", "yes")
    kind = fields.get("type")
    return _DIRECTIONS.get(kind) if isinstance(kind, str) else None


def _me_or(fields: Mapping[str, object], others: str) -> tuple[str, ...]:
    from_me = _from_me(fields)
    return () if from_me is None else ("Me",) if from_me else (others,)


def _is_service(fields: Mapping[str, object]) -> bool:
    kind, subtype = fields.get("type"), fields.get("subtype")
    if isinstance(subtype, str) and subtype.startswith(_SERVICE_SUBTYPES):
        return True
    return isinstance(kind, str) and kind.lower() in _SERVICE_TYPES


def _text_of(value: object) -> str:
    """A message's text, whatever its parts are called: of what is bold or a link, the words."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_of, value))
    if isinstance(value, dict):
        return _text_of(next((value[key] for key in ("text", "body", "content") if value.get(key)), None))
    return ""


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mend(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
