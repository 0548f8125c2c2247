"""Makes each documented call with the generated client. Standard input holds the bodies of the calls, a JSON array."""

import json
import sys

from device_assignment_client import AuthenticatedClient
from device_assignment_client.api.devices import assign_devices_to_owner
from device_assignment_client.api.organization import check_credentials
from device_assignment_client.models import AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, Error

url, key = sys.argv[1:]
# Sends the key as `Authorization: Bearer`.
client = AuthenticatedClient(base_url=url, token=key)


def call(request):
    """The answer to one call."""
    return assign_devices_to_owner.sync(client=client, body=request)


for example in json.load(sys.stdin):
    answer = call(AssignDevicesToOwnerRequest.from_dict(example))
    assert isinstance(answer, AssignDevicesToOwnerResponse), answer
    print(answer.message, " ".join(device.identifier for device in answer.assigned_devices), " ".join(answer.skipped))

answer = call(AssignDevicesToOwnerRequest(customer_email="john", device_identifiers=["SN-001"]))
assert isinstance(answer, Error), answer
print(answer.code, " ".join(violation.field for violation in answer.field_violations))

print(check_credentials.sync(client=client).organization_name)
