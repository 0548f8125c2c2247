// What a change of the history says.

const KINDS = new Map([
  ["assign", "Assigned"],
  ["unassign", "Removed"],
  ["transfer", "Transferred"],
  ["import", "Imported"],
  ["update", "Changed"],
  ["delete", "Deleted"],
  ["baseline", "Recorded what existed before"],
]);

export const kindOf = (change) => KINDS.get(change.kind) ?? change.kind;

/** The names of a change, by id. What was deleted since has none. */
export function namesOf(change) {
  return new Map([
    ...change.customers.map(({ customerId, email }) => [customerId, email]),
    ...change.devices.map(({ deviceId, identifier }) => [deviceId, identifier]),
  ]);
}

/** The assignments of `assigned` or `unassigned`, as pairs of ids. */
export const pairs = (list) =>
  list.flatMap(({ customerId, deviceIds }) => deviceIds.map((deviceId) => ({ customerId, deviceId })));

/** The ids of all customers and devices that a change names. */
export function idsOf(change) {
  const both = [...change.assigned, ...change.unassigned];
  return new Set([
    ...both.flatMap(({ customerId, deviceIds }) => [customerId, ...deviceIds]),
    ...change.customersCreated,
    ...change.customersUpdated,
    ...change.customersDeleted,
    ...change.devicesCreated,
    ...change.devicesUpdated,
    ...change.devicesDeleted,
  ]);
}

/** Who made a change, for a person whose key has the id `ownKey`. */
export function actorOf({ actor }, ownKey) {
  if (actor.apiKeyId === ownKey) return "this key";
  if (actor.apiKeyId) return `key ${actor.apiKeyId}`;
  return actor.operator ? `operator ${actor.operator}` : "the service";
}

/** Each effect of a change: a sign, a sentence. */
export function effectsOf(change) {
  const names = namesOf(change);
  const name = (id) => names.get(id) ?? id;
  const each = (sign, ids, text) => ids.map((id) => ({ sign, text: `${text} ${name(id)}` }));
  return [
    ...pairs(change.assigned).map((pair) => ({ sign: "+", text: `${name(pair.deviceId)} to ${name(pair.customerId)}` })),
    ...pairs(change.unassigned).map((pair) => ({ sign: "−", text: `${name(pair.deviceId)} from ${name(pair.customerId)}` })),
    ...each("+", change.customersCreated, "new customer"),
    ...each("", change.customersUpdated, "customer"),
    ...each("−", change.customersDeleted, "customer"),
    ...each("+", change.devicesCreated, "new device"),
    ...each("", change.devicesUpdated, "device"),
    ...each("−", change.devicesDeleted, "device"),
  ];
}
