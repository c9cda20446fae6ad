"""Times as messengers write them, in seconds, to see how long people pause."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

_DAY_SECONDS = 24 * 3600.0
_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
)}  # fmt: skip
_DATE = re.compile(r"(\d{1,4})[./-](\d{1,2}|[A-Za-z]{3})[./-](\d{2,4})")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\s?([ap])\.?\s?m)?", re.IGNORECASE)
# `1 January 2024 at 10:00`, `Jan 1, 2024 10:00 AM`
_DAY_MONTH = re.compile(r"(\d{1,2}) ([A-Za-z]{3})[a-z]*\.?,? (\d{4})")
_MONTH_DAY = re.compile(r"([A-Za-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})")
_LONGEST_STAMP = 60
# Seconds of today have ten digits
_SECONDS_LIMIT = 10**11


class Clock:
    """Reads the stamps of one log, in which days and months have one order.

    Args:
        day_first: whether the day stands before the month.
    """

    def __init__(self, day_first: bool = True) -> None:
        self._day_first = day_first
        self._midnight = 0.0
        self._last = 0.0

    @classmethod
    def for_stamps(cls, stamps: Iterable[str]) -> Clock:
        """A clock for a log with these stamps: a number above 12 can only be a day."""
        slashes = half_days = False
        for stamp in stamps:
            date = _DATE.search(stamp)
            if date is None or len(date[1]) > 2 or not date[2].isdigit():
                continue
            if int(date[1]) > 12:
                return cls(day_first=True)
            if int(date[2]) > 12:
                return cls(day_first=False)
            slashes |= "/" in date[0]
            half_days |= re.search(r"[ap]\.?\s?m", stamp, re.IGNORECASE) is not None
        return cls(day_first=not (slashes and half_days))

    def seconds(self, stamp: str) -> float | None:
        """The time of a stamp; without a date, midnight has passed where the time is earlier than the last one."""
        date = _DATE.search(stamp)
        time = _CLOCK.search(stamp, date.end() if date is not None else 0)
        of_day = _seconds_of_day(time) if time is not None else 0.0
        if date is not None:
            day = self._day(date)
            return day + of_day if day is not None else None
        if time is None:
            return None
        if of_day < self._last:
            self._midnight += _DAY_SECONDS
        self._last = of_day
        return self._midnight + of_day

    def begin_day(self, line: str) -> None:
        """Take the date of a line as that of the times after it."""
        date = _DATE.search(line)
        day = self._day(date) if date is not None else None
        if day is not None:
            self._midnight, self._last = day, 0.0

    def _day(self, date: re.Match[str]) -> float | None:
        first, middle, last = date[1], date[2].lower(), date[3]
        if len(first) > 2:
            year, month, day = first, middle, last
        elif middle.isdigit() and not self._day_first:
            month, day, year = first, middle, last
        else:
            day, month, year = first, middle, last
        try:
            whole_year = int(year) + (2000 if len(year) == 2 else 0)
            number = int(month) if month.isdigit() else _MONTHS.get(month, 0)
            return datetime(whole_year, number, int(day), tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            return None


def seconds_of(value: object) -> float | None:
    """The time that a value of JSON or a table stands for: a number since 1970, or a date as a text."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        number = float(str(value))
    except ValueError:
        return _seconds_of_text(str(value))
    if number != number or number in (float("inf"), float("-inf")):
        return None
    while abs(number) >= _SECONDS_LIMIT:
        number /= 1000  # milliseconds, microseconds
    return number


def _seconds_of_text(text: str) -> float | None:
    if len(text) > _LONGEST_STAMP or not any(character.isdigit() for character in text):
        return None
    try:
        found = datetime.fromisoformat(text.strip().replace(" UTC", "+00:00"))
    except ValueError:
        if (words := _DAY_MONTH.search(text)) is not None:
            text = f"{words[1]}-{words[2]}-{words[3]}{text[words.end() :]}"
        elif (words := _MONTH_DAY.search(text)) is not None:
            text = f"{words[2]}-{words[1]}-{words[3]}{text[words.end() :]}"
        return Clock().seconds(text) if _DATE.search(text) is not None else None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _seconds_of_day(time: re.Match[str]) -> float:
    hours, minutes, seconds = int(time[1]), int(time[2]), int(time[3] or 0)
    if time[4]:
        hours = hours % 12 + (12 if time[4].lower() == "p" else 0)
    return 3600.0 * hours + 60 * minutes + seconds
