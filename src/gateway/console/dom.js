// Helpers for the page. Texts are always set as text, never as HTML: identifiers may contain anything.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children. Strings become text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (property === "dataset") Object.assign(made.dataset, value);
    else made[property] = value;
  }
  made.append(...children);
  return made;
}

/** A button that runs `action`. It is disabled meanwhile, so that a second click does nothing. */
export function button(text, action, properties = {}) {
  const made = element("button", { type: "button", ...properties }, text);
  made.addEventListener("click", () => busy(made, action));
  return made;
}

/** Runs `action`, with `control` disabled until it is done. An error is shown to the person. */
export async function busy(control, action) {
  if (control.disabled) return;
  const hadFocus = document.activeElement === control;
  control.disabled = true;
  try {
    await action();
  } catch (error) {
    complain(error);
  } finally {
    control.disabled = false;
    if (hadFocus && control.isConnected && document.activeElement === document.body) control.focus();
  }
}

/** Shows a message, and reads it to people who use a screen reader. */
export function say(text, isError = false) {
  const message = byId("message");
  message.classList.toggle("is-empty", text === "");
  message.classList.toggle("is-error", isError);
  byId("message-text").textContent = text;
}

export function complain(error) {
  if (error.name === "AbortError") return;
  if (!error.isExpected) console.error(error);
  say(error.message, true);
}

/** A time as people write it where they are. */
export function time(text) {
  const date = new Date(text);
  const shown = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return element("time", { dateTime: text, title: text }, shown);
}

/** The first items of a list, and how many more there are. */
export function first(items, most, show) {
  const shown = items.slice(0, most).map(show);
  if (items.length > most) shown.push(element("li", {}, `and ${items.length - most} more`));
  return shown;
}

export const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
