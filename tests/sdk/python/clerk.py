"""The real clerk-backend-api, which takes nothing but what its models fit."""

import asyncio

from clerk_backend_api import Clerk, models
from world import PROXY, WORLD, Journey, row


def sdk(base=PROXY):
    return Clerk(bearer_auth=WORLD["key"], server_url=f"{base}/v1")


class ClerkJourney(Journey):
    def setUp(self):
        self.users = sdk().users

    def made(self, name):
        made = self.users.create(email_address=[f"{name}@example.com"], first_name=name, skip_password_requirement=True)
        self.assertRow(made.id, name, f"{name}@example.com")
        return made.id

    def test_create_read_update(self):
        ada = self.made("ada")
        self.assertKept(lambda: self.users.get(user_id=ada))
        self.assertEqual(self.users.get(user_id=ada), sdk(WORLD["upstream"]).users.get(user_id=ada))
        self.users.update(user_id=ada, last_name="Lovelace")
        self.assertRow(ada, "ada Lovelace", "ada@example.com")
        self.users.update_metadata(user_id=ada, public_metadata={"role": "admin"}, private_metadata={"card": "4242"})
        raw = self.assertRow(ada, "ada Lovelace", "ada@example.com")
        self.assertEqual(raw["public_metadata"], {"role": "admin"})
        self.assertNotIn("private_metadata", raw)
        self.users.ban(user_id=ada)
        self.users.lock(user_id=ada)
        raw = self.assertRow(ada, "ada Lovelace", "ada@example.com")
        self.assertEqual((raw["banned"], raw["locked"]), (True, True))

    def test_lists(self):
        self.assertEqual(self.users.count().total_count, sdk(WORLD["upstream"]).users.count().total_count)
        for user in self.users.list(request={"limit": 5, "order_by": "+created_at"}):
            self.assertEqual(row(user.id)["raw_json"]["updated_at"], user.updated_at)

    def test_delete_and_whoever_is_gone(self):
        eve = self.made("eve")
        self.users.delete(user_id=eve)
        self.assertGone(eve)
        gone = [self.refusal(lambda: client.users.get(user_id=eve)) for client in (sdk(), sdk(WORLD["upstream"]))]
        self.assertEqual([(type(error), error.data.errors[0].code) for error in gone], [(models.ClerkErrors, "resource_not_found")] * 2)

    def test_many_at_once(self):
        ids = [self.made(f"many{n}") for n in range(3)]

        async def many():
            async with sdk() as client:
                return await asyncio.gather(*(client.users.get_async(user_id=ids[n % 3]) for n in range(60)))

        self.assertEqual([user.id for user in asyncio.run(many())], ids * 20)
