"""The HTTP API of a gateway, as a backend uses it."""

import json
import socket
from http.client import HTTPResponse

from harness import http
from waiting import PATIENCE

SECRETS = {scope: f"secret-of-{scope}-0123456789" for scope in
           ("publish", "notify", "read", "admin")}
KEYS = " ".join(f"backend-{scope}:{scope}:{secret}" for scope, secret in SECRETS.items())


class Api:
    def __init__(self, stack, gateway=0, key=SECRETS["admin"]):
        self.address = stack.gateways[gateway].address
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def post(self, path, body, **headers):
        return http("POST", f"http://{self.address}/api/v1/{path}", body,
                    {"Content-Type": "application/json", **self.headers, **headers})

    def get(self, path):
        return http("GET", f"http://{self.address}/api/v1/{path}", headers=self.headers)

    def done(self, path, body, **headers):
        """The answer to what must succeed."""
        status, answer = self.post(path, body, **headers)
        assert status == 200, (status, answer)
        return answer

    def raw(self, data, timeout=PATIENCE):
        """Sends bytes as they are; returns the status and the body of the answer."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(data)
            return read_answer(connection)

    def head(self, path, body=b"", **headers):
        """The bytes of a POST's head."""
        fields = {"Host": self.address, "Content-Type": "application/json", **self.headers,
                  "Content-Length": len(body), **headers}
        lines = [f"POST /api/v1/{path} HTTP/1.1",
                 *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
        return "\r\n".join([*lines, "", ""]).encode()


def read_answer(connection):
    """The status of an answer and its body, as JSON; one that only says 100 is passed over."""
    answer = HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    return answer.status, json.loads(body) if body else None
