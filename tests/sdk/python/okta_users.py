"""The real okta, whose calls are all asynchronous: it insists on TLS, and shows its token in its own way."""

import asyncio

from okta.client import Client
from okta.models import CreateUserRequest, UpdateUserRequest
from world import PROXY, WORLD, Journey

#: It keeps what it has read by itself.
SETTINGS = {"orgUrl": PROXY, "token": WORLD["token"], "cache": {"enabled": False}}


def profile(model, **fields):
    return model.from_dict({"profile": fields})


class Okta(Journey):
    def ask(self, method, *args, **named):
        """What it answers, with the headers; its errors are raised."""
        *answer, error = asyncio.run(getattr(Client(SETTINGS), method)(*args, **named))
        if error:
            raise Exception(error)
        return answer

    def made(self, name):
        email = f"{name}@example.com"
        made = self.ask("create_user", profile(CreateUserRequest, login=email, email=email, firstName=name, lastName="L"))[0]
        self.assertRow(made.id, f"{name} L", email)
        return made.id

    def test_create_read_update_suspend(self):
        ada = self.made("ada")
        self.assertKept(lambda: self.ask("get_user", ada)[0])
        self.ask("update_user", ada, profile(UpdateUserRequest, firstName="Adah"))
        self.assertRow(ada, "Adah L", "ada@example.com")
        self.ask("suspend_user", ada)
        self.assertEqual(self.assertRow(ada, "Adah L", "ada@example.com")["status"], "SUSPENDED")
        self.assertEqual(self.ask("get_user", "ada@example.com")[0].id, ada)

    def test_delete_twice_and_whoever_is_gone(self):
        eve = self.made("eve")
        self.ask("delete_user", eve)
        self.assertEqual(self.assertRow(eve, "eve L", "eve@example.com")["status"], "DEPROVISIONED")
        self.ask("delete_user", eve)
        self.assertGone(eve)
        self.assertIn("E0000007", str(self.refusal(lambda: self.ask("get_user", eve))))

    def test_who_was_deleted_elsewhere(self):
        """Its token counts as the tenant's, so the provider's own not-found is evidence."""
        self.assertRow(WORLD["gone"], "gone L", "gone@example.com")
        self.refusal(lambda: self.ask("get_user", WORLD["gone"]))
        self.assertGone(WORLD["gone"])

    def test_a_page_and_the_link_to_the_next(self):
        users, answer = self.ask("list_users", limit=50)
        self.assertEqual(len(users), 50)
        link = next(value for name, value in answer.headers.items() if name.lower() == "link")
        self.assertIn(f"<{PROXY}/api/v1/users?", link)
        for user in users[:3]:
            self.assertRow(user.id, f"{user.profile.first_name} {user.profile.last_name}", user.profile.email)
