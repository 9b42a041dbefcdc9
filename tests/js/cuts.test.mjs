// The client and the real server, with a cable between them that is cut.
import assert from "node:assert/strict";
import { ConnectionLost } from "../../clients/javascript/palaver.js";
import { next, persist, ready, rest, serve, spoken, test } from "./lab.mjs";

const CUTS = 100;
const SENTENCES = 40;
/** A reply of many pieces, and unlike the others, or the server objects to a repetition. */
const story = (seed) => {
  const word = (n) => ((seed + 1) * 7_919 + n * 104_729).toString(36);
  return Array.from({ length: SENTENCES }, (_, n) => `The ${word(n)} met a ${word(n + 99)}. `);
};
const STORY = [["One. ", { gate: "cut" }, "Two. ", { gate: "back" }, "Three."]];

test("a cut in the middle of a turn loses and repeats nothing", async ({ connect }) => {
  const { server, client } = await ready(connect, { replies: STORY });
  const turn = await client.say("vlad", "Count.");
  const first = await next(turn, "turn.delta");
  await server.does("cut");
  await server.does("release", { gate: "cut" });
  await client.statuses.until("connected", 2);
  await server.does("release", { gate: "back" });
  const events = [first, ...(await rest(turn))];
  assert.equal(spoken(events), "One. Two. Three.");
  const numbers = events.map(({ seq }) => seq);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  );
  assert.equal(client.statuses.all.at(-1)[1], "session.resumed");
});

test("a cut in the middle of a frame loses nothing", async ({ connect }) => {
  const sizes = [1, 2, 130, 700, 1500];
  const replies = sizes.map(story);
  const { server, client } = await ready(connect, { replies });
  for (const [number, bytes] of sizes.entries()) {
    await server.does("cut_after", { bytes });
    const turn = await client.say("vlad", `Talk of ${number}.`);
    assert.equal(spoken(await rest(turn)), replies[number].join("").trimEnd());
  }
  assert.ok(client.statuses.count("reconnecting") >= 5);
});

test("what was told while there was no connection is told later", async ({ connect }) => {
  const { server, client } = await ready(connect);
  await server.does("refuse", { refuse: true });
  await server.does("cut");
  await client.statuses.until("reconnecting", 3);
  assert.equal(client.isConnected, false);
  const calls = [
    client.upsertNpc("mia", { persona: "zombie" }),
    client.say("mia", "Hello.", { player: "ada" }),
  ];
  await server.does("refuse", { refuse: false });
  const [, turn] = await Promise.all(calls);
  assert.equal(await turn.text(), "Good evening.");
});

test("a call that is not confirmed in time throws, and its turn is cancelled", async ({
  connect,
}) => {
  const server = await serve();
  const client = await persist(() => connect(server.url, { timeoutMs: 2_000 }));
  await persist(() => client.upsertNpc("vlad", { persona: "vampire" }));
  await server.does("hold", { hold: true });
  await assert.rejects(client.say("vlad", "Hello?"), (error) => {
    assert.ok(error instanceof ConnectionLost, error);
    assert.match(error.message, /not handled within 2000 ms/);
    return true;
  });
  await server.does("hold", { hold: false });
  await persist(() => client.ping());
});

test("a server that starts again is told everything again", async ({ connect }) => {
  const { server, client } = await ready(connect, { replies: [["One ", { gate: "never" }]] });
  await client.upsertNpc("vlad", { persona: "vampire", zone: "castle", facts: { hunger: 3 } });
  await client.updateFacts({ hunger: 9 }, { npc: "vlad" });
  await client.upsertNpc("gone", { persona: "zombie" });
  await client.removeNpc("gone");
  // More than one message can hold.
  const big = Object.fromEntries(
    Array.from({ length: 30 }, (_, n) => [`f${n}`, "x".repeat(3_500)]),
  );
  for (const [name, value] of Object.entries(big)) await client.updateFacts({ [name]: value });
  const lost = await client.say("vlad", "Wait.", { player: "ada" });
  await server.does("stop");
  await server.does("replies", { replies: [["Welcome back."]] });
  await server.does("start");
  await client.statuses.until("reset");
  await assert.rejects(lost.done(), /lost with its session/);
  const turn = await client.say("vlad", "Still hungry?", { player: "ada" });
  assert.equal(await turn.text(), "Welcome back.");
  const { prompts } = await server.does("look");
  assert.match(prompts.at(-1).join("\n"), /Hunger: 9/);
  await assert.rejects(client.say("gone", "Hi."), { code: "unknown_npc" });
});

test("a client whose session was taken over does not come back", async ({ connect }) => {
  const { server, client } = await ready(connect, { replies: [["One ", { gate: "never" }]] });
  const turn = await client.say("vlad", "Hi.");
  const socket = new WebSocket(`${server.url}/v1`, "palaver.v1");
  const { session } = client.ready;
  socket.onopen = () =>
    socket.send(JSON.stringify({ type: "session.resume", session, last_seq: 0 }));
  await assert.rejects(turn.done(), /resumed by another client/);
  socket.close();
  await assert.rejects(client.ping(), ConnectionLost);
});

test("a client that shall not reconnect ends with the cut", async ({ connect }) => {
  const { server, client } = await ready(connect, {}, { reconnect: false });
  await server.does("cut");
  await client.statuses.until("closed");
  await assert.rejects(client.ping(), ConnectionLost);
});

test("a hundred cuts lose and repeat no message", async ({ connect }) => {
  const replies = Array.from({ length: CUTS }, (_, n) => story(n));
  const { server, client } = await ready(connect, { replies });
  let cuts = 0;
  let turns = 0;
  let told = 0;
  while (cuts < CUTS) {
    const calls = [];
    for (let n = 0; n < 4; n += 1) {
      calls.push(client.updateFacts({ hunger: ++told }, { npc: "vlad" }));
    }
    const started = client.say("vlad", `Turn ${turns}`);
    if (turns % 2) await server.does("cut_after", { bytes: 1 + ((turns * 397) % 5_000) });
    else await server.does("cut");
    cuts += 1;
    const turn = await started;
    await Promise.all(calls);
    const events = await rest(turn);
    assert.equal(spoken(events), replies[turns].join("").trimEnd());
    assert.equal(events.filter(({ type }) => type === "turn.sentence").length, SENTENCES);
    turns += 1;
  }
  const { prompts, connections } = await server.does("look");
  // Every turn was asked for once, and not one session was lost on the way.
  assert.equal(prompts.length, turns);
  assert.match(prompts.at(-1).join("\n"), new RegExp(`Hunger: ${told}\\.`));
  assert.equal(client.statuses.count("reset"), 0);
  assert.ok(connections > cuts / 2, `${connections} connections`);
});
