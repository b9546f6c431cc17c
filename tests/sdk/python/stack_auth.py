"""Stack Auth, which has no Python SDK: as its documentation asks, by three HTTP clients."""

import asyncio
import json
import urllib.request
import uuid

import aiohttp
import httpx
import requests
from world import PROXY, WORLD, Journey, hits

BASE = f"{PROXY}/api/v1"
SERVER = {
    "x-stack-access-type": "server",
    "x-stack-project-id": WORLD["project"],
    "x-stack-publishable-client-key": WORLD["client_key"],
    "x-stack-secret-server-key": WORLD["server_key"],
}


def watched():
    """As tracers write it into every request."""
    span = uuid.uuid4().hex
    return {"traceparent": f"00-{span}-{span[:16]}-01", "x-datadog-parent-id": span, "x-amzn-trace-id": f"Root={span}"}


class StackAuth(Journey):
    def setUp(self):
        made = requests.post(f"{BASE}/users", headers=SERVER, json={"display_name": "Ada", "primary_email": "ada@example.com"})
        self.id = made.json()["id"]
        self.user = f"{BASE}/users/{self.id}"

    def test_requests(self):
        self.assertRow(self.id, "Ada", "ada@example.com")
        self.assertKept(lambda: requests.get(self.user, headers=SERVER | watched()).json())
        self.assertEqual(requests.patch(self.user, headers=SERVER, json={"display_name": "Ada L"}).status_code, 200)
        self.assertRow(self.id, "Ada L", "ada@example.com")
        self.assertEqual(requests.get(self.user, headers=SERVER).json()["display_name"], "Ada L")
        self.assertTrue(requests.delete(self.user, headers=SERVER).ok)
        self.assertGone(self.id)
        gone = requests.get(self.user, headers=SERVER)
        self.assertEqual((gone.status_code, gone.headers["x-stack-known-error"]), (404, "USER_NOT_FOUND"))

    def test_httpx(self):
        with httpx.Client(headers=SERVER) as client:
            self.assertKept(lambda: client.get(self.user, headers=watched()).json())

    def test_aiohttp_many_at_once(self):
        async def read(client):
            async with client.get(self.user, headers=watched()) as answer:
                return await answer.json()

        async def many():
            async with aiohttp.ClientSession(headers=SERVER) as client:
                return await asyncio.gather(*(read(client) for _ in range(100)))

        before = hits()
        users = asyncio.run(many())
        self.assertEqual({user["id"] for user in users}, {self.id})
        self.assertGreaterEqual(hits(), before + 99)

    def test_a_sign_up_and_whose_token_it_is(self):
        client = {**SERVER, "x-stack-access-type": "client"}
        del client["x-stack-secret-server-key"]
        asked = {"email": "flo@example.com", "password": "correct horse battery"}
        told = requests.post(f"{BASE}/auth/password/sign-up", headers=client, json=asked).json()
        self.assertRow(told["user_id"], None, "flo@example.com")
        me = requests.get(f"{BASE}/users/me", headers=client | {"x-stack-access-token": told["access_token"]})
        self.assertEqual(me.json()["id"], told["user_id"])

    def test_ensure_by_what_python_brings_along(self):
        request = urllib.request.Request(f"{PROXY}/_usertap/users/{self.id}?ensure=1", headers=SERVER)
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(json.load(answer)["name"], "Ada")
