"""/readyz: red when nobody can be served, with the hop at fault, and green again by itself."""

import json
import urllib.error
import urllib.request

from waiting import PATIENCE, wait_until


def readiness(gateway):
    try:
        with urllib.request.urlopen(f"http://{gateway.address}/readyz", timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def becomes(gateway, status, hop):
    def there():
        code, page = readiness(gateway)
        return code == status and page.get("hop") == hop
    wait_until(there, f"readiness {status}, hop {hop}", timeout=4 * PATIENCE)


def test_router_then_redis(new_stack):
    stack = new_stack(gateways=1, auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    gateway = stack.gateways[0]
    wait_until(lambda: readiness(gateway) == (200, {
        "status": "ready", "partitions_answering": 16, "partitions": 16}), "all answer")
    stack.router.kill()
    becomes(gateway, 503, "router")
    stack.add_router()
    becomes(gateway, 200, None)
    stack.redis.stop()
    becomes(gateway, 503, "redis")
    stack.redis.start()
    becomes(gateway, 200, None)


def test_without_keys_of_auth(new_stack):
    stack = new_stack(gateways=1)
    gateway = stack.gateways[0]
    becomes(gateway, 200, None)
    stack.auth.stop()
    gateway.stop()
    stack.redis.command("DEL", "trunkline:auth:keys")
    gateway.start()
    wait_until(lambda: gateway.get("/healthz")[0] == 200, "it listens")
    becomes(gateway, 503, "auth")
    stack.auth.start()
    becomes(gateway, 200, None)
    alice, = stack.users("alice")
    stack.connect(alice)
