// The search: what begins with a text, among devices and customers.

import { button, byId, count, element } from "./dom.js";

const MOST = 20;
/** No address is longer, in bytes. */
const LONGEST_EMAIL = 254;

/** The devices and customers that begin with a text. `exact` is the only one that is equal to it, if there is one. */
export async function find(api, text) {
  const [devices, customers] = await Promise.all([
    api.get("devices", { prefix: text, pageSize: MOST }),
    new TextEncoder().encode(text).length > LONGEST_EMAIL
      ? { customers: [], nextPageToken: "" }
      : api.post("customer/listCustomers", { emailPrefix: text, pageSize: MOST }),
  ]);
  const exact = [
    ...devices.devices.filter(({ identifier }) => identifier === text).map(({ identifier }) => ({ identifier })),
    ...customers.customers.filter(({ email }) => email === text.toLowerCase()).map(({ id }) => ({ customerId: id })),
  ];
  return {
    devices: devices.devices,
    customers: customers.customers,
    hasMore: devices.nextPageToken !== "" || customers.nextPageToken !== "",
    exact: exact.length === 1 ? exact[0] : null,
  };
}

/** Shows what was found. */
export function showFound(text, { devices, customers, hasMore }, subject) {
  const found = devices.length + customers.length;
  const rows = [
    ...devices.map(({ identifier, type }) =>
      row(identifier, `device, ${type}`, () => subject.openDevice(identifier)),
    ),
    ...customers.map(({ id, email, name }) => row(email, `customer, ${name}`, () => subject.openCustomer(id))),
  ];
  const title = found === 0 ? `Nothing begins with “${text}”` : `${hasMore ? "First " : ""}${count(found, "result")} for “${text}”`;
  byId("result").hidden = false;
  byId("result").replaceChildren(
    element("h2", { id: "result-title", tabIndex: -1 }, title),
    ...(found === 0 ? [element("p", {}, "Check upper and lower case, and that the key belongs to the right organization.")] : []),
    element("ul", { className: "rows" }, ...rows),
    ...(hasMore ? [element("p", { className: "help" }, "There are more. Type more of it to find them.")] : []),
  );
  byId("result-title").focus();
}

const row = (name, about, open) =>
  element("li", { className: "row" }, button(name, open, { className: "link" }), element("small", {}, about));
