// Keeps a copy of who owns which device, and answers from memory: node cache_rest.js < IDENTIFIERS
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const server = process.env.DEVICE_ASSIGNMENT_REST ?? 'http://127.0.0.1:8080';
const key = process.env.DEVICE_ASSIGNMENT_API_KEY;

// The owners of all devices of an organization. Long polls follow the changes.
class OwnershipCache {
  #setFilled;
  // Resolves when the cache has had all changes, or has failed.
  filled = new Promise((resolve) => (this.#setFilled = resolve));
  failure;

  constructor() {
    this.#clear();
    this.#follow();
  }

  // Returns the ids of the owners; undefined if there is no such device.
  owners(identifier) {
    const owners = this.owned.get(this.ids.get(identifier));
    return owners && [...owners].sort();
  }

  #clear() {
    this.position = { after: '0' };
    this.owned = new Map(); // the ids of the owners, by the id of the device
    this.ids = new Map(); // the ids of the devices, by identifier
    this.identifiers = new Map(); // the identifiers, by the id of the device
  }

  async #follow() {
    const query = { pageSize: 1000, includeNames: true, waitSeconds: 30 };
    for (;;) {
      const parameters = new URLSearchParams({ ...query, ...this.position });
      try {
        const response = await fetch(`${server}/api/ext-v1/changes?${parameters}`, {
          headers: { 'x-api-key': key },
          signal: AbortSignal.timeout(60_000),
        });
        const page = await response.json();
        if (response.ok) {
          this.#receive(page);
          continue;
        }
        if (response.status === 410) this.#clear(); // the database has another history
        // The call itself is wrong, so a retry would not help.
        if ([400, 401, 403, 404].includes(response.status)) {
          this.failure = `${page.code}: ${page.error}`;
          return this.#setFilled();
        }
      } catch (error) {
        console.error(`Trying again: ${error.cause?.message ?? error.message}`);
      }
      await sleep(200 + 200 * Math.random());
    }
  }

  #receive({ changes, history, revision }) {
    for (const change of changes) this.#apply(change);
    const after = changes.at(-1)?.revision ?? this.position.after;
    this.position = { after, history };
    if (after === revision) this.#setFilled();
  }

  // Applies a change as set operations: what is there already, or is not there, does not matter.
  #apply(change) {
    const ownersOf = (device) => {
      if (!this.owned.has(device)) this.owned.set(device, new Set());
      return this.owned.get(device);
    };
    change.devicesCreated.forEach(ownersOf);
    for (const { deviceId, identifier } of change.devices) {
      this.ids.set(identifier, deviceId);
      this.identifiers.set(deviceId, identifier);
      ownersOf(deviceId);
    }
    for (const { customerId, deviceIds } of change.unassigned) {
      for (const device of deviceIds) ownersOf(device).delete(customerId);
    }
    for (const { customerId, deviceIds } of change.assigned) {
      for (const device of deviceIds) ownersOf(device).add(customerId);
    }
    for (const device of change.devicesDeleted) {
      const identifier = this.identifiers.get(device);
      if (this.ids.get(identifier) === device) this.ids.delete(identifier);
      this.identifiers.delete(device);
      this.owned.delete(device);
    }
  }
}

const cache = new OwnershipCache();
await cache.filled;
for await (const line of createInterface({ input: process.stdin })) {
  if (cache.failure) {
    console.error(cache.failure);
    process.exit(1);
  }
  const identifier = line.trim();
  const owners = cache.owners(identifier);
  console.log(identifier, owners ? owners.join(' ') || 'no owner' : 'unknown');
}
process.exit(); // the cache follows the changes without an end
