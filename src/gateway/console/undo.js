// Undo of the last change: the opposite calls. It is refused if somebody has changed the same devices or customers since.

import { ApiError } from "./api.js";
import { namesOf, pairs } from "./changes.js";
import { assign, remove, transfer } from "./plans.js";

const PAGE = 1_000;
/** The most pages of later changes that are read to find out whether an undo is safe. */
const MOST_PAGES = 20;

/** What the calls `made` changed, as the history tells it. Null if they changed nothing. */
export async function recorded(api, made) {
  const changes = [];
  let history = "";
  for (const { key, revision } of made) {
    if (revision === 0n) continue;
    const page = await api.get("changes", { after: revision - 1n, pageSize: 1, includeNames: true });
    history = page.history;
    // A call that changed nothing has the revision of somebody else's change.
    if (page.changes[0]?.requestId === key) changes.push(page.changes[0]);
  }
  return changes.length === 0 ? null : { history, changes };
}

/** The plan of the opposite change. */
export function undo(api, last) {
  const names = new Map(last.changes.flatMap((change) => [...namesOf(change)]));
  const assigned = byCustomer(last.changes.flatMap((change) => pairs(change.assigned)), names);
  const unassigned = byCustomer(last.changes.flatMap((change) => pairs(change.unassigned)), names);
  const plans = opposite(assigned, unassigned);
  const isCreated = last.changes.some((change) => change.customersCreated.length + change.devicesCreated.length > 0);
  return {
    title: "Undo the last change",
    verb: "Undo",
    calls: plans.flatMap((plan) => plan.calls),
    notes: isCreated ? ["Customers and devices that the change created stay"] : [],
    check: (keys = []) => check(api, last, names, new Set(keys)),
  };
}

/** One transfer if possible, because it is one transaction. Otherwise devices are given back before they are removed. */
function opposite(assigned, unassigned) {
  const [to, from] = [assigned[0], unassigned[0]];
  if (assigned.length === 1 && unassigned.length === 1 && to.key === from.key) {
    return [transfer({ email: from.email, devices: from.devices, expectedOwner: to.customerId })];
  }
  return [...unassigned.map(assign), ...assigned.map(remove)];
}

/** Pairs by customer: its id and email, its devices, and a key that equal lists of devices share. */
function byCustomer(pairs, names) {
  const customers = Map.groupBy(pairs, ({ customerId }) => customerId);
  return [...customers].map(([customerId, of]) => {
    const ids = of.map(({ deviceId }) => deviceId);
    return { customerId, email: names.get(customerId), devices: ids.map((id) => names.get(id)), key: ids.toSorted().join() };
  });
}

/** Fails if a later change touches the same devices or customers. Calls with these `keys` are the undo itself. */
async function check(api, { history, changes }, names, keys) {
  const refuse = (why) => { throw new ApiError(409, { error: `This cannot be undone: ${why}.` }); };
  const touched = new Set(changes.flatMap((change) => pairs(change.assigned).concat(pairs(change.unassigned))).flatMap(Object.values));
  const nameless = [...touched].find((id) => !names.has(id));
  if (nameless) refuse(`${nameless} has been deleted since`);
  const own = new Set(changes.map(({ revision }) => revision));
  let after = changes[0].revision;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const later = await api.get("changes", { after, history, pageSize: PAGE });
    const others = later.changes.filter(({ revision, requestId }) => !own.has(revision) && !keys.has(requestId));
    for (const change of others) {
      const id = conflicting(change).find((id) => touched.has(id));
      if (id) refuse(`${names.get(id)} has been changed since (revision ${change.revision})`);
    }
    after = later.changes.at(-1)?.revision ?? after;
    if (BigInt(after) >= BigInt(later.revision)) return;
  }
  refuse("there are too many later changes");
}

/** What a later change makes unsafe: the devices whose owners it changed, and the customers that it changed or deleted. */
function conflicting(change) {
  const devices = pairs(change.assigned).concat(pairs(change.unassigned)).map(({ deviceId }) => deviceId);
  return [...devices, ...change.devicesDeleted, ...change.customersUpdated, ...change.customersDeleted];
}
