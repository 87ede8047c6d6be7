"""A client of callie: payloads by their parts, and what comes by type and code."""

import itertools
import json
import urllib.parse
from datetime import datetime, timedelta, timezone

from client import Client
from waiting import PATIENCE

_ids = itertools.count(1)


def timestamp(offset_s=0, form="%Y-%m-%dT%H:%M:%S"):
    moment = datetime.now(timezone.utc) + timedelta(seconds=offset_s)
    return f"{moment.strftime(form)}.{moment.microsecond // 1000:03d}Z"


class CallieClient(Client):
    def payload(self, recipient, kind, content, **fields):
        """A whole payload; a field of None is absent."""
        payload = {"sender": self.user, "recipient": recipient, "timestamp": timestamp(),
                   "type": kind, "content": content, "metadata": {},
                   "payloadID": f"p{next(_ids)}", "payloadVersion": "1.0", **fields}
        return {name: value for name, value in payload.items() if value is not None}

    def send_payload(self, *args, **fields):
        """Returns its payloadID."""
        payload = self.payload(*args, **fields)
        self.send_text(json.dumps(payload))
        return payload.get("payloadID")

    def say(self, recipient, text, **fields):
        """Sends a MSG; returns its payloadID and messageID."""
        message_id = fields.pop("messageID", None) or f"m{next(_ids)}"
        content = {"messageID": message_id, "text": text}
        content.update(fields.pop("content", {}))
        return self.send_payload(recipient, "MSG", content, **fields), message_id

    def command(self, name, /, **parameters):
        """Sends a CMD and returns the code and the metadata of its answer."""
        id = self.send_payload("SERVER", "CMD", {"command": name, "parameters": parameters})
        answer = self.system(payload_id=id)
        return answer["content"]["code"], answer["metadata"]

    def done(self, name, /, **parameters):
        """The same of one that succeeds: its metadata."""
        code, metadata = self.command(name, **parameters)
        assert code == "COMMAND_OK", (code, metadata)
        return metadata

    def system(self, code=None, payload_id=None, timeout=PATIENCE):
        """The first SYS with this code, or about this payload."""
        def fits(message):
            return (message["type"] == "SYS"
                    and code in (None, message["content"]["code"])
                    and payload_id in (None, message["metadata"].get("payloadID")))
        return self.take_where(fits, f"SYS {code} {payload_id}", timeout)

    def systems(self, code):
        return [message for message in list(self.arrived)
                if message["type"] == "SYS" and message["content"]["code"] == code]

    def message(self, text=None, timeout=PATIENCE):
        """The first MSG, with this text."""
        return self.take_where(
            lambda message: message["type"] == "MSG"
            and text in (None, message["content"]["text"]), f"MSG {text}", timeout)

    def messages(self):
        return [message for message in list(self.arrived) if message["type"] == "MSG"]

    def beat(self):
        """A round trip through the gateway: the connection lives."""
        id = self.send_payload("SERVER", "PING", {})
        self.take_where(lambda message: message["type"] == "PONG"
                        and message["metadata"].get("payloadID") == id, "PONG")

    def settle(self):
        """
        Returns when its user's partition knows the connection, and the room's, whose users hear
        BROADCAST. Leaves no trace, nor of AUTH_OK.
        """
        note, _ = self.say(self.user, "settled")
        self.message("settled")
        question = self.send_payload("SERVER", "CMD", {"command": "LIST_USERS", "parameters": {}})
        self.system("COMMAND_OK", payload_id=question)
        self.forget(lambda message: message["payloadID"] == note or message["type"] == "SYS" and (
            message["content"]["code"] == "AUTH_OK"
            or message["metadata"].get("payloadID") == question))


def callie(stack, user, gateway=0, token=True, settled=True, **query):
    """A client that has authenticated on the upgrade; token=False: one that has not."""
    if token:
        query["token"] = stack.token(user)
    url = f"ws://{stack.gateways[gateway].address}/callie?{urllib.parse.urlencode(query)}"
    client = CallieClient(url, user=user)
    stack._clients.append(client)
    if token:
        client.system("AUTH_OK")
        if settled:
            client.settle()
    return client
