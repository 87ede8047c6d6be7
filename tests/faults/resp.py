"""Redis' protocol, as little of it as the checks and the proxy need. No client library."""

import socket


def encode(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Refusal(Exception):
    """Redis answered with an error."""


class Redis:
    """One blocking connection: redis("GET", key) returns the reply; texts are bytes."""

    def __init__(self, url, timeout=10):
        address = url.removeprefix("redis://").rstrip("/")
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout)
        self._file = self._socket.makefile("rb")

    def __call__(self, *words):
        self._socket.sendall(encode(*words))
        return self._checked(self._reply())

    def together(self, commands):
        """The replies of all commands as of one moment (MULTI)."""
        words = [("MULTI",), *commands, ("EXEC",)]
        self._socket.sendall(b"".join(encode(*command) for command in words))
        replies = [self._reply() for _ in words]
        return self._checked(replies[-1])

    def close(self):
        self._file.close()
        self._socket.close()

    @staticmethod
    def _checked(reply):
        if isinstance(reply, Refusal):
            raise reply
        return reply

    def _text(self, length):
        text = self._file.read(length + 2)
        if len(text) < length + 2:
            raise ConnectionError("Redis closed the connection")
        return text[:-2]

    def _reply(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Refusal(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._text(int(rest))
        return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]


class RequestSplitter:
    """Cuts a stream of bytes into whole requests (arrays of texts, as clients send them)."""

    def __init__(self):
        self._bytes = bytearray()

    def feed(self, data):
        """The requests that are complete now, each as it came."""
        self._bytes += data
        requests = []
        while end := self._end_of_first():
            requests.append(bytes(self._bytes[:end]))
            del self._bytes[:end]
        return requests

    def _line(self, at):
        end = self._bytes.find(b"\r\n", at)
        return (None, 0) if end < 0 else (int(self._bytes[at + 1:end]), end + 2)

    def _end_of_first(self):
        words, at = self._line(0)
        if words is None:
            return 0
        for _ in range(words):
            length, at = self._line(at)
            if length is None or at + length + 2 > len(self._bytes):
                return 0
            at += length + 2
        return at


def first_word(request):
    """The command of a request, in capitals."""
    return request.split(b"\r\n", 3)[2].upper().decode()
