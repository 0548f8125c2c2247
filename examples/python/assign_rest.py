"""Assigns devices to a customer over REST: assign_rest.py EMAIL IDENTIFIER..."""

import os
import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

SERVER = os.environ.get("DEVICE_ASSIGNMENT_REST", "http://127.0.0.1:8080")
KEY = os.environ["DEVICE_ASSIGNMENT_API_KEY"]
TIMEOUT = float(os.environ.get("DEVICE_ASSIGNMENT_TIMEOUT", "30"))  # seconds, for each attempt
# Waits as long as Retry-After says. The call is idempotent, so the POST can be repeated.
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


def main():
    email, *identifiers = sys.argv[1:]
    with requests.Session() as session:
        session.mount(SERVER, HTTPAdapter(max_retries=RETRY))
        try:
            response = session.post(
                f"{SERVER}/api/ext-v1/deviceAssignment/assignDevicesToOwner",
                headers={"x-api-key": KEY},
                json={"customerEmail": email, "deviceIdentifiers": identifiers},
                timeout=TIMEOUT,
            )
            answer = response.json()
        except requests.RequestException as error:
            sys.exit(f"No response: {error}")
    if not response.ok:
        lines = [f"  {violation['field']}: {violation['description']}" for violation in answer.get("fieldViolations", ())]
        sys.exit("\n".join([f"{answer['code']}: {answer['error']}", *lines]))
    print(answer["message"])
    if answer["skipped"]:
        print("Skipped:", *answer["skipped"])


main()
