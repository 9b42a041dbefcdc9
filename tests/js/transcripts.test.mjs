// The transcripts of tests/wire, told by the client to the real server.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { rest, serve, test } from "./lab.mjs";

const WIRE = new URL("../wire/", import.meta.url);
/** What the client does not let happen, each with a test elsewhere in this folder or in core/. */
const PREVENTED = {
  duplicate_turn: "an id is used once at a time",
  too_fast: "it keeps to the server's rate",
  start: "only close() ends a session",
  expired: "only close() ends a session",
};

/** Types of the server's messages that this client asks for. */
const KNOWN = /^(session\.\w+|error|pong|turn\.(accepted|delta|sentence|emotion|action|done))$/;

/** Read a transcript. */
function load(name) {
  const [head, ...lines] = readFileSync(new URL(name, WIRE), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  return { ...head, name: name.replace(".jsonl", ""), lines };
}

/** Whether a client of the protocol can tell this story: it sends only what is of the protocol. */
function isTold({ name, lines }) {
  const ours = lines.filter(({ dir }) => dir === "c");
  const fits = ours.every(({ msg, bad }) => msg && !bad && msg.type !== "session.resume");
  const heard = lines.every(({ dir, msg }) => dir !== "s" || !msg || KNOWN.test(msg.type));
  const opened = new Set();
  const starts = ours.every(({ conn, msg }) => {
    const first = !opened.has(conn);
    opened.add(conn);
    return first === (msg?.type === "session.start") && msg?.protocol !== 2;
  });
  return ours.length > 0 && fits && heard && starts && !Object.hasOwn(PREVENTED, name);
}

function fill(value, kept) {
  if (Array.isArray(value)) return value.map((item) => fill(item, kept));
  if (value === null || typeof value !== "object") return value;
  if ("$kept" in value) return kept[value.$kept];
  if ("$repeat" in value) return value.$repeat[0].repeat(value.$repeat[1]);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, kept)]));
}

function matches(expected, got, kept) {
  if (Array.isArray(expected)) {
    const fits = Array.isArray(got) && got.length === expected.length;
    return fits && expected.every((item, at) => matches(item, got[at], kept));
  }
  if (expected === null || typeof expected !== "object") return expected === got;
  if ("$any" in expected) {
    const kind = Array.isArray(got) ? "array" : got === null ? "null" : typeof got;
    return kind === expected.$any;
  }
  if ("$keep" in expected) {
    kept[expected.$keep] = got;
    return true;
  }
  if ("$kept" in expected) return kept[expected.$kept] === got;
  if (got === null || typeof got !== "object") return false;
  return Object.entries(expected).every(([key, item]) =>
    item?.$absent ? !(key in got) : key in got && matches(item, got[key], kept),
  );
}

/** The events of one turn, as a transcript has them: its deltas joined, the others in order. */
class Heard {
  #said = "";
  #expected = "";

  constructor(turn) {
    this.turn = turn;
  }

  async text(text) {
    this.#expected += text;
    while (this.#said.length < this.#expected.length) {
      const event = await this.#next();
      if (event.type === "turn.delta") this.#said += event.text;
      else this.waiting.push(event);
    }
    assert.ok(this.#said.startsWith(this.#expected), this.#said);
  }

  waiting = [];

  async other() {
    while (this.waiting.length === 0) {
      const event = await this.#next();
      if (event.type === "turn.delta") this.#said += event.text;
      else this.waiting.push(event);
    }
    return this.waiting.shift();
  }

  async #next() {
    const { done, value } = await this.turn.next();
    assert.ok(!done, "the turn ended before the transcript did");
    return value;
  }
}

async function say(
  client,
  { type: _, npc, text, cue, first_text_ms: firstTextMs, id: _id, ...more },
) {
  const options = firstTextMs === undefined ? more : { ...more, firstTextMs };
  return text === undefined ? client.cue(npc, cue, options) : client.say(npc, text, options);
}

const FOUND = readdirSync(WIRE)
  .filter((name) => name.endsWith(".jsonl"))
  .map(load);
const TOLD = FOUND.filter(isTold);

test("most stories can be told by the client", async () => {
  assert.ok(TOLD.length >= 13, `${TOLD.map(({ name }) => name)}`);
  for (const name of Object.keys(PREVENTED))
    assert.ok(
      FOUND.some((one) => one.name === name),
      name,
    );
});

for (const { name, about, settings, replies, lines } of TOLD) {
  test(`${name}: ${about}`, async ({ connect }) => {
    const server = await serve({ settings, replies });
    const kept = {};
    const clients = {};
    const heard = {};
    for (const [at, { dir, conn = "a", msg, release }] of lines.entries()) {
      if (dir === "t") {
        await server.does("release", { gate: release });
        continue;
      }
      if (msg === undefined) continue; // A close, of which the client has told as an error.
      const where = `${name}.jsonl:${at + 2}`;
      const client = clients[conn];
      if (dir === "s") {
        const turn = heard[`${conn} ${msg.turn}`];
        if (msg.type === "session.ready") {
          assert.ok(matches(msg, client.ready, kept), where);
        } else if (msg.type === "turn.accepted") {
          const { npc = turn.turn.npc, tier = turn.turn.tier } = msg;
          assert.ok(matches({ npc, tier }, turn.turn, kept), where);
        } else if (msg.type === "turn.delta") {
          await turn.text(msg.text);
        } else if (msg.type.startsWith("turn.")) {
          const event = await turn.other();
          assert.ok(matches(msg, event, kept), `${where}: ${JSON.stringify(event)}`);
        }
        continue;
      }
      const after = lines[at + 1];
      const error = after?.dir === "s" && after.msg?.type === "error" ? after.msg : null;
      const filled = fill(msg, kept);
      const { type, id: _, ...fields } = filled;
      const act = async () => {
        if (type === "session.start") {
          const { game, save, token, capabilities = [], client: who } = fields;
          clients[conn] = await connect(server.url, {
            game,
            save,
            token,
            capabilities,
            clientName: who.name,
          });
        } else if (type === "turn.start") {
          heard[`${conn} ${fields.turn}`] = new Heard(await say(client, filled));
        } else if (type === "ping") {
          await client.ping();
        } else {
          await client.tell(type, fields);
        }
      };
      if (error === null) {
        await act();
      } else {
        const { code, retryable } = error;
        await assert.rejects(
          act(),
          { code, ...(retryable === undefined ? {} : { retryable }) },
          where,
        );
      }
    }
    for (const { turn } of Object.values(heard)) if (turn.isOver) await rest(turn);
    for (const { statuses } of Object.values(clients)) {
      assert.equal(statuses.count("reconnecting"), 0);
    }
  });
}
