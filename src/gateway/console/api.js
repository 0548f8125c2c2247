// Calls of the REST API. The key is kept in the memory of this page alone.

const ROOT = "../api/ext-v1/";
/** A stream that is silent for so long is lost: heartbeats come every 10 seconds. */
const SILENCE = 20_000;

/** An error that the person can act on. */
export class ApiError extends Error {
  isExpected = true;

  constructor(status, { error, reason = "", requestId = "" }) {
    super(requestId && status >= 500 ? `${error} (request ${requestId})` : error);
    this.status = status;
    this.reason = reason;
  }
}

export class Api {
  #key;
  #onRejected;

  /** `onRejected` is called when the service does not accept the key. */
  constructor(key, onRejected) {
    this.#key = key;
    this.#onRejected = onRejected;
  }

  /** A GET. Returns the body. */
  async get(path, query = {}) {
    const response = await this.#send(`${path}?${new URLSearchParams(query)}`, {});
    return JSON.parse(await response.text(), exactly);
  }

  /** A POST that changes nothing. Returns the body. */
  async post(path, body) {
    const response = await this.#post(path, body);
    return response.json();
  }

  /** A change. `key` makes it safe to send again, and is the id of the request in the history. */
  async write(path, body, key) {
    const response = await this.#post(path, body, { "idempotency-key": key, "x-request-id": key });
    return { body: await response.json(), revision: BigInt(response.headers.get("x-revision") ?? 0) };
  }

  /** Follows changes: `onEvent(name, data)` is called for each event. Returns when the stream has ended. */
  async follow(query, signal, onEvent) {
    const silence = new AbortController();
    const path = `changes?${new URLSearchParams(query)}`;
    let timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const response = await this.#send(path, {
        headers: { accept: "text/event-stream" },
        signal: AbortSignal.any([signal, silence.signal]),
      });
      for await (const { name, data } of events(response.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE);
        onEvent(name, data);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #post(path, body, headers = {}) {
    return this.#send(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  }

  async #send(path, { headers = {}, ...options }) {
    // A header cannot carry other characters, so they cannot be part of a key.
    if (!/^[\x21-\x7e]+$/.test(this.#key)) throw new ApiError(401, { error: "This is not an API key" });
    let response;
    try {
      response = await fetch(ROOT + path, {
        ...options,
        headers: { ...headers, "x-api-key": this.#key },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { error: "The service cannot be reached. Check the connection, then try again." });
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const error = new ApiError(response.status, { error: `The service answered HTTP ${response.status}`, ...problem });
    if (response.status === 401) this.#onRejected(error);
    throw error;
  }
}

/** The events of a stream (HTML Living Standard, 9.2), as the service writes them. */
async function* events(body) {
  let rest = "";
  for await (const text of texts(body)) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.has("data")) yield { name: fields.get("event"), data: JSON.parse(fields.get("data")) };
    }
  }
}

async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Keeps a number of somebody's JSON as it is written, if JavaScript would write it differently. */
function exactly(_name, value, context) {
  const isExact = typeof value !== "number" || !context || !JSON.rawJSON || String(value) === context.source;
  return isExact ? value : JSON.rawJSON(context.source);
}

/** A new id for a call that changes something. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
