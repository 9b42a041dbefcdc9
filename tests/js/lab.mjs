// The lab's servers and peers as the tests see them; see jslab.py.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { ConnectionLost, connect as realConnect } from "../../clients/javascript/palaver.js";

const LAB = process.env.PALAVER_LAB;
/** Ends what hangs; nothing waits for it to pass. */
export const LIMIT_MS = 200_000;
/** A client of these tests gives up late, and comes back soon. */
const PATIENT = { timeoutMs: LIMIT_MS, turnTimeoutMs: LIMIT_MS, retryMs: 5, retryCapMs: 50 };

export const LIMITS = {
  message_bytes: 60_000,
  turns: 8,
  queue: 4,
  resume_ms: 60_000,
  silence_ms: 60_000,
  messages_per_s: 5_000,
};
export const READY = {
  type: "session.ready",
  session: "s1",
  protocol: 1,
  server: { name: "palaver", version: "0" },
  capabilities: [],
  limits: LIMITS,
};

/** A test; what is opened with `t.connect` is closed after it. */
export function test(name, act) {
  nodeTest(name, { timeout: LIMIT_MS }, async (t) => {
    const open = [];
    const connect = async (url, options = {}) => {
      const statuses = new Statuses();
      const warnings = [];
      const client = await realConnect(url, {
        ...PATIENT,
        onStatus: (status, reason) => statuses.add(status, reason),
        warn: (text) => warnings.push(text),
        ...options,
      });
      open.push(client);
      return Object.assign(client, { statuses, warnings });
    };
    try {
      await act({ connect, t });
    } finally {
      await Promise.all(open.map((client) => client.close()));
    }
  });
}

/** What a client said of its connection, to wait for. */
class Statuses {
  all = [];
  #waiting = [];

  add(status, reason) {
    this.all.push([status, reason]);
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  count(status) {
    return this.all.filter(([one]) => one === status).length;
  }

  /** Wait until the status was there so often. */
  async until(status, times = 1) {
    while (this.count(status) < times) await new Promise((wake) => this.#waiting.push(wake));
  }
}

async function post(path, body = {}) {
  const response = await fetch(`${LAB}${path}`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

/** A real server; `does` lets something happen to it, its model or its cable. */
export async function serve({ settings = {}, replies = [] } = {}) {
  const { number, url } = await post("/servers", { settings, replies });
  return { url, does: (what, body) => post(`/${number}/${what}`, body) };
}

/** A server that does what it is told, one script for each connection; the last is repeated. */
export async function peer(connections, { subprotocol = "palaver.v1" } = {}) {
  const { number, url } = await post("/peers", { connections, subprotocol });
  return { url, got: async () => (await post(`/${number}/got`)).got };
}

/** A client with an NPC, on a server of its own. */
export async function ready(connect, what = {}, options = {}) {
  const server = await serve(what);
  const client = await connect(server.url, options);
  await client.upsertNpc("vlad", { persona: "vampire" });
  return { server, client };
}

/** Try again where the machine stood still for longer than the client waits. */
export async function persist(act) {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      assert.ok(error instanceof ConnectionLost, error);
    }
  }
}

/** All that is left of a turn. */
export async function rest(turn) {
  const events = [];
  for await (const event of turn) events.push(event);
  return events;
}

/** The text of the deltas among events. */
export function spoken(events) {
  return events
    .filter(({ type }) => type === "turn.delta")
    .map(({ text }) => text)
    .join("");
}

/** Wait for the next event of a type. */
export async function next(turn, type) {
  for (;;) {
    const { done, value } = await turn.next();
    assert.ok(!done, `the turn ended before ${type}`);
    if (value.type === type) return value;
  }
}
