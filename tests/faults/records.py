"""Journals in Redis (router/journal.h): the items of a stream's entries, and their fields."""

import re

_FIELD = re.compile(rb" ?([a-z]+) (\d+):")


def fields_of(entry):
    """{field: value} of an entry whose only field is one record, as those of mailboxes are."""
    return items([(entry[0], (b"1", entry[1][1]))])[0][1]


def events(entries):
    """items() of a user's events: `from` is left out where it is `chat` (common/frame.h)."""
    return [(number, {**fields, b"from": fields.get(b"from") or fields.get(b"chat")})
            for number, fields in items(entries)]


def items(entries):
    """(number, {field: value}) of each item of these entries of a stream, all of them bytes."""
    found = []
    for _, (first, text) in entries:
        number, fields, at = int(first), {}, 0
        while at < len(text):
            while text[at:at + 1] != b"\n":
                name, length = (head := _FIELD.match(text, at)).groups()
                at = head.end() + int(length)
                fields[name] = text[head.end():at]
            found.append((number, dict(fields)))
            number, at = number + 1, at + 1
    return found
