"""
Clients of the other four protocols, for the journal of a drill: what goes, what comes, and what is
sent again, each as its protocol has it. Their messages are texts, which all protocols know. Those
of chat and callie write to groups, too.
"""

import asyncio
import datetime
import json

from journal import Client, ConnectionClosed, text_of

READ_WITHIN = 0.5
GROUP = "group:"


def group_of(chat):
    """None of a user's."""
    return chat if chat.startswith(GROUP) else None


class Chat(Client):
    """Follows its user's events from the last one it has seen, now and then with an echo."""

    protocol = "chat"
    welcomes = False
    writes_to_groups = True

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._event = 0
        self._echo = False

    def _path(self):
        return f"/chat?token={self._token}"

    async def _greet(self, socket, conn):
        self._echo = self._random.random() < 0.5
        await self._ask(socket, f"s:{conn}", "subscribe",
                        {"lastEventId": self._event, "echo": self._echo})

    async def _ask(self, socket, id, what, payload):
        await socket.send(json.dumps({"type": "request", "timestamp": 0, "id": id,
                                      "payloadType": what, "payload": payload}))

    def _receivers(self):
        return [peer for peer in self._peers if peer != self.user]

    async def _say(self, socket, message):
        await self._ask(socket, message["id"], "new", {
            "chatId": message["to"], "message": text_of(message),
            "clientMessageId": message["id"]})

    def _on_message(self, socket, conn, message):
        if message["type"] == "event":
            self._on_event(conn, message)
        elif message["payloadType"] == "subscribe":
            self._on_subscribed(socket, conn, message)
        elif "error" in message:
            self._on_refused(conn, message["id"], message["error"]["code"])
        else:
            self._answered(conn, message["id"], "delivered", [str(message["payload"]["messageId"])])

    def _on_refused(self, conn, id, code):
        self._answered(conn, id, "refused", code=code)
        if code in (403, 404):
            self.problems.append(f"{id} was refused with {code}")

    def _on_subscribed(self, socket, conn, message):
        if "error" in message:
            socket.cut()  # and again, elsewhere
        elif message["payload"].get("resync"):
            self.problems.append(f"events are gone after {self._event}: {message}")
        else:
            self._is_welcome(conn)

    def _on_event(self, conn, message):
        if "id" not in message:
            return
        self._event = message["id"]
        payload = message["payload"]
        own = message["eventType"] == "new" and payload["userId"] == self.user
        self._recorder.write("numbered", conn=conn, number=message["id"], echo=self._echo,
                             own=payload["message"].partition("|")[0] if own else None)
        if message["eventType"] == "new" and not own:
            self._came_to_me(conn, payload["message"], payload["messageId"],
                             group_of(payload["chatId"]))


class Messaging(Client):
    """Reads what has come, some time later; until then it comes again at each connect."""

    protocol = "messaging"

    def _path(self):
        return f"/messaging?client_id={self.user}&acks=1&token={self._token}"

    async def _say(self, socket, message):
        await socket.send(json.dumps({"send": [
            {"id": message["id"], "rid": message["to"], "text": text_of(message)}]}))

    def _on_message(self, socket, conn, message):
        for entry in message.get("messages", ()):
            id = self._came_to_me(conn, entry["text"], entry["id"], entry.get("group"))
            asyncio.create_task(self._read(socket, conn, entry, id))
        for entry in message.get("sent", ()):
            # "queued" and, when the receiver has it at last, "delivered": both are true.
            self._answered(conn, entry["id"], "delivered")
        for entry in message.get("errors", ()):
            if entry["section"] == "send":
                self._answered(conn, entry["id"], "full" if entry["code"] == 507 else "refused",
                               code=entry["code"])
            else:
                socket.cut()  # what was not read comes again

    async def _read(self, socket, conn, entry, id):
        await asyncio.sleep(self._random.uniform(0, READ_WITHIN))
        try:
            await socket.send(json.dumps({"read": [{"id": entry["id"], "sid": entry["sid"]}]}))
            self._recorder.write("read", conn=conn, id=id)
        except ConnectionClosed:
            pass


class Simple(Client):
    """Writes to users; its name is in use as long as a gateway thinks so."""

    protocol = "simple"

    def _path(self):
        return f"/simple?token={self._token}"

    async def _say(self, socket, message):
        await socket.send(json.dumps({"type": "send_message", "payload_id": message["id"],
                                      "message": text_of(message), "to": message["to"]}))

    def _on_message(self, socket, conn, message):
        if message["type"] == "message_sent":
            self._came_to_me(conn, message["message"], group=message.get("group"))
        elif message["type"] == "reply":
            self._answered(conn, message["payload_id"],
                           "refused" if message["error"] else "delivered", code=message["error"])


class Callie(Client):
    """Hears of what was discarded only; nothing is sent again."""

    protocol = "callie"
    writes_to_groups = True

    def _path(self):
        return f"/callie?token={self._token}"

    def _is_anonymous(self):
        return True

    async def _say(self, socket, message):
        now = datetime.datetime.now(datetime.timezone.utc)
        await socket.send(json.dumps({
            "sender": self.user, "recipient": message["to"], "type": "MSG",
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}Z",
            "content": {"messageID": message["id"], "text": text_of(message)}, "metadata": {},
            "payloadID": message["id"], "payloadVersion": "1.0"}))

    def _on_message(self, socket, conn, message):
        if message["type"] == "MSG":
            self._came_to_me(conn, message["content"]["text"], message["payloadID"],
                             group_of(message["recipient"]))
        elif message["type"] == "SYS":
            self._on_sys(conn, message["content"]["code"], message["metadata"])

    def _on_sys(self, conn, code, metadata):
        id = metadata.get("messageID") or metadata.get("payloadID")
        if code == "RECIPIENT_OFFLINE":
            self._answered(conn, id, "discarded", of=metadata.get("username"))
        elif code in ("UNAVAILABLE", "RATE_LIMITED"):
            self._answered(conn, id, "refused", code=code)
        elif code not in ("AUTH_OK", "SERVER_SHUTDOWN"):
            self.problems.append(f"{code}: {metadata}")


SPEAKERS = (Chat, Messaging, Simple, Callie)
