// The console: a page for people. It signs in with an API key and calls the REST API as any other client does.

import { Api } from "./api.js";
import { busy, byId, complain, say } from "./dom.js";
import { startHistory } from "./history.js";
import * as plans from "./plans.js";
import { preview } from "./preview.js";
import { find, showFound } from "./search.js";
import { Subject } from "./subject.js";
import { recorded, undo } from "./undo.js";

/** What belongs to the person who is signed in. Null before. */
let session = null;

function signIn(api, who) {
  const canWrite = who.scope === "write";
  const actions = { remove: (email, devices) => perform(plans.remove({ email, devices })), fill };
  const subject = new Subject(api, canWrite ? actions : null, (name, id) => session?.history.about(name, id ? [id] : []));
  const history = startHistory(api, who.apiKeyId, (change) => subject.isTouchedBy(change) && refreshSoon());
  session = { api, subject, history, made: [], last: null, message: "" };
  byId("who").textContent = `${who.organizationName} · ${who.label} · ${canWrite ? "can change assignments" : "read only"}`;
  show(true, canWrite);
  history.about("", []);
  say("");
  byId("search-text").focus();
}

function signOut(text = "") {
  session?.history.stop();
  session?.subject.close();
  session = null;
  if (byId("preview").open) byId("preview").close();
  for (const form of document.forms) form.reset();
  updateForm();
  byId("who").textContent = "";
  byId("undo").hidden = true;
  show(false, false);
  say(text, text !== "");
  byId("key").focus();
}

function show(isIn, canWrite) {
  byId("sign-in").hidden = isIn;
  for (const id of ["who", "sign-out", "desk"]) byId(id).hidden = !isIn;
  byId("change").hidden = !canWrite;
}

/** The service rejected the key of a session, or the one that somebody signs in with. */
function rejected(api, error) {
  if (session?.api === api) signOut(`You are signed out. ${error.message}`);
}

/** Loads again what is shown, once for several changes in short succession. */
function refreshSoon() {
  if (session.isRefreshing) return;
  const of = session;
  of.isRefreshing = true;
  setTimeout(() => {
    of.isRefreshing = false;
    if (session === of) of.subject.refresh().catch(complain);
  }, 200);
}

/** Previews a change, makes it if the person confirms it, and offers to undo it. */
async function perform(plan) {
  const of = session;
  const { made, isUnknown } = await preview(of.api, plan);
  if (session !== of) return;
  if (made.length === 0 && !isUnknown) return;
  of.message = `${plan.title}: ${outcome(plan, made, isUnknown)}`;
  // The change before it is no longer the last one.
  [of.made, of.last] = [made, null];
  byId("undo").hidden = true;
  say(of.message, isUnknown || made.length < plan.calls.length);
  byId("message").focus();
  const last = await recorded(of.api, made).catch(() => null);
  if (session !== of || of.made !== made) return;
  of.last = last;
  byId("undo").hidden = of.last === null;
  // What has been said is more important than an error here. The history panel shows whether the service can be reached.
  await of.subject.refresh().catch(console.error);
}

function outcome(plan, made, isUnknown) {
  if (isUnknown) return "The outcome is unknown. The history shows whether the change was made.";
  if (made.length < plan.calls.length) return "Only a part was made. The history shows which.";
  return made.length === 1 ? made[0].body.message : "Done";
}

/** Fills the form for changes, and goes to the first field that is still empty. */
function fill({ kind, email, devices, expectedOwner }) {
  byId("change-kind").value = kind;
  byId("change-email").value = email;
  byId("change-devices").value = devices;
  byId("change-expected").value = expectedOwner;
  byId("change-type").value = "";
  updateForm();
  byId(email === "" ? "change-email" : "change-devices").focus();
}

/** Shows the fields that belong to what is to be done. */
function updateForm() {
  const kind = byId("change-kind").value;
  byId("change-expected-field").hidden = kind !== "transfer";
  byId("change-create-field").hidden = kind === "remove";
}

/** What the form asks for. */
function planOfForm() {
  const text = (id) => byId(id).value.trim();
  const devices = byId("change-devices").value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const fields = { email: text("change-email"), devices, type: text("change-type"), expectedOwner: text("change-expected") };
  return plans[byId("change-kind").value](fields);
}

/** Handles a form without leaving the page. */
function onSubmit(id, action) {
  const form = byId(id);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(form.querySelector("button.main"), action);
  });
}

onSubmit("sign-in", async () => {
  const field = byId("key");
  say("");
  try {
    const api = new Api(field.value.trim(), (error) => rejected(api, error));
    const who = await api.get("credentials");
    field.value = "";
    signIn(api, who);
  } catch (error) {
    field.select();
    throw error;
  }
});

onSubmit("search", async () => {
  const text = byId("search-text").value.trim();
  const of = session;
  of.subject.close();
  of.history.about("", []);
  if (text === "") return;
  const found = await find(of.api, text);
  if (session !== of) return;
  say(of.message);
  if (found.exact?.identifier) await of.subject.openDevice(found.exact.identifier);
  else if (found.exact) await of.subject.openCustomer(found.exact.customerId);
  else showFound(text, found, of.subject);
});

onSubmit("change", () => perform(planOfForm()));
byId("undo").addEventListener("click", () => busy(byId("undo"), () => perform(undo(session.api, session.last))));
byId("sign-out").addEventListener("click", () => signOut());
byId("change-kind").addEventListener("change", updateForm);
// Browsers keep pages that are left, and show them again with their memory.
addEventListener("pagehide", () => signOut());
byId("sign-in").hidden = false;
byId("key").focus();
