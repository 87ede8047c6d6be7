"""
How each protocol says one thing: a direct message with a text, attachments and a field of its
own, and what a delivered one looks like. For tests that hold for all protocols.
"""

import itertools
import json
import time
from dataclasses import dataclass, field

_ids = itertools.count(1)


@dataclass
class Said:
    """What a delivered message says, whatever protocol it came by."""

    sender: str
    text: str = None
    attachments: list = None
    other: dict = field(default_factory=dict)


def without(message, *names):
    return {name: value for name, value in message.items() if name not in names}


def timestamp():
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


class Realtime:
    keeps = True  # what comes while its user is away

    def settle(self, client):
        client.take("Status")

    def write(self, client, to, text, attachments=None, other=None):
        payload = {"message": text, **(other or {})}
        if attachments:
            payload["attachments"] = attachments
        client.send_direct(to, payload)

    def is_message(self, message):
        return message.get("type") == "DirectMessage"

    def read(self, message):
        payload = message["data"]["payload"]
        return Said(message["data"]["from_user"], payload.get("message"),
                    payload.get("attachments"), without(payload, "message", "attachments"))


class Messaging:
    keeps = True

    def settle(self, client):
        pass

    def write(self, client, to, text, attachments=None, other=None):
        entry = {"id": next(_ids), "rid": to, "sid": client.user, "text": text, **(other or {})}
        if attachments:
            entry["attachments"] = attachments
        client.send_text(json.dumps({"send": [entry]}))

    def is_message(self, message):
        return "messages" in message

    def read(self, message):
        (entry,) = message["messages"]
        return Said(entry["sid"], entry.get("text"), entry.get("attachments"),
                    without(entry, "id", "sid", "rid", "text", "attachments"))


class Chat:
    keeps = True

    def settle(self, client):
        client.send_text(json.dumps({
            "type": "request", "timestamp": 1, "id": "settle", "payloadType": "subscribe",
            "payload": {"lastEventId": 0}}))
        client.take_where(lambda message: message.get("id") == "settle", "answer to subscribe")

    def write(self, client, to, text, attachments=None, other=None):
        payload = {"chatId": to, "message": text, **({"data": other} if other else {})}
        if attachments:
            payload["attachments"] = attachments
        client.send_text(json.dumps({
            "type": "request", "timestamp": int(time.time()), "id": f"r{next(_ids)}",
            "payloadType": "new", "payload": payload}))

    def is_message(self, message):
        return message.get("eventType") == "new"

    def read(self, message):
        payload = message["payload"]
        return Said(payload["userId"], payload.get("message"), payload.get("attachments"),
                    payload.get("data") or {})


class Simple:
    keeps = True

    def settle(self, client):
        pass

    def write(self, client, to, text, attachments=None, other=None):
        client.send_text(json.dumps({
            "type": "send_message", "payload_id": f"p{next(_ids)}", "message": text, "to": to}))

    def is_message(self, message):
        return message.get("type") == "message_sent" and "to" in message

    def read(self, message):
        return Said(message["username"], message["message"])


class Callie:
    keeps = False  # it tells the sender

    def settle(self, client):
        client.take_where(lambda message: message.get("type") == "SYS"
                          and message["content"]["code"] == "AUTH_OK", "AUTH_OK")

    def write(self, client, to, text, attachments=None, other=None):
        content = {"messageID": f"m{next(_ids)}", "text": text}
        if attachments:
            content["attachments"] = attachments
        client.send_text(json.dumps({
            "sender": client.user, "recipient": to, "timestamp": timestamp(), "type": "MSG",
            "content": content, "metadata": {"data": other} if other else {},
            "payloadID": f"p{next(_ids)}", "payloadVersion": "1.0"}))

    def is_message(self, message):
        return message.get("type") == "MSG"

    def read(self, message):
        content = message["content"]
        return Said(message["sender"], content["text"], content.get("attachments"),
                    message.get("metadata", {}).get("data") or {})


class Telegram:
    """The sixth protocol (tests/sixth)."""

    keeps = True

    def settle(self, client):
        pass

    def write(self, client, to, text, attachments=None, other=None):
        client.send_text(f"{to} {text}")

    def is_message(self, message):
        return isinstance(message, str) and message.startswith("*")

    def read(self, message):
        sender, text = message[1:].split(" ", 1)
        return Said(sender, text)


TONGUES = {"realtime": Realtime(), "messaging": Messaging(), "chat": Chat(), "simple": Simple(),
           "callie": Callie(), "telegram": Telegram()}
RICH = {"realtime", "messaging", "chat", "callie"}  # have attachments and other fields
