// Assigns devices to a customer over REST: node assign_rest.js EMAIL IDENTIFIER...
import { setTimeout as sleep } from 'node:timers/promises';

const server = process.env.DEVICE_ASSIGNMENT_REST ?? 'http://127.0.0.1:8080';
const key = process.env.DEVICE_ASSIGNMENT_API_KEY;
const timeout = 1000 * (process.env.DEVICE_ASSIGNMENT_TIMEOUT ?? 30); // milliseconds, for all attempts together
const attempts = 5;

// Makes the call, and retries temporary errors. The call is idempotent.
async function assign(request) {
  const deadline = Date.now() + timeout;
  const signal = AbortSignal.timeout(timeout);
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${server}/api/ext-v1/deviceAssignment/assignDevicesToOwner`, {
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

const [customerEmail, ...deviceIdentifiers] = process.argv.slice(2);
try {
  const response = await assign({ customerEmail, deviceIdentifiers });
  const answer = await response.json();
  if (response.ok) {
    console.log(answer.message);
    if (answer.skipped.length) console.log('Skipped:', ...answer.skipped);
  } else {
    console.error(`${answer.code}: ${answer.error}`);
    for (const { field, description } of answer.fieldViolations ?? []) console.error(`  ${field}: ${description}`);
    process.exitCode = 1;
  }
} catch (error) {
  console.error(`No response: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
