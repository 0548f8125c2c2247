"""Assigns devices to a customer over gRPC: assign_grpc.py EMAIL IDENTIFIER..."""

import os
import random
import sys
import time
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from grpc_status import rpc_status
from telemetron.device_assignment.v1 import device_assignment_pb2 as pb
from telemetron.device_assignment.v1 import device_assignment_pb2_grpc as pb_grpc

SERVER = urlsplit(os.environ.get("DEVICE_ASSIGNMENT_SERVER", "http://127.0.0.1:50051"))
KEY = os.environ["DEVICE_ASSIGNMENT_API_KEY"]
TIMEOUT = float(os.environ.get("DEVICE_ASSIGNMENT_TIMEOUT", "30"))  # seconds, for all attempts together
ATTEMPTS = 5
# A response can exceed the default limit of 4 MiB.
OPTIONS = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]
TEMPORARY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def detail(error, kind):
    """Returns the error detail of this type, if there is one."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def assign(stub, request):
    """Makes the call, and retries temporary errors. The call is idempotent."""
    deadline = time.monotonic() + TIMEOUT
    for attempt in range(1, ATTEMPTS + 1):
        try:
            left = deadline - time.monotonic()
            return stub.AssignDevicesToOwner(request, timeout=left, metadata=[("x-api-key", KEY)])
        except grpc.RpcError as error:
            # The retries built into gRPC ignore RetryInfo.
            retry = detail(error, RetryInfo)
            pause = retry.retry_delay.ToTimedelta().total_seconds() if retry else 0.1 * 2**attempt
            pause *= random.uniform(1, 1.5)  # so that clients do not retry at the same time
            if error.code() not in TEMPORARY or attempt == ATTEMPTS or time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)


def main():
    email, *identifiers = sys.argv[1:]
    if SERVER.scheme == "https":
        channel = grpc.secure_channel(SERVER.netloc, grpc.ssl_channel_credentials(), OPTIONS)
    else:
        channel = grpc.insecure_channel(SERVER.netloc, OPTIONS)
    with channel:
        stub = pb_grpc.DeviceAssignmentServiceStub(channel)
        request = pb.AssignDevicesToOwnerRequest(customer_email=email, device_identifiers=identifiers)
        try:
            answer = assign(stub, request)
        except grpc.RpcError as error:
            bad = detail(error, BadRequest) or BadRequest()
            lines = [f"  {violation.field}: {violation.description}" for violation in bad.field_violations]
            sys.exit("\n".join([f"{error.code().name}: {error.details()}", *lines]))
    print(answer.message)
    if answer.skipped:
        print("Skipped:", *answer.skipped)


main()
