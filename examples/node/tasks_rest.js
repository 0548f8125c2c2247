// Everyday tasks over REST:
//   node tasks_rest.js sell SELLER BUYER IDENTIFIER...   transfers devices, if they still belong to the seller
//   node tasks_rest.js return OWNER IDENTIFIER...        removes devices from a customer
//   node tasks_rest.js sync FILE                         gives each device to the one customer that a CSV file names for it
// The first line of the file is customer_email,device_identifier; its fields have no quotes.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const server = process.env.DEVICE_ASSIGNMENT_REST ?? 'http://127.0.0.1:8080';
const key = process.env.DEVICE_ASSIGNMENT_API_KEY;
const timeout = 1000 * (process.env.DEVICE_ASSIGNMENT_TIMEOUT ?? 30); // milliseconds, for all attempts of a call together
const attempts = 5;

// Makes a call, and retries temporary errors. All calls here are idempotent.
async function response(method, request) {
  const deadline = Date.now() + timeout;
  const signal = AbortSignal.timeout(timeout);
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${server}/api/ext-v1/deviceAssignment/${method}`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify(request),
      signal,
    });
    const asked = 1000 * (response.headers.get('retry-after') ?? 1);
    const pause = asked * (1 + Math.random() / 2); // random, so that clients do not retry at the same time
    const isTemporary = response.status === 429 || response.status === 503;
    if (!isTemporary || attempt === attempts || Date.now() + pause > deadline) return response;
    await response.body.cancel();
    await sleep(pause);
  }
}

// Makes a call, and prints its result.
async function call(method, request) {
  const answered = await response(method, request);
  const answer = await answered.json();
  if (answered.ok) {
    console.log(answer.message);
    if (answer.skipped.length) console.log('Skipped:', ...answer.skipped);
  } else {
    console.error(`${answer.code}: ${answer.error}`);
    for (const { field, description } of answer.fieldViolations ?? []) console.error(`  ${field}: ${description}`);
    process.exitCode = 1;
  }
}

// A request for each customer and 1,000 devices.
function* transfers(file) {
  const [, ...lines] = readFileSync(file, 'utf8').split(/\r?\n/);
  const devices = new Map();
  for (const line of lines.filter(Boolean)) {
    const [customerEmail, identifier] = line.split(',');
    if (!devices.has(customerEmail)) devices.set(customerEmail, []);
    devices.get(customerEmail).push(identifier);
  }
  for (const [customerEmail, identifiers] of devices) {
    for (let start = 0; start < identifiers.length; start += 1000) {
      yield { customerEmail, deviceIdentifiers: identifiers.slice(start, start + 1000) };
    }
  }
}

const [task, ...rest] = process.argv.slice(2);
try {
  if (task === 'sell') {
    const [expectedOwner, customerEmail, ...deviceIdentifiers] = rest;
    await call('transferDevicesToOwner', { customerEmail, deviceIdentifiers, expectedOwner });
  } else if (task === 'return') {
    const [customerEmail, ...deviceIdentifiers] = rest;
    await call('unassignDevicesFromOwner', { customerEmail, deviceIdentifiers });
  } else if (task === 'sync') {
    // An error of one customer is no reason to leave out the others.
    for (const request of transfers(rest[0])) await call('transferDevicesToOwner', request);
  } else {
    console.error(`unknown task: ${task}`);
    process.exitCode = 2;
  }
} catch (error) {
  console.error(`No response: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
