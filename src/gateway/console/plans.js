// What a person is about to change: a title, and the calls that carry it out. Each call can describe the answer to itself.

import { count } from "./dom.js";

const ROOT = "deviceAssignment/";

/** Assigns devices to a customer. With a type, unknown devices are created. */
export function assign({ email, devices, type = "" }) {
  return {
    title: `Assign ${some(devices)} to ${email}`,
    verb: "Assign",
    calls: [{ path: `${ROOT}assignDevicesToOwner`, request: { ...request(email, devices), ...created(type) }, describe: describeAssign }],
  };
}

/** Assigns devices to a customer, and removes them from everybody else. */
export function transfer({ email, devices, type = "", expectedOwner = "" }) {
  const expected = expectedOwner === "" ? {} : { expectedOwner };
  return {
    title: `Transfer ${some(devices)} to ${email}`,
    verb: "Transfer",
    calls: [
      {
        path: `${ROOT}transferDevicesToOwner`,
        request: { ...request(email, devices), ...created(type), ...expected },
        describe: describeTransfer,
      },
    ],
  };
}

/** Removes devices from a customer. */
export function remove({ email, devices }) {
  return {
    title: `Remove ${some(devices)} from ${email}`,
    verb: "Remove",
    calls: [{ path: `${ROOT}unassignDevicesFromOwner`, request: request(email, devices), describe: describeRemove }],
  };
}

const request = (customerEmail, deviceIdentifiers) => ({ customerEmail, deviceIdentifiers });
const created = (deviceType) => (deviceType === "" ? {} : { autoCreateDevices: true, deviceType });
const some = (devices) => (devices.length === 1 ? devices[0] : count(devices.length, "device"));

/** A line of a description; `hasEffect` says whether something changes. */
const effect = (text) => ({ text, hasEffect: true });
const note = (text) => ({ text, hasEffect: false });

const customer = (answer, { customerEmail }) =>
  answer.customerWasCreated ? [effect(`The customer ${customerEmail} is new and will be created`)] : [];

function describeAssign(answer, request) {
  return [
    ...customer(answer, request),
    ...answer.assignedDevices.map((device) =>
      effect(`${device.identifier}: will be ${device.wasCreated ? "created and assigned" : "assigned"} to ${request.customerEmail}`),
    ),
    ...unchanged(answer),
    ...skipped(answer, "unknown"),
  ];
}

/** `owners` has the emails of owners by id, as far as they are known. */
function describeTransfer(answer, request, owners) {
  const from = (device) => device.previousOwners.map((id) => owners.get(id) ?? id).join(", ");
  const isLost = (device) => device.previousOwnersCount > 0;
  return [
    ...customer(answer, request),
    ...answer.assignedDevices.map((device) => {
      const what = device.wasCreated ? "created and assigned" : isLost(device) ? `transferred from ${from(device)}` : "assigned";
      return effect(`${device.identifier}: will be ${what} to ${request.customerEmail}`);
    }),
    ...answer.alreadyAssigned.filter(isLost).map((device) => effect(`${device.identifier}: will be removed from ${from(device)}`)),
    ...unchanged({ alreadyAssigned: answer.alreadyAssigned.filter((device) => !isLost(device)) }),
    ...skipped(answer, request.expectedOwner ? `unknown, or not owned by ${request.expectedOwner}` : "unknown"),
  ];
}

function describeRemove(answer, { customerEmail }) {
  return [
    ...answer.unassignedDevices.map((identifier) => effect(`${identifier}: will be removed from ${customerEmail}`)),
    ...skipped(answer, `not owned by ${customerEmail}`),
    note(`${count(answer.devicesRemainingCount, "device")} will remain with ${customerEmail}`),
  ];
}

const unchanged = ({ alreadyAssigned }) =>
  alreadyAssigned.map(({ identifier }) => note(`${identifier}: is assigned already, stays as it is`));
const skipped = ({ skipped }, why) => skipped.map((identifier) => note(`${identifier}: ${why}, will be skipped`));
