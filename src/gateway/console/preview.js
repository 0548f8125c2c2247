// The dialog that shows what a change would do before it is made.

import { byId, count, element, first } from "./dom.js";
import { newKey } from "./api.js";

const MOST_LINES = 100;
/** How many devices a look-up of owners can name. */
const MOST_LOOKED_UP = 1_000;

/**
 * The dialog for one plan. Resolves, when it is closed, to the calls that were `made`, each with its answer, and to whether the
 * outcome of another one `isUnknown`.
 */
export function preview(api, plan) {
  const dialog = byId("preview");
  const [cancel, confirm] = [byId("preview-cancel"), byId("preview-confirm")];
  const done = new AbortController();
  // The same keys when a call is repeated, so that nothing is done twice.
  const keys = plan.calls.map(newKey);
  const made = [];
  let isUnknown = false;

  const complain = (text) => {
    byId("preview-error").hidden = text === "";
    byId("preview-error").textContent = text;
  };
  const attempt = async (action) => {
    complain("");
    confirm.disabled = true;
    const error = await action().then(() => null, (problem) => problem);
    if (error && !error.isExpected) console.error(error);
    // The dialog may show another plan by now.
    if (done.signal.aborted) return;
    if (error) complain(error.message);
    confirm.disabled = false;
    if (dialog.open) (confirm.hidden ? cancel : confirm).focus();
  };
  const look = async () => {
    const body = byId("preview-body");
    body.replaceChildren(element("p", {}, "Checking what would change…"));
    const lines = await describe(api, plan).finally(() => done.signal.aborted || body.replaceChildren());
    if (done.signal.aborted) return;
    show(lines);
    confirm.hidden = !lines.some((line) => line.hasEffect);
  };
  const make = async (call, key) => {
    try {
      made.push({ key, ...(await api.write(call.path, call.request, key)) });
      isUnknown = false;
    } catch (error) {
      // If an earlier attempt may have been carried out, a rejection of this one does not change that.
      isUnknown ||= !(error.status >= 400 && error.status < 500);
      throw error;
    }
  };
  const carryOut = async () => {
    hold(true);
    try {
      await plan.check?.(keys);
      for (const call of plan.calls.slice(made.length)) await make(call, keys[made.length]);
      dialog.close();
    } finally {
      hold(false);
    }
  };
  /** Keeps the dialog open. Browsers let a second Escape close it, whatever the event `cancel` says, unless `closedBy` is set. */
  const hold = (isHeld) => {
    cancel.disabled = isHeld;
    dialog.closedBy = isHeld ? "none" : "closerequest";
  };

  byId("preview-title").textContent = plan.title;
  confirm.textContent = plan.verb;
  confirm.hidden = true;
  hold(false);
  dialog.showModal();
  byId("preview-title").focus();

  return new Promise((resolve) => {
    const options = { signal: done.signal };
    cancel.addEventListener("click", () => dialog.close(), options);
    confirm.addEventListener("click", () => attempt(carryOut), options);
    dialog.addEventListener("cancel", (event) => cancel.disabled && event.preventDefault(), options);
    dialog.addEventListener("close", () => {
      done.abort();
      byId("preview-title").replaceChildren();
      byId("preview-body").replaceChildren();
      resolve({ made, isUnknown });
    }, options);
    attempt(look);
  });
}

/** Asks the service what the calls of a plan would do. */
async function describe(api, plan) {
  await plan.check?.();
  const lines = [];
  for (const { path, request, describe } of plan.calls) {
    const [answer, owners] = await Promise.all([
      api.post(path, { ...request, validateOnly: true }),
      path.includes("transfer") ? ownersOf(api, request.deviceIdentifiers) : new Map(),
    ]);
    lines.push(...describe(answer, request, owners));
  }
  return [...lines, ...(plan.notes ?? []).map((text) => ({ text, hasEffect: false }))];
}

/** The emails of the owners of devices, by id. */
async function ownersOf(api, identifiers) {
  const deviceIdentifiers = identifiers.slice(0, MOST_LOOKED_UP);
  const { devices } = await api.post("deviceAssignment/batchGetDeviceOwners", { deviceIdentifiers });
  return new Map(devices.flatMap(({ owners }) => owners.map(({ customerId, email }) => [customerId, email])));
}

function show(lines) {
  const [effects, notes] = [lines.filter((line) => line.hasEffect), lines.filter((line) => !line.hasEffect)];
  const summary =
    effects.length === 0 ? "Nothing would change." : `Nothing has changed yet. ${count(effects.length, "change")} will be made:`;
  byId("preview-body").replaceChildren(element("p", {}, summary), ...list("Changes", effects), ...list("Notes", notes));
}

function list(ariaLabel, lines) {
  if (lines.length === 0) return [];
  const items = first(lines, MOST_LINES, ({ text }) => element("li", {}, text));
  // It can be scrolled, so it can have the focus.
  return [element("ul", { className: `rows ${ariaLabel.toLowerCase()}`, tabIndex: 0, ariaLabel }, ...items)];
}
