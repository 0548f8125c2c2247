"""Keeps a copy of who owns which device, and answers from memory: cache_grpc.py < IDENTIFIERS"""

import os
import random
import sys
import threading
import time
from urllib.parse import urlsplit

import grpc
from telemetron.device_assignment.v1 import changes_pb2 as pb
from telemetron.device_assignment.v1 import changes_pb2_grpc as pb_grpc

SERVER = urlsplit(os.environ.get("DEVICE_ASSIGNMENT_SERVER", "http://127.0.0.1:50051"))
KEY = os.environ["DEVICE_ASSIGNMENT_API_KEY"]
OPTIONS = [
    # A response can exceed the default limit of 4 MiB.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # Notices a lost connection.
    ("grpc.keepalive_time_ms", 20_000),
]
# The call itself is wrong, so a retry would not help.
FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class OwnershipCache:
    """The owners of all devices of an organization. A thread follows the changes."""

    def __init__(self, channel):
        self.filled = threading.Event()  # set when the cache has had all changes, or has failed
        self.failure = None
        self._lock = threading.Lock()
        self._clear()
        threading.Thread(target=self._follow, args=(pb_grpc.ChangeServiceStub(channel),), daemon=True).start()

    def owners(self, identifier):
        """Returns the ids of the owners; None if there is no such device."""
        with self._lock:
            device = self._ids.get(identifier)
            return None if device is None else sorted(self._owners[device])

    def _clear(self):
        with self._lock:
            self._history, self._revision = "", 0
            self._owners = {}  # by the id of the device
            self._ids = {}  # by identifier
            self._identifiers = {}  # by the id of the device

    def _follow(self, stub):
        while True:
            request = pb.WatchChangesRequest(
                after_revision=self._revision, history=self._history, include_names=True
            )
            try:
                for response in stub.WatchChanges(request, metadata=[("x-api-key", KEY)]):
                    self._receive(response)
            except grpc.RpcError as error:
                if error.code() in FINAL:
                    self.failure = f"{error.code().name}: {error.details()}"
                    self.filled.set()
                    return
                if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    self._clear()  # the database has another history
            # The stream goes on after the last change that was received.
            time.sleep(random.uniform(0.2, 0.4))

    def _receive(self, response):
        with self._lock:
            for change in response.changes:
                self._apply(change)
                self._revision = change.revision
            self._history = response.history
        if self._revision >= response.revision:
            self.filled.set()

    def _apply(self, change):
        """Applies a change as set operations: what is there already, or is not there, does not matter."""
        for device in change.devices_created:
            self._owners.setdefault(device, set())
        for named in change.devices:
            self._ids[named.identifier] = named.device_id
            self._identifiers[named.device_id] = named.identifier
            self._owners.setdefault(named.device_id, set())
        for group in change.unassigned:
            for device in group.device_ids:
                self._owners.setdefault(device, set()).discard(group.customer_id)
        for group in change.assigned:
            for device in group.device_ids:
                self._owners.setdefault(device, set()).add(group.customer_id)
        for device in change.devices_deleted:
            self._owners.pop(device, None)
            identifier = self._identifiers.pop(device, None)
            if self._ids.get(identifier) == device:
                del self._ids[identifier]


def main():
    if SERVER.scheme == "https":
        channel = grpc.secure_channel(SERVER.netloc, grpc.ssl_channel_credentials(), OPTIONS)
    else:
        channel = grpc.insecure_channel(SERVER.netloc, OPTIONS)
    cache = OwnershipCache(channel)
    cache.filled.wait()
    for line in sys.stdin:
        if cache.failure:
            sys.exit(cache.failure)
        identifier = line.strip()
        owners = cache.owners(identifier)
        print(identifier, "unknown" if owners is None else " ".join(owners) or "no owner", flush=True)


main()
