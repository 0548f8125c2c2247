"""Everyday tasks over REST.

tasks_rest.py sell SELLER BUYER IDENTIFIER...   transfers devices, if they still belong to the seller
tasks_rest.py return OWNER IDENTIFIER...        removes devices from a customer
tasks_rest.py sync FILE                         gives each device to the one customer that a CSV file names for it

The first line of the file is customer_email,device_identifier.
"""

import csv
import os
import sys
from collections import defaultdict

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

SERVER = os.environ.get("DEVICE_ASSIGNMENT_REST", "http://127.0.0.1:8080")
KEY = os.environ["DEVICE_ASSIGNMENT_API_KEY"]
TIMEOUT = float(os.environ.get("DEVICE_ASSIGNMENT_TIMEOUT", "30"))  # seconds, for each attempt
# Waits as long as Retry-After says. The calls are idempotent, so a POST can be repeated.
RETRY = Retry(
    total=4,
    read=0,
    status_forcelist=(429, 503),
    allowed_methods=None,
    backoff_factor=0.2,
    backoff_jitter=0.5,
    retry_after_max=30,
    raise_on_status=False,
)


def call(session, method, request):
    """Makes a call, and prints its result. Returns whether it succeeded."""
    response = session.post(
        f"{SERVER}/api/ext-v1/deviceAssignment/{method}", headers={"x-api-key": KEY}, json=request, timeout=TIMEOUT
    )
    answer = response.json()
    if response.ok:
        print(answer["message"])
        if answer["skipped"]:
            print("Skipped:", *answer["skipped"])
    else:
        print(f"{answer['code']}: {answer['error']}", file=sys.stderr)
        for violation in answer.get("fieldViolations", ()):
            print(f"  {violation['field']}: {violation['description']}", file=sys.stderr)
    return response.ok


def transfers(path):
    """A request for each customer and 1,000 devices."""
    devices = defaultdict(list)
    with open(path, encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            devices[row["customer_email"]].append(row["device_identifier"])
    for email, identifiers in devices.items():
        for start in range(0, len(identifiers), 1000):
            yield {"customerEmail": email, "deviceIdentifiers": identifiers[start : start + 1000]}


def main():
    task, *arguments = sys.argv[1:]
    with requests.Session() as session:
        session.mount(SERVER, HTTPAdapter(max_retries=RETRY))
        try:
            match task, arguments:
                case "sell", [seller, buyer, *identifiers]:
                    request = {"customerEmail": buyer, "deviceIdentifiers": identifiers, "expectedOwner": seller}
                    is_done = call(session, "transferDevicesToOwner", request)
                case "return", [owner, *identifiers]:
                    request = {"customerEmail": owner, "deviceIdentifiers": identifiers}
                    is_done = call(session, "unassignDevicesFromOwner", request)
                case "sync", [path]:
                    # An error of one customer is no reason to leave out the others.
                    is_done = all([call(session, "transferDevicesToOwner", request) for request in transfers(path)])
                case _:
                    sys.exit(__doc__)
        except requests.RequestException as error:
            sys.exit(f"No response: {error}")
    if not is_done:
        sys.exit(1)


main()
