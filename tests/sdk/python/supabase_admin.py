"""The real supabase-auth of supabase's Python SDK, by HTTP/2."""

import asyncio
import uuid

import httpx
from supabase_auth import AsyncGoTrueAdminAPI, SyncGoTrueAdminAPI, SyncGoTrueClient
from supabase_auth.errors import AuthApiError
from world import PROXY, WORLD, Journey

URL = f"{PROXY}/auth/v1"


def headers(key):
    return {"apikey": key, "Authorization": f"Bearer {key}"}


class Supabase(Journey):
    def setUp(self):
        self.admin = SyncGoTrueAdminAPI(url=URL, headers=headers(WORLD["secret"]))

    def made(self, name):
        email = f"{name}@example.com"
        made = self.admin.create_user({"email": email, "email_confirm": True, "user_metadata": {"full_name": name}}).user
        self.assertRow(made.id, name, email)
        return made.id

    def test_http_2(self):
        with httpx.Client(http2=True) as client:
            self.assertEqual(client.get(f"{URL}/admin/users", headers=headers(WORLD["secret"])).http_version, "HTTP/2")

    def test_create_read_update_ban_delete(self):
        ada = self.made("ada")
        self.assertKept(lambda: self.admin.get_user_by_id(ada).user)
        self.admin.update_user_by_id(ada, {"user_metadata": {"full_name": "Ada Lovelace"}})
        self.assertRow(ada, "Ada Lovelace", "ada@example.com")
        self.admin.update_user_by_id(ada, {"ban_duration": "24h"})
        self.assertIn("banned_until", self.assertRow(ada, "Ada Lovelace", "ada@example.com"))
        taken = self.refusal(lambda: self.admin.create_user({"email": "ada@example.com"}))
        self.assertEqual((type(taken), taken.code, taken.status), (AuthApiError, "email_exists", 422))
        self.admin.delete_user(ada)
        self.assertGone(ada)
        gone = self.refusal(lambda: self.admin.get_user_by_id(ada))
        self.assertEqual((gone.code, gone.status), ("user_not_found", 404))

    def test_a_list_with_and_without_pages(self):
        self.made("listed")
        self.assertEqual(len(self.admin.list_users(page=1, per_page=50)), 50)
        for user in self.admin.list_users()[:3]:
            self.assertRow(user.id, user.user_metadata.get("full_name"), user.email)

    def test_a_client_of_its_own(self):
        auth = SyncGoTrueClient(url=URL, headers=headers(WORLD["anon"]))
        email = f"{uuid.uuid4().hex}@example.com"
        flo = auth.sign_up({"email": email, "password": "long enough", "options": {"data": {"full_name": "Flo"}}}).user.id
        self.assertRow(flo, "Flo", email)
        auth.sign_in_with_password({"email": email, "password": "long enough"})
        auth.update_user({"data": {"full_name": "Florence"}})
        self.assertRow(flo, "Florence", email)
        self.assertEqual(auth.get_user().user.id, flo)
        auth.sign_out()

    def test_many_at_once(self):
        ids = [self.made(f"many{n}") for n in range(3)]

        async def many():
            admin = AsyncGoTrueAdminAPI(url=URL, headers=headers(WORLD["secret"]))
            return await asyncio.gather(*(admin.get_user_by_id(ids[n % 3]) for n in range(60)))

        self.assertEqual([answer.user.id for answer in asyncio.run(many())], ids * 20)
