// The client and servers that do what no good one would.
import assert from "node:assert/strict";
import { connect as connectOnce, ConnectionLost } from "../../clients/javascript/palaver.js";
import { LIMITS, READY, next, peer, persist, rest, spoken, test } from "./lab.mjs";

const TURN = { $last: "turn" };
const ACCEPTED = { type: "turn.accepted", turn: TURN, seq: 1, npc: "vlad", tier: "elite" };
const delta = (seq, text) => ({ type: "turn.delta", turn: TURN, seq, text });
const done = (seq, text) => ({
  type: "turn.done",
  turn: TURN,
  seq,
  text,
  status: "completed",
  trail: [],
  cached: false,
  served_by: { backend: "b", type: "t", model: null, adapter: null },
  ttft_ms: 1,
  total_ms: 2,
  usage: { prompt_tokens: 1, completion_tokens: 1, cost_usd: 0 },
});
const sends = (...messages) => messages.map((message) => ({ send: message }));
const GREETED = [{ expect: "session.start" }, { send: READY }];
const RESUMED = [
  { expect: "session.resume" },
  { send: { type: "session.resumed", session: "s1" } },
];
const ASKED = { expect: "turn.start" };

test("unknown types, fields, kinds and garbage are ignored", async ({ connect }) => {
  const steps = [
    ...GREETED,
    ASKED,
    { raw: "{" },
    { raw: "[]" },
    { raw: "null" },
    { raw: "7" },
    { raw: '{"type": 7}' },
    { raw: '{"type": "__proto__"}' },
    { raw: '{"type": "toString", "__proto__": {"a": 1}}' },
    { binary: "00ff" },
    ...sends(
      { ...ACCEPTED, brand: { new: ["field"] } },
      { type: "weather.now", rain: true },
      { type: "turn.smell", turn: TURN, seq: 2, smell: "garlic" },
      { type: "turn.delta", turn: TURN, seq: 3 },
      delta(4, "Good evening."),
      { type: "turn.delta", turn: "somebody else's", seq: 5, text: "No." },
      { type: "pong", nonce: "b999999999999999999999" },
      { type: "pong", nonce: 7 },
      { type: "error", code: "brand_new", message: "Nothing that concerns a call." },
      done(6, "Good evening."),
    ),
  ];
  const { url } = await peer([{ steps }]);
  const client = await connect(url);
  const events = await rest(await client.say("vlad", "Hi."));
  assert.deepEqual(
    events.map(({ type, seq }) => [type, seq]),
    [
      ["turn.delta", 4],
      ["turn.done", 6],
    ],
  );
  assert.equal(client.statuses.count("reconnecting"), 0);
  assert.ok(
    client.warnings.some((text) => text.includes("brand_new")),
    client.warnings,
  );
  assert.equal({}.a, undefined);
});

test("a gap in seq is mended by resuming", async ({ connect }) => {
  const { url, got } = await peer([
    { steps: [...GREETED, ASKED, ...sends(ACCEPTED, delta(3, "lost"))] },
    { steps: [...RESUMED, ...sends({ ...delta(2, "Good "), turn: "t1" })] },
    { steps: [] },
  ]);
  const client = await connect(url);
  const turn = await client.say("vlad", "Hi.", { turn: "t1" });
  assert.equal((await next(turn, "turn.delta")).text, "Good ");
  assert.equal((await got())[1][0].last_seq, 1);
});

test("a duplicate after a resume is dropped", async ({ connect }) => {
  const t1 = (message) => ({ ...message, turn: "t1" });
  const { url } = await peer([
    { steps: [...GREETED, ASKED, ...sends(ACCEPTED, delta(2, "Good ")), { cut: true }] },
    {
      steps: [
        ...RESUMED,
        ...sends(ACCEPTED, delta(2, "Good "), delta(3, "evening."), done(4, "Good evening.")).map(
          ({ send }) => ({ send: t1(send) }),
        ),
      ],
    },
  ]);
  const client = await connect(url);
  const events = await rest(await client.say("vlad", "Hi.", { turn: "t1" }));
  assert.equal(spoken(events), "Good evening.");
});

test("what was not confirmed is sent again, in order", async ({ connect }) => {
  const { url, got } = await peer([
    { steps: [...GREETED, { expect: "facts.update" }, { cut: true }] },
    { steps: RESUMED },
  ]);
  const client = await connect(url);
  await Promise.all([1, 2, 3].map((n) => client.updateFacts({ n })));
  const [first, second] = await got();
  const told = (messages) =>
    messages.filter(({ type }) => type === "facts.update").map(({ set, id }) => [set.n, id]);
  assert.deepEqual(told(second), [
    [1, "m1"],
    [2, "m2"],
    [3, "m3"],
  ]);
  assert.deepEqual(told(first), told(second).slice(0, told(first).length));
});

test("a reset on a living server sends the state first, then what is open", async ({ connect }) => {
  const reset = { ...READY, type: "session.reset", session: "s2", reason: "too old" };
  const { url, got } = await peer([
    { steps: [...GREETED, { expect: "save.mark" }, { expect: "facts.update" }, { cut: true }] },
    {
      steps: [
        { expect: "session.resume" },
        { send: reset },
        ASKED,
        ...sends(ACCEPTED, done(2, "")),
      ],
    },
  ]);
  const client = await connect(url, { game: "shard 7", token: "t" });
  await client.upsertNpc("vlad", { persona: "vampire", facts: { hunger: 1 } });
  await client.setActions([{ name: "wave" }]);
  await client.markSave("two");
  const calls = [client.updateFacts({ moon: "full" }), client.say("vlad", "Hi.")];
  await Promise.all(calls);
  const [resume, ...after] = (await got())[1];
  assert.deepEqual(
    [resume.session, resume.game, resume.token, resume.save],
    ["s1", "shard 7", "t", "two"],
  );
  const types = after.map(({ type }) => type).filter((type) => type !== "ping");
  assert.deepEqual(types, [
    "npc.upsert",
    "facts.update",
    "actions.set",
    "facts.update",
    "turn.start",
  ]);
  assert.equal(client.ready.session, "s2");
});

test("a silent server is noticed, and left", async ({ connect }) => {
  const { url, got } = await peer([{ steps: GREETED, mute: true }, { steps: RESUMED }]);
  const client = await connect(url, { pingMs: 100, pongMs: 2_000 });
  await client.statuses.until("connected", 2);
  assert.match(client.statuses.all[1][1], /silent/);
  assert.equal((await got())[0].at(-1).type, "ping");
});

test("a client with nothing to say pings", async ({ connect }) => {
  const { url, got } = await peer([
    { steps: [...GREETED, { expect: "ping" }, { expect: "ping" }] },
  ]);
  await connect(url, { pingMs: 50 });
  while ((await got())[0].filter(({ type }) => type === "ping").length < 4);
});

for (const [code, words] of [
  [1008, /refuses/],
  [1009, /larger/],
  [4400, /versions/],
  [4401, /token/],
  [4409, /resumed/],
]) {
  test(`close code ${code} is the last word`, async ({ connect }) => {
    const { url, got } = await peer([{ steps: [...GREETED, ASKED, { close: code }] }]);
    const client = await connect(url);
    await assert.rejects(client.say("vlad", "Hi."), (error) => {
      assert.ok(error instanceof ConnectionLost);
      assert.match(error.message, words);
      return true;
    });
    assert.equal((await got()).length, 1);
  });
}

for (const code of [1000, 1001, 1011, 4408, 4413, 4429, 4999]) {
  test(`after close code ${code} the client comes back`, async ({ connect }) => {
    const { url } = await peer([
      { steps: [...GREETED, { expect: "facts.update" }, { close: code }] },
      { steps: RESUMED },
    ]);
    const client = await connect(url);
    await client.updateFacts({ a: 1 });
    assert.equal(client.statuses.count("connected"), 2);
  });
}

test("a retryable error on resuming is retried, another one is the last word", async ({
  connect,
}) => {
  const error = (code, retryable) => ({ send: { type: "error", code, message: code, retryable } });
  const { url, got } = await peer([
    { steps: [...GREETED, { expect: "facts.update" }, { cut: true }] },
    { steps: [{ expect: "session.resume" }, error("overloaded", true), { close: 4429 }] },
    { steps: [{ expect: "session.resume" }, error("unauthorized", false), { close: 4401 }] },
  ]);
  const client = await connect(url);
  await assert.rejects(client.updateFacts({ a: 1 }), { code: "unauthorized" });
  assert.equal((await got()).length, 3);
});

test("whoever is no Palaver server is told from one", async ({ connect }) => {
  const other = await peer([{ steps: [] }], { subprotocol: null });
  await assert.rejects(connect(other.url), ConnectionLost);
  const strange = await peer([{ steps: [{ send: { type: "hello" } }] }]);
  await assert.rejects(connect(strange.url), /does not follow the protocol/);
  const silent = await peer([{ steps: [], mute: true }]);
  await assert.rejects(connect(silent.url, { timeoutMs: 500 }), /does not answer in time/);
  const shut = await peer([{ steps: [{ close: 4400 }] }]);
  await assert.rejects(connect(shut.url), /versions that fit/);
});

test("an address that nobody listens at is told in words", async () => {
  await assert.rejects(connectOnce("ws://127.0.0.1:1"), (error) => {
    assert.ok(error instanceof ConnectionLost);
    assert.match(error.message, /palaver serve/);
    return true;
  });
  await assert.rejects(connectOnce("nonsense"), TypeError);
  await assert.rejects(connectOnce("ftp://127.0.0.1"), Error);
  await assert.rejects(connectOnce(undefined, { tiemoutMs: 1 }), /no option tiemoutMs/);
  await assert.rejects(connectOnce(undefined, { WebSocket: null }), /Node 22/);
});

test("a reply without end is ended by the client's own bound", async ({ connect }) => {
  const text = { $repeat: ["x", 900_000] };
  const steps = [...GREETED, ASKED, ...sends(ACCEPTED)];
  for (let seq = 2; seq < 8; seq += 1) steps.push({ send: delta(seq, text) });
  const { url } = await peer([{ steps }]);
  const client = await connect(url);
  await assert.rejects((await client.say("vlad", "Hi.")).done(), { code: "internal" });
});

test("a message too large to be of the protocol ends the connection", async ({ connect }) => {
  const { url } = await peer([
    {
      steps: [
        ...GREETED,
        { expect: "facts.update" },
        { send: { a: { $repeat: ["x", 1_100_000] } } },
      ],
    },
    { steps: RESUMED },
  ]);
  const client = await connect(url);
  await client.statuses.until("connected");
  await client.updateFacts({ a: 1 });
  await client.updateFacts({ a: 2 });
  await client.statuses.until("connected", 2);
  assert.match(client.statuses.all[1][1], /1100\d\d\d characters/);
});

test("whoever reads slowly gets whole text in fewer events", async ({ connect }) => {
  const words = Array.from({ length: 2_000 }, (_, n) => `word${n} `);
  const steps = [
    ...GREETED,
    ASKED,
    ...sends(ACCEPTED, ...words.map((text, n) => delta(n + 2, text))),
    ...sends(done(2_002, words.join(""))),
  ];
  const { url } = await peer([{ steps }]);
  const client = await connect(url);
  const turn = await client.say("vlad", "Hi.");
  await turn.done();
  const events = await rest(turn);
  assert.equal(spoken(events), words.join(""));
  assert.ok(events.length < 300, `${events.length} events`);
});

test("a server that confirms nothing does not fill the client's memory", async ({ connect }) => {
  const limits = { ...LIMITS, messages_per_s: 1e9 };
  const steps = [{ expect: "session.start" }, { send: { ...READY, limits } }];
  const { url } = await peer([{ steps, mute: true }]);
  const client = await persist(() => connect(url, { timeoutMs: 500 }));
  const calls = () => Array.from({ length: 3_000 }, (_, n) => client.updateFacts({ n }));
  const codes = new Set();
  for (let round = 0; round < 2; round += 1) {
    for (const { status, reason } of await Promise.allSettled(calls())) {
      assert.equal(status, "rejected");
      codes.add(reason.code);
    }
  }
  assert.deepEqual([...codes].sort(), ["connection_lost", "overloaded"]);
});

test("a turn of which nothing is heard ends with an error", async ({ connect }) => {
  const { url } = await peer([{ steps: [...GREETED, ASKED, ...sends(ACCEPTED)] }]);
  const client = await connect(url, { turnTimeoutMs: 100 });
  const turn = await client.say("vlad", "Hi.");
  await assert.rejects(turn.done(), /no word about turn/);
  await assert.rejects(turn.next(), /no word about turn/);
});

test("limits that make no sense do not stop the client", async ({ connect }) => {
  const limits = { ...LIMITS, messages_per_s: "many", message_bytes: "all" };
  const { url } = await peer([
    { steps: [{ expect: "session.start" }, { send: { ...READY, limits } }] },
  ]);
  const client = await connect(url);
  await client.ping();
});

test("what a listener throws is its own business", async ({ connect, t }) => {
  const { mock } = t.mock.method(console, "error", () => {});
  const { url } = await peer([{ steps: GREETED }]);
  const client = await connect(url, {
    onStatus: () => {
      throw new Error("of the listener");
    },
  });
  await client.ping();
  assert.match(mock.calls[0].arguments[1].message, /of the listener/);
});
