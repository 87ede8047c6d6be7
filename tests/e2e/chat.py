"""A client of the chat protocol: requests and their responses, events in the order they came."""

import itertools
import json

from waiting import PATIENCE, wait_until

_numbers = itertools.count(1)


class Chat:
    def __init__(self, stack, user, gateway=0, subscribe=0, echo=False, **options):
        """subscribe: the last event seen; None leaves the connection hidden."""
        self.user = user
        self.client = stack.open("chat", user, gateway=gateway, **options)
        if subscribe is not None:
            self.subscribed = self.subscribe(subscribe, **({"echo": True} if echo else {}))

    # ---- requests ------------------------------------------------------------------------

    def send(self, kind, payload=None, id=None, **fields):
        """Returns the request's id."""
        id = id or f"q{next(_numbers)}"
        message = {"type": "request", "timestamp": 1700000000, "id": id, "payloadType": kind,
                   **fields}
        if payload is not None:
            message["payload"] = payload
        self.client.send_text(json.dumps(message))
        return id

    def response(self, id, timeout=PATIENCE):
        response = self.client.take_where(
            lambda message: message["type"] == "response" and message["id"] == id,
            f"response to {id}", timeout)
        assert isinstance(response["timestamp"], int)
        return response

    def ask(self, kind, payload=None):
        """The payload of the response; it must not be an error."""
        response = self.response(self.send(kind, payload))
        assert response["payloadType"] == kind and "error" not in response, response
        return response.get("payload")

    def error(self, kind, payload=None):
        """The code of the error; it must be one."""
        response = self.response(self.send(kind, payload))
        assert "error" in response, response
        assert isinstance(response["error"]["message"], str)
        return response["error"]["code"]

    def subscribe(self, last=0, **options):
        return self.ask("subscribe", {"lastEventId": last, **options})

    def new(self, chat, message, **fields):
        """The messageId."""
        return self.ask("new", {"chatId": chat, "message": message, **fields})["messageId"]

    def event_out(self, kind, payload=None):
        message = {"type": "event", "timestamp": 1700000000, "eventType": kind}
        if payload is not None:
            message["payload"] = payload
        self.client.send_text(json.dumps(message))

    # ---- events --------------------------------------------------------------------------

    def event(self, kind, timeout=PATIENCE, **payload):
        """The next event of this kind with these members in its payload."""
        event = self.client.take_where(
            lambda message: message["type"] == "event" and message["eventType"] == kind
            and payload.items() <= message["payload"].items(), f"{kind} {payload}", timeout)
        assert isinstance(event["timestamp"], int)
        return event

    def events(self, kind=None):
        """All that have an id and have come, in order."""
        return [message for message in list(self.client.arrived)
                if message["type"] == "event" and "id" in message
                and kind in (None, message["eventType"])]

    def others(self, kind):
        """All without an id."""
        return [message for message in list(self.client.arrived)
                if message["type"] == "event" and "id" not in message
                and message["eventType"] == kind]

    def last_event(self):
        events = self.events()
        return events[-1]["id"] if events else 0

    def await_event(self, number):
        wait_until(lambda: self.last_event() >= number or self.client.close_code,
                   f"{self.user} has event {number}")
        assert self.last_event() >= number, self.client.close_code

    def settle(self):
        """A round trip to every partition that says something of this connection."""
        self.ask("getChats")

    def close(self):
        self.client.close()
