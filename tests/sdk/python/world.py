"""What the tests see beside an SDK: where usertap is, its rows, how often it gave what it had kept."""

import json
import os
import unittest
import urllib.parse
import urllib.request

WORLD = json.loads(os.environ["WORLD"])
PROXY = WORLD["proxy"]


def row(user):
    """The row at this very moment."""
    return _told("/v1/users/" + urllib.parse.quote(user, safe=""))


def hits():
    return _told("/v1/status")["cache"]["hits"]


def _told(path):
    with urllib.request.urlopen(WORLD["admin"] + path, timeout=10) as answer:
        return json.load(answer)


class Journey(unittest.TestCase):
    def assertRow(self, user, name, email):
        at = row(user)
        self.assertEqual((at["name"], at["email"], at["deleted_at"]), (name, email, None))
        return at["raw_json"]

    def assertGone(self, user):
        self.assertIsNotNone(row(user)["deleted_at"])

    def assertKept(self, read):
        """What was read once is given again, whatever the SDK writes into its second request."""
        first, before = read(), hits()
        self.assertEqual(read(), first)
        self.assertEqual(hits(), before + 1)

    def refusal(self, ask):
        """The error that it ends with."""
        with self.assertRaises(Exception) as refused:
            ask()
        return refused.exception
