// Makes each documented call with the generated client.

import createClient from "openapi-fetch";

import { examples } from "./examples.js";
import type { paths } from "./schema.js";

declare const process: { argv: string[] };

const [url, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { "x-api-key": key } });

for (const body of examples) {
  const { data, error } = await client.POST("/api/ext-v1/deviceAssignment/assignDevicesToOwner", { body });
  if (data) {
    const identifiers: string[] = data.assignedDevices.map((device) => device.identifier);
    console.log(data.message, identifiers.join(" "), data.skipped.join(" "));
  } else {
    console.log(error.code, error.error);
  }
}

const { error } = await client.POST("/api/ext-v1/deviceAssignment/assignDevicesToOwner", {
  body: { customerEmail: "john", deviceIdentifiers: ["SN-001"] },
});
const fields: string[] | undefined = error?.fieldViolations?.map((violation) => violation.field);
console.log(error?.code, fields?.join(" "));

const { data } = await client.GET("/api/ext-v1/credentials");
console.log(data?.organizationName);
