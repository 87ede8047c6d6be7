"""Clients of messaging and simple, around client.Client: what each protocol's tests need."""

import itertools
import json
import urllib.parse

from client import Client
from waiting import PATIENCE, wait_until

_ids = itertools.count(1)


def url(stack, path, gateway=0, **query):
    query = urllib.parse.urlencode({name: value for name, value in query.items()
                                    if value is not None})
    return f"ws://{stack.gateways[gateway].address}{path}{'?' if query else ''}{query}"


class Messenger:
    """One connection of messaging: sections go out, messages come in."""

    def __init__(self, stack, user, gateway=0, settled=True, token=None, **query):
        query = {"client_id": user, "acks": 1, **query}
        options = {"extra_headers": {"Authorization": f"Bearer {token}"}} if token else {}
        self.user = user
        self.client = Client(url(stack, "/messaging", gateway, **query), user=user, **options)
        stack._clients.append(self.client)
        if settled:
            self.settle()

    def say(self, **sections):
        self.client.send_text(json.dumps(sections))

    def send(self, *entries):
        self.say(send=list(entries))

    def read(self, *ids):
        """In force, wherever its user connects next, after settle()."""
        self.say(read=[{"id": id} for id in ids])

    def write(self, to, text, **fields):
        """Sends one message and returns its entry of the sent section."""
        entry = {"id": next(_ids), "rid": to, "sid": self.user, "text": text, **fields}
        self.send(entry)
        return self.sent(entry["id"])

    def sent(self, id):
        def has(frame):
            return any(entry["id"] == id for entry in frame.get("sent", ()))
        return self.client.take_where(has, f"sent section with {id}")["sent"][0]

    def errors(self):
        """Of the next frame that has an errors section."""
        return self.client.take_where(lambda frame: "errors" in frame, "errors section")["errors"]

    def messages(self):
        """All that have come, in order."""
        return [message for frame in list(self.client.arrived)
                for message in frame.get("messages", ())]

    def texts(self):
        return [message.get("text") for message in self.messages()]

    def await_messages(self, count):
        """When there are at least so many."""
        wait_until(lambda: len(self.messages()) >= count or self.client.close_code,
                   f"{self.user} has {count} messages", 2 * PATIENCE)

    def await_texts(self, *texts):
        """Exactly these have come, in this order."""
        self.await_messages(len(texts))
        self.ping()
        assert self.texts() == list(texts)

    def subscribe(self, *channels):
        self.say(subscribe=list(channels))
        return self.client.take_where(lambda frame: "subscribed" in frame, "subscribed")

    def unsubscribe(self, *channels):
        self.say(unsubscribe=list(channels))
        return self.client.take_where(lambda frame: "unsubscribed" in frame, "unsubscribed")

    def ping(self):
        """A round trip through the gateway: what is wrong is answered, the connection lives."""
        id = f"ping-{next(_ids)}"
        self.send({"id": id})
        self.client.take_where(
            lambda frame: any(error["id"] == id for error in frame.get("errors", ())), "a ping")

    def settle(self):
        """Returns when every partition knows the connection, and what it said. Leaves no trace."""
        self.subscribe("settle.*")
        self.unsubscribe("settle.*")
        self.client.forget(lambda frame: {"subscribed", "unsubscribed"} & frame.keys())

    def close(self):
        self.client.close()

    def await_close(self):
        return self.client.await_close()


class Roommate:
    """One connection of simple."""

    def __init__(self, stack, user, gateway=0, joined=True, headers=None, **query):
        self.user = user
        self.client = Client(url(stack, "/simple", gateway, **query), user=user,
                             extra_headers=headers or {})
        stack._clients.append(self.client)
        if joined:
            self.take("user_connected", username=user)

    def take(self, type, timeout=PATIENCE, **fields):
        expected = {"type": type, **fields}
        return self.client.take_where(lambda frame: expected.items() <= frame.items(), expected,
                                      timeout)

    def ask(self, **payload):
        """Sends a payload with an id and returns its reply."""
        payload = {"type": "send_message", "payload_id": f"p{next(_ids)}", **payload}
        self.client.send_text(json.dumps(payload))
        return self.take("reply", payload_id=payload["payload_id"])

    def say(self, text, **fields):
        reply = self.ask(message=text, **fields)
        assert reply["error"] is None, reply
        return reply

    def names(self, type):
        """Of all user_connected or user_disconnected that have come, in order."""
        return [frame["username"] for frame in list(self.client.arrived) if frame["type"] == type]

    def texts(self):
        return [frame["message"] for frame in list(self.client.arrived)
                if frame["type"] == "message_sent"]

    def await_texts(self, *texts):
        """Exactly these have come, in this order."""
        wait_until(lambda: len(self.texts()) >= len(texts) or self.client.close_code,
                   f"{self.user} has {len(texts)} messages", 2 * PATIENCE)
        assert self.texts() == list(texts)

    def await_close(self):
        return self.client.await_close()
