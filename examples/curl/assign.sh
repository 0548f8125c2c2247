#!/usr/bin/env bash
# Assigns devices to a customer over REST: assign.sh EMAIL IDENTIFIER...
# Needs curl 7.82 and jq.
set -euo pipefail
server=${DEVICE_ASSIGNMENT_REST:-http://127.0.0.1:8080}
timeout=${DEVICE_ASSIGNMENT_TIMEOUT:-30} # seconds
key=${DEVICE_ASSIGNMENT_API_KEY:?}
request=$(jq --null-input '{customerEmail: $ARGS.positional[0], deviceIdentifiers: $ARGS.positional[1:]}' --args -- "$@")
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# After 429 and 503, curl waits as long as Retry-After says and retries, up to four times. The key is passed through a pipe,
# because everybody on the machine can read the arguments of a program.
if curl --silent --show-error --fail-with-body --output "$answer" \
    --max-time "$timeout" --retry 4 --retry-max-time "$timeout" --retry-connrefused \
    --header @<(printf 'x-api-key: %s' "$key") --json @- \
    "$server/api/ext-v1/deviceAssignment/assignDevicesToOwner" <<<"$request"; then
    jq . "$answer"
else
    jq --raw-output '"\(.code): \(.error)", (.fieldViolations[]? | "  \(.field): \(.description)")' "$answer" >&2
    exit 1
fi
