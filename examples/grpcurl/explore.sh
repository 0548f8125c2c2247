#!/usr/bin/env bash
# Lists the services and describes the call, using reflection: explore.sh
set -euo pipefail
server=${DEVICE_ASSIGNMENT_SERVER:-http://127.0.0.1:50051}
package=telemetron.device_assignment.v1
options=()
[[ $server == https://* ]] || options+=(-plaintext)

grpcurl "${options[@]}" "${server#*://}" list
grpcurl "${options[@]}" "${server#*://}" describe "$package.DeviceAssignmentService"
grpcurl "${options[@]}" -msg-template "${server#*://}" describe "$package.AssignDevicesToOwnerRequest"
