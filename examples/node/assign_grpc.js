// Assigns devices to a customer over gRPC: node assign_grpc.js EMAIL IDENTIFIER...
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const server = new URL(process.env.DEVICE_ASSIGNMENT_SERVER ?? 'http://127.0.0.1:50051');
const key = process.env.DEVICE_ASSIGNMENT_API_KEY;
const timeout = 1000 * (process.env.DEVICE_ASSIGNMENT_TIMEOUT ?? 30); // milliseconds, for all attempts together
const attempts = 5;
const temporary = [grpc.status.UNAVAILABLE, grpc.status.RESOURCE_EXHAUSTED];

const definition = protoLoader.loadSync(
  ['telemetron/device_assignment/v1/device_assignment.proto', 'google_rpc.proto'],
  {
    includeDirs: ['../../proto', '..'].map((folder) => fileURLToPath(new URL(folder, import.meta.url))),
    defaults: true,
    longs: Number,
  },
);
const { DeviceAssignmentService } = grpc.loadPackageDefinition(definition).telemetron.device_assignment.v1;

// Returns the error detail of this type, if there is one.
function detail(error, kind) {
  const [status] = error.metadata.get('grpc-status-details-bin');
  const details = status ? definition['google.rpc.Status'].deserialize(status).details : [];
  const packed = details.find((detail) => detail.type_url === `type.googleapis.com/${kind}`);
  return packed && definition[kind].deserialize(packed.value);
}

// Makes the call, and retries temporary errors. The call is idempotent.
async function assign(client, request) {
  const metadata = new grpc.Metadata();
  metadata.set('x-api-key', key);
  const deadline = Date.now() + timeout;
  for (let attempt = 1; ; attempt++) {
    try {
      return await new Promise((resolve, reject) => {
        const done = (error, answer) => (error ? reject(error) : resolve(answer));
        client.assignDevicesToOwner(request, metadata, { deadline }, done);
      });
    } catch (error) {
      // The retries built into gRPC ignore RetryInfo.
      const delay = detail(error, 'google.rpc.RetryInfo')?.retryDelay;
      const asked = delay ? 1000 * delay.seconds + delay.nanos / 1e6 : 100 * 2 ** attempt;
      const pause = asked * (1 + Math.random() / 2); // random, so that clients do not retry at the same time
      if (!temporary.includes(error.code) || attempt === attempts || Date.now() + pause > deadline) throw error;
      await sleep(pause);
    }
  }
}

const [customerEmail, ...deviceIdentifiers] = process.argv.slice(2);
const isSecure = server.protocol === 'https:';
const credentials = isSecure ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
const client = new DeviceAssignmentService(`${server.hostname}:${server.port || 443}`, credentials, {
  'grpc.max_receive_message_length': 64 * 1024 * 1024, // a response can exceed the default of 4 MiB
});
try {
  const answer = await assign(client, { customerEmail, deviceIdentifiers });
  console.log(answer.message);
  if (answer.skipped.length) console.log('Skipped:', ...answer.skipped);
} catch (error) {
  if (!(error.code in grpc.status)) throw error;
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  for (const { field, description } of detail(error, 'google.rpc.BadRequest')?.fieldViolations ?? []) {
    console.error(`  ${field}: ${description}`);
  }
  process.exitCode = 1;
} finally {
  client.close();
}
