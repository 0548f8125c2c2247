// What the page shows: a device with its owners, or a customer with its devices.

import { button, byId, count, element, say, time } from "./dom.js";
import { idsOf } from "./changes.js";

const PAGE = 100;

export class Subject {
  #api;
  #actions;
  #onShown;
  /** How to load what is shown, and the id of it. */
  #load = null;
  #id = "";
  /** The pages of owners or devices that are shown. */
  #pages = 1;
  /** Counts the loads, so that a late answer does not replace a newer one. */
  #turn = 0;

  /**
   * `actions` has what a person can change: `remove(email, devices)` and `fill(fields)`, or is null for a key that may only read.
   * `onShown` is called with the name and the id of what is shown.
   */
  constructor(api, actions, onShown) {
    this.#api = api;
    this.#actions = actions;
    this.#onShown = onShown;
  }

  openDevice = (identifier) => this.#open(() => this.#device(identifier));
  openCustomer = (id) => this.#open(() => this.#customer(id));

  /** Forgets what is shown. Answers that are still on their way are not shown. */
  close() {
    this.#load = null;
    this.#id = "";
    this.#turn += 1;
    byId("result").hidden = true;
    byId("result").replaceChildren();
  }

  isTouchedBy(change) {
    return this.#id !== "" && idsOf(change).has(this.#id);
  }

  /** Loads again what is shown, and leaves the focus where it is. */
  async refresh() {
    if (this.#load === null) return;
    try {
      await this.#show();
    } catch (error) {
      if (error.status !== 404) throw error;
      this.close();
      this.#onShown("", "");
      say(error.message, true);
    }
  }

  async #open(load) {
    this.#load = load;
    this.#pages = 1;
    if (await this.#show()) byId("result-title").focus();
  }

  /** Returns whether it is shown: not if something else is to be shown meanwhile. */
  async #show() {
    this.#turn += 1;
    const turn = this.#turn;
    const { id, name, content } = await this.#load();
    if (turn !== this.#turn) return false;
    const focused = document.activeElement?.dataset.focus;
    const result = byId("result");
    const isOpen = result.querySelector("details")?.open ?? false;
    result.hidden = false;
    result.replaceChildren(...content);
    const details = result.querySelector("details");
    if (details && this.#id === id) details.open = isOpen;
    if (focused) [...result.querySelectorAll("[data-focus]")].find((of) => of.dataset.focus === focused)?.focus();
    this.#id = id;
    this.#onShown(name, id);
    return true;
  }

  async #device(identifier) {
    const [device, owners] = await Promise.all([
      this.#api.get("device", { identifier }),
      this.#list("owners", "deviceAssignment/owners", { deviceIdentifier: identifier }),
    ]);
    const isOnly = device.ownersCount === 1 && owners.items.length === 1;
    const expectedOwner = isOnly ? owners.items[0].email : "";
    const rows = owners.items.map(({ customerId, email, assignedAt }) =>
      this.#row(email, () => this.openCustomer(customerId), assignedAt, { email, identifier }),
    );
    const content = [
      element("p", { className: "kind" }, "Device"),
      element("h2", { id: "result-title", tabIndex: -1, dataset: { focus: "title" } }, device.identifier),
      facts([["Type", device.type], ["Created", time(device.createdAt)], ["Id", device.deviceId]]),
      ...this.#buttons([
        ["Assign…", { kind: "assign", devices: identifier, email: "", expectedOwner: "" }],
        ["Transfer…", { kind: "transfer", devices: identifier, email: "", expectedOwner }],
      ]),
      element("h3", {}, device.ownersCount === 0 ? "No owners" : count(device.ownersCount, "owner")),
      element("ul", { className: "rows" }, ...rows),
      ...this.#more(owners),
      ...json("Properties", device.properties),
    ];
    return { id: device.deviceId, name: device.identifier, content };
  }

  async #customer(id) {
    const [customer, devices] = await Promise.all([
      this.#api.get(`customer/getCustomer/${encodeURIComponent(id)}`),
      this.#list("devices", "deviceAssignment/devices", { customerId: id }),
    ]);
    const { email } = customer;
    const rows = devices.items.map(({ identifier, type, assignedAt }) =>
      this.#row(identifier, () => this.openDevice(identifier), assignedAt, { email, identifier }, `${type}, `),
    );
    const content = [
      element("p", { className: "kind" }, "Customer"),
      element("h2", { id: "result-title", tabIndex: -1, dataset: { focus: "title" } }, email),
      facts([
        ["Name", customer.name],
        ["Phone", customer.phone],
        ["Address", customer.address],
        ["Created", time(customer.createdAt)],
        ["Id", customer.id],
      ]),
      ...this.#buttons([
        ["Assign devices…", { kind: "assign", email, devices: "", expectedOwner: "" }],
        ["Transfer devices to them…", { kind: "transfer", email, devices: "", expectedOwner: "" }],
      ]),
      element("h3", {}, customer.devicesCount === 0 ? "No devices" : count(customer.devicesCount, "device")),
      element("ul", { className: "rows" }, ...rows),
      ...this.#more(devices),
      ...json("Metadata", customer.metadata),
    ];
    return { id: customer.id, name: email, content };
  }

  /** The pages of a list that are to be shown. */
  async #list(member, path, query) {
    const items = [];
    let pageToken = "";
    let pages = 0;
    do {
      const page = await this.#api.get(path, { ...query, pageSize: PAGE, ...(pageToken && { pageToken }) });
      items.push(...page[member]);
      pageToken = page.nextPageToken;
      pages += 1;
    } while (pageToken !== "" && pages < this.#pages);
    return { items, hasMore: pageToken !== "" };
  }

  /** An assignment: the other side of it, since when, and a button to remove it. */
  #row(name, open, since, { email, identifier }, about = "") {
    const link = button(name, open, { className: "link", dataset: { focus: `open ${name}` } });
    const text = element("small", {}, `${about}since `, time(since));
    const removal = this.#actions && button("Remove…", () => this.#actions.remove(email, [identifier]), {
      className: "small",
      ariaLabel: `Remove ${identifier} from ${email}…`,
      dataset: { focus: `remove ${name}` },
    });
    return element("li", { className: "row" }, element("div", {}, link, element("br"), text), ...(removal ? [removal] : []));
  }

  /** Buttons that fill the form for changes. */
  #buttons(list) {
    if (this.#actions === null) return [];
    const buttons = list.map(([text, fields]) => button(text, () => this.#actions.fill(fields), { dataset: { focus: text } }));
    return [element("div", { className: "line" }, ...buttons)];
  }

  #more({ hasMore }) {
    if (!hasMore) return [];
    const more = async () => {
      this.#pages += 1;
      await this.refresh();
    };
    return [button("Show more", more, { className: "more", dataset: { focus: "more" } })];
  }
}

/** Names and values; without empty ones. */
function facts(list) {
  const given = list.filter(([, value]) => value !== "");
  return element("dl", {}, ...given.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** A JSON object, to be opened; nothing for an empty one. */
function json(title, object) {
  if (Object.keys(object).length === 0) return [];
  const text = JSON.stringify(object, null, 2);
  return [element("details", {}, element("summary", { dataset: { focus: "details" } }, title), element("pre", {}, text))];
}
