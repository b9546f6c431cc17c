"""The real python-keycloak, by requests and by httpx. What it asks with is written `True` and `False`."""

import asyncio

from keycloak import KeycloakAdmin, KeycloakGetError
from world import PROXY, WORLD, Journey


def sdk():
    return KeycloakAdmin(server_url=PROXY, realm_name="shop", client_id=WORLD["client_id"], client_secret_key=WORLD["client_secret"])


class Keycloak(Journey):
    def setUp(self):
        self.admin = sdk()

    def made(self, name):
        email = f"{name}@example.com"
        made = self.admin.create_user({"username": name, "email": email, "enabled": True, "attributes": {"plan": ["pro"]}})
        self.assertRow(made, name, email)
        return made

    def test_create_read_update_block_delete(self):
        ada = self.made("ada")
        self.assertKept(lambda: sdk().get_user(ada))
        self.admin.update_user(ada, {"firstName": "Ada", "lastName": "Lovelace"})
        self.assertRow(ada, "Ada Lovelace", "ada@example.com")
        self.admin.disable_user(ada)
        self.assertFalse(self.assertRow(ada, "Ada Lovelace", "ada@example.com")["enabled"])
        self.admin.set_user_password(ada, "long enough", temporary=True)
        self.assertEqual(self.assertRow(ada, "Ada Lovelace", "ada@example.com")["requiredActions"], ["UPDATE_PASSWORD"])
        self.assertEqual(self.admin.create_user({"username": "ada"}, exist_ok=True), ada)
        self.admin.delete_user(ada)
        self.assertGone(ada)
        gone = self.refusal(lambda: self.admin.get_user(ada))
        self.assertEqual((type(gone), gone.response_code), (KeycloakGetError, 404))

    def test_what_shows_less_or_more_of_a_user_changes_no_row(self):
        bea = self.made("bea")
        whole = self.assertRow(bea, "bea", "bea@example.com")
        self.assertNotIn("attributes", self.admin.get_users({"username": "bea", "exact": True, "briefRepresentation": True})[0])
        self.assertIn("userProfileMetadata", self.admin.get_user(bea, user_profile_metadata=True))
        self.assertEqual(self.assertRow(bea, "bea", "bea@example.com"), whole)

    def test_all_users_page_by_page(self):
        users = self.admin.get_users()
        self.assertEqual(len(users), self.admin.users_count())
        for user in users[::50]:
            self.assertEqual(self.assertRow(user["id"], user["username"], user["email"])["id"], user["id"])

    def test_many_at_once(self):
        ids = [self.made(f"many{n}") for n in range(3)]

        async def many():
            admin = sdk()
            users = await asyncio.gather(*(admin.a_get_user(ids[n % 3]) for n in range(60)))
            return users, await admin.a_create_user({"username": "cleo", "email": "cleo@example.com"})

        users, cleo = asyncio.run(many())
        self.assertEqual([user["id"] for user in users], ids * 20)
        self.assertRow(cleo, "cleo", "cleo@example.com")
