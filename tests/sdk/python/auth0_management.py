"""The real auth0-python, which speaks nothing but TLS."""

import asyncio

from auth0.authentication import Database, Users
from auth0.management import AsyncManagementClient, ManagementClient
from auth0.management.errors import NotFoundError
from world import PROXY, WORLD, Journey

DOMAIN = PROXY.removeprefix("https://")
KEYS = {"client_id": WORLD["client_id"], "client_secret": WORLD["client_secret"], "audience": f"{WORLD['upstream']}/api/v2/"}


class Auth0(Journey):
    def setUp(self):
        self.users = ManagementClient(domain=DOMAIN, **KEYS).users

    def test_create_read_update_delete(self):
        ada = self.users.create(connection="db", email="ada@example.com", password="long enough", user_metadata={"a": 1}).user_id
        self.assertRow(ada, "ada@example.com", "ada@example.com")
        self.assertKept(lambda: ManagementClient(domain=DOMAIN, **KEYS).users.get(ada))
        self.users.update(ada, name="Ada Lovelace", user_metadata={"b": 2})
        self.assertEqual(self.assertRow(ada, "Ada Lovelace", "ada@example.com")["user_metadata"], {"a": 1, "b": 2})
        self.users.update(ada, blocked=True)
        self.assertTrue(self.users.get(ada).blocked)
        self.users.delete(ada)
        self.assertGone(ada)
        self.assertIsInstance(self.refusal(lambda: self.users.get(ada)), NotFoundError)

    def test_a_list_and_the_pages_after_it(self):
        found = list(self.users.list(per_page=50))
        self.assertGreaterEqual(len(found), 120)
        for user in found[::40]:
            self.assertRow(user.user_id, user.name, user.email)

    def test_many_at_once(self):
        async def many():
            users = AsyncManagementClient(domain=DOMAIN, **KEYS).users
            ids = [user.user_id async for user in await users.list(per_page=100)][:3]
            return ids, await asyncio.gather(*(users.get(ids[n % 3]) for n in range(60)))

        ids, users = asyncio.run(many())
        self.assertEqual([user.user_id for user in users], ids * 20)

    def test_a_sign_up_and_who_has_a_token(self):
        told = Database(DOMAIN, client_id=WORLD["client_id"]).signup(email="flo@example.com", password="long enough", connection="db")
        flo = f"auth0|{told['_id']}"
        self.assertRow(flo, "flo@example.com", "flo@example.com")
        self.assertEqual(Users(DOMAIN).userinfo(f"of-{flo}")["sub"], flo)
