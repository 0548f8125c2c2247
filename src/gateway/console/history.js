// The panel with the history of the organization. It follows changes as they happen.

import { byId, busy, complain, element, first, time } from "./dom.js";
import { actorOf, effectsOf, idsOf, kindOf } from "./changes.js";

/** How many changes are shown at first, and how many more at a time. */
const PAGE = 50;
/** The most changes that the panel keeps while it follows. */
const MOST = 200;
const MOST_EFFECTS = 4;
const RETRY = 1_000;
const LONGEST_RETRY = 30_000;

export class History {
  #api;
  #ownKey;
  #onChange;
  #stop = new AbortController();
  /** Ends the stream that is open. */
  #hidden = new AbortController();
  #history = "";
  /** The revision that has been reached, and that of the earliest change that is shown. */
  #reached = 0n;
  #earliest = 0n;
  #ids = new Set();

  /** `onChange` is called with each new change. */
  constructor(api, ownKey, onChange) {
    this.#api = api;
    this.#ownKey = ownKey;
    this.#onChange = onChange;
    const options = { signal: this.#stop.signal };
    byId("history-only").addEventListener("change", () => this.#filter(), options);
    document.addEventListener("visibilitychange", () => this.#hidden.abort(), options);
    const more = byId("history-more");
    more.addEventListener("click", () => busy(more, () => this.#showEarlier()), options);
  }

  stop() {
    this.#stop.abort();
    byId("history").replaceChildren();
    this.about("", []);
    this.#state("", false);
  }

  /** Names what the page shows, so that its changes can be found: a title and the ids. */
  about(title, ids) {
    this.#ids = new Set(ids);
    byId("history-filter").hidden = ids.length === 0;
    if (ids.length === 0) byId("history-only").checked = false;
    byId("history-subject").textContent = title;
    this.#filter();
  }

  /** Shows the newest changes, and then follows until it is stopped. */
  async run() {
    let wait = RETRY;
    while (!this.#stop.signal.aborted) {
      try {
        await visible();
        if (this.#history === "") await this.#begin();
        await this.#follow(() => { wait = RETRY; });
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (document.hidden) {
          this.#state("Paused while the tab is hidden", false);
          continue;
        }
        // Another history: the database was restored.
        if (error.reason === "CHANGES_EXPIRED" || error.reason === "REVISION_IN_FUTURE") this.#history = "";
        this.#state(`Not live. ${error.isExpected ? error.message : "The connection was lost."}`, false);
      }
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, LONGEST_RETRY);
    }
  }

  async #begin() {
    const newest = await this.#api.get("changes", { pageSize: 1 });
    if (this.#stop.signal.aborted) return;
    byId("history").replaceChildren();
    this.#history = newest.history;
    this.#reached = this.#earliest = BigInt(newest.revision);
    await this.#showEarlier();
  }

  async #follow(onEvent) {
    const query = { after: this.#reached, history: this.#history, includeNames: true };
    this.#hidden = new AbortController();
    await this.#api.follow(query, AbortSignal.any([this.#stop.signal, this.#hidden.signal]), (name, data) => {
      if (name === "end") throw Object.assign(new Error(data.error), { reason: data.reason, isExpected: true });
      onEvent();
      if (name === "change") this.#add(data);
      this.#state("Live", true);
    });
  }

  #add(change) {
    this.#reached = BigInt(change.revision);
    const list = byId("history");
    list.prepend(this.#row(change));
    while (list.children.length > MOST) {
      list.lastElementChild.remove();
      this.#earliest = BigInt(list.lastElementChild.dataset.revision) - 1n;
    }
    this.#showMore();
    this.#onChange(change);
  }

  async #showEarlier() {
    const before = this.#earliest;
    let after = before > BigInt(PAGE) ? before - BigInt(PAGE) : 0n;
    const begin = after;
    const rows = [];
    // A page can end early, because its bytes are limited.
    while (after < before) {
      const query = { after, history: this.#history, pageSize: before - after, includeNames: true };
      const { changes } = await this.#api.get("changes", query);
      if (this.#stop.signal.aborted || changes.length === 0) break;
      rows.unshift(...changes.map((change) => this.#row(change)).reverse());
      after = BigInt(changes.at(-1).revision);
    }
    this.#earliest = begin;
    byId("history").append(...rows);
    this.#showMore();
  }

  #showMore() {
    byId("history-more").hidden = this.#earliest === 0n;
  }

  #row(change) {
    const effects = first(effectsOf(change), MOST_EFFECTS, ({ sign, text }) => {
      const mark = { "+": "plus", "−": "minus" }[sign];
      return element("li", {}, ...(mark ? [element("span", { className: mark }, `${sign} `)] : []), text);
    });
    const row = element(
      "li",
      { dataset: { revision: change.revision } },
      element("p", {}, element("strong", {}, kindOf(change)), " ", element("small", {}, time(change.at), ` by ${actorOf(change, this.#ownKey)} · revision ${change.revision}`)),
      element("ul", { className: "effects" }, ...effects),
    );
    row.ids = idsOf(change);
    row.hidden = !this.#isWanted(row);
    return row;
  }

  #isWanted(row) {
    return !byId("history-only").checked || [...this.#ids].some((id) => row.ids.has(id));
  }

  #filter() {
    for (const row of byId("history").children) row.hidden = !this.#isWanted(row);
  }

  #state(text, isLive) {
    const state = byId("history-state");
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("is-live", isLive);
  }
}

/**
 * Waits until the page can be seen. A hidden tab must not keep a stream: over HTTP/1.1 a browser has only six connections to a
 * server, for all of its tabs.
 */
async function visible() {
  while (document.hidden) {
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
}

/** Starts a history that reports its own faults. */
export function startHistory(...args) {
  const history = new History(...args);
  history.run().catch(complain);
  return history;
}
