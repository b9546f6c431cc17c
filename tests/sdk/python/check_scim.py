"""scim2-tester, with scim2-client, at a SCIM server's URL: whatever it finds wrong is printed, a line each."""

import sys

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

url, token = sys.argv[1:]
client = SyncSCIMClient(httpx2.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30))
client.discover()
results = check_server(client, resource_types=["User"])
wrong = [result for result in results if result.status != Status.SUCCESS]
for result in wrong:
    print(result.title, result.status, result.reason)
print(len(results), "checks")
sys.exit(bool(wrong))
