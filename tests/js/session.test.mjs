// The client and the real server, with nothing going wrong.
import assert from "node:assert/strict";
import { ConnectionLost, ServerError } from "../../clients/javascript/palaver.js";
import { next, ready, rest, serve, spoken, test } from "./lab.mjs";

const GIVE = {
  name: "give_item",
  description: "Gives something.",
  confirm: true,
  confirm_ms: 5000,
  args: { type: "object", properties: { item: { type: "string" } } },
};
const HANDED = ["Let me see. ", '<do give_item {"item": "ring"}>', "It is yours."];

test("a turn is a stream of events that ends with turn.done", async ({ connect }) => {
  const { client } = await ready(connect, { replies: [["Good ", "evening. ", "Sit down."]] });
  const turn = await client.say("vlad", "Hello.", { player: "ada" });
  const events = await rest(turn);
  assert.equal(spoken(events), "Good evening. Sit down.");
  const sentences = events.filter(({ type }) => type === "turn.sentence");
  assert.deepEqual(
    sentences.map(({ start, text }) => [start, text]),
    [
      [0, "Good evening."],
      [14, "Sit down."],
    ],
  );
  const done = events.at(-1);
  assert.equal(done.type, "turn.done");
  assert.equal(done.status, "completed");
  assert.deepEqual(await turn.done(), done);
  assert.equal(await turn.text(), "Good evening. Sit down.");
  assert.equal(turn.tier, "elite");
  assert.ok(turn.isOver);
});

test("the session says what was granted", async ({ connect }) => {
  const { url } = await serve();
  const client = await connect(url, { capabilities: ["sentence", "dance"] });
  assert.deepEqual(client.ready.capabilities, ["sentence"]);
  assert.equal(client.ready.server.name, "palaver");
  assert.ok(client.isConnected);
  assert.ok((await client.ping()) > 0);
});

test("text of every language arrives as it was sent", async ({ connect }) => {
  const said = 'Bonsoir, señor 😀 \u0000\u007f\u2028 "ça va"?';
  const { server, client } = await ready(connect, {
    replies: [["Bonsoir — “café”, ", "my naïve friend 🦇."]],
  });
  const turn = await client.say("vlad", said);
  assert.equal(await turn.text(), "Bonsoir — “café”, my naïve friend 🦇.");
  const { prompts } = await server.does("look");
  assert.ok(prompts[0].at(-1).includes("señor 😀"), prompts[0].at(-1));
});

test("what the server refuses is thrown where it was asked for", async ({ connect }) => {
  const { client } = await ready(connect);
  await assert.rejects(client.upsertNpc("mia", { persona: "vampyre" }), (error) => {
    assert.ok(error instanceof ServerError && error instanceof Error);
    assert.equal(error.code, "unknown_persona");
    assert.match(error.message, /vampire/);
    return true;
  });
  await assert.rejects(client.say("nobody", "Hi."), { code: "unknown_npc" });
  await assert.rejects(client.setActions([{ name: "a b" }]), { code: "bad_message" });
  await assert.rejects(client.tell("turn.feedback", { turn: "x", kind: "shrug" }), {
    code: "bad_message",
  });
  // One refusal in the middle concerns none of its neighbours.
  const calls = await Promise.allSettled([
    client.updateFacts({ weather: "rain" }),
    client.updateFacts({ "not a name": 1 }),
    client.updateFacts({ moon: "full" }, { npc: "vlad" }),
  ]);
  assert.deepEqual(
    calls.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
});

test("what cannot be sent is refused before it is sent", async ({ connect }) => {
  const { client } = await ready(connect);
  await assert.rejects(client.updateFacts({ a: NaN }), TypeError);
  await assert.rejects(client.updateFacts({ a: () => 1 }), TypeError);
  await assert.rejects(client.updateFacts({ a: 10n }), TypeError);
  await assert.rejects(client.tell("turn.dance"), TypeError);
  await assert.rejects(client.say("vlad", "Hi.", { plyer: "ada" }), /no option plyer/);
  await assert.rejects(client.upsertNpc("vlad", { personna: "vampire" }), /no option personna/);
  await assert.rejects(client.updateFacts({ a: "x".repeat(70_000) }), { code: "too_large" });
  await assert.rejects(client.updateFacts({ a: "ä".repeat(20_000) }), { code: "too_large" });
  assert.ok(client.isConnected);
});

test("facts, players and cues reach the model", async ({ connect }) => {
  const { server, client } = await ready(connect);
  await client.upsertPlayer("ada", { name: "Ada", lang: "en", facts: { title: "baker" } });
  await client.updateFacts({ hunger: 7 }, { npc: "vlad" });
  await (await client.cue("vlad", "The door opens.", { player: "ada" })).done();
  const { prompts } = await server.does("look");
  assert.match(prompts[0].join("\n"), /Hunger: 7[^]*The door opens\./);
  await client.updateFacts({}, { npc: "vlad", unset: ["hunger"] });
  await (await client.cue("vlad", "It closes.", { player: "ada" })).done();
  assert.match((await server.does("look")).prompts[1].join("\n"), /Hunger: 0/);
  await client.removeNpc("vlad");
  await assert.rejects(client.say("vlad", "Still there?"), { code: "unknown_npc" });
});

test("a cancelled turn ends, and only what was heard is remembered", async ({ connect }) => {
  const { server, client } = await ready(connect, {
    replies: [["Once upon a time ", { gate: "never" }, "there was more."], ["Where was I?"]],
  });
  const turn = await client.say("vlad", "Tell me a story.", { player: "ada" });
  await next(turn, "turn.delta");
  await turn.cancel("Once upon");
  assert.equal((await turn.done()).status, "cancelled");
  await turn.cancel();
  await (await client.say("vlad", "Go on.", { player: "ada" })).done();
  const { prompts } = await server.does("look");
  const asked = prompts[1].join("\n");
  assert.ok(asked.includes("Once upon"), asked);
  assert.ok(!asked.includes("Once upon a time"), asked);
});

test("a reply counts as heard when the client says so", async ({ connect }) => {
  const { server, client } = await ready(
    connect,
    { replies: [["Bats are birds."], ["Owls are not."], ["Well."]] },
    { capabilities: ["heard"] },
  );
  const first = await client.say("vlad", "Bats?", { player: "ada" });
  await first.done();
  const second = await client.say("vlad", "Owls?", { player: "ada" });
  await second.done();
  await second.heard();
  await (await client.say("vlad", "So?", { player: "ada" })).done();
  const asked = (await server.does("look")).prompts[2].join("\n");
  assert.ok(asked.includes("Owls are not."), asked);
  assert.ok(!asked.includes("Bats are birds."), asked);
});

test("an accepted action lets the line go on", async ({ connect }) => {
  const { client } = await ready(connect, { replies: [HANDED] });
  await client.setActions([GIVE]);
  const turn = await client.say("vlad", "May I have a ring?", { player: "ada" });
  const action = await next(turn, "turn.action");
  assert.deepEqual([action.name, action.args], ["give_item", { item: "ring" }]);
  await turn.actionResult(action.call, true);
  assert.equal(await turn.text(), "Let me see. It is yours.");
});

test("a refused action is never spoken of", async ({ connect }) => {
  const replies = [HANDED, ["My hands are empty."]];
  const { server, client } = await ready(connect, { replies });
  await client.setActions([GIVE], { npc: "vlad" });
  const turn = await client.say("vlad", "May I have a ring?", { player: "ada" });
  const { call } = await next(turn, "turn.action");
  await turn.actionResult(call, false, "no ring left");
  const text = await turn.text();
  assert.ok(!text.includes("yours") && text.includes("My hands are empty."), text);
  assert.match((await server.does("look")).prompts[1].join("\n"), /no ring left/);
});

test("feedback and saves are taken", async ({ connect }) => {
  const { client } = await ready(connect);
  const turn = await client.say("vlad", "Hi.", { player: "ada" });
  await turn.done();
  await turn.feedback("like", "Nice.");
  await client.markSave("before the castle");
});

test("turns run side by side, and each has its own events", async ({ connect }) => {
  const { server, client } = await ready(connect, {
    replies: [
      ["One ", { gate: "go" }, "one."],
      ["Two ", { gate: "go" }, "two."],
    ],
  });
  await client.upsertNpc("mia", { persona: "zombie" });
  const one = await client.say("vlad", "1", { player: "ada" });
  const two = await client.say("mia", "2", { player: "ada" });
  const [first, second] = [await next(one, "turn.delta"), await next(two, "turn.delta")];
  assert.deepEqual(new Set([first.text.trim(), second.text.trim()]), new Set(["One", "Two"]));
  await server.does("release", { gate: "go" });
  const texts = await Promise.all([one.text(), two.text()]);
  assert.deepEqual(texts.sort(), ["One one.", "Two two."]);
});

test("leaving the loop early does not stop the turn", async ({ connect }) => {
  const { client } = await ready(connect, { replies: [["One. ", "Two. ", "Three."]] });
  const turn = await client.say("vlad", "Count.");
  for await (const _ of turn) break;
  assert.equal(await turn.text(), "One. Two. Three.");
  assert.equal((await rest(turn)).at(-1).type, "turn.done");
});

test("a turn's id is used once at a time", async ({ connect }) => {
  const { client } = await ready(connect, { replies: [["One ", { gate: "go" }, "one."]] });
  await client.say("vlad", "1", { turn: "t1" });
  await assert.rejects(client.say("vlad", "2", { turn: "t1" }), { code: "duplicate_turn" });
});

test("thousands of calls at once are paced, and beyond a bound refused", async ({ connect }) => {
  const settings = { "limits.messages_per_s": 2_000 };
  const { client } = await ready(connect, { settings });
  const calls = Array.from({ length: 5_000 }, (_, n) => client.updateFacts({ count: n }));
  const results = await Promise.allSettled(calls);
  const refused = results.filter(({ status }) => status === "rejected");
  assert.equal(results.length - refused.length, 4_096);
  for (const { reason } of refused) assert.equal(reason.code, "overloaded");
  await client.updateFacts({ count: 0 });
  assert.equal(client.statuses.count("reconnecting"), 0);
});

test("after close everything ends with ConnectionLost", async ({ connect }) => {
  const { client } = await ready(connect, { replies: [["One ", { gate: "never" }]] });
  const turn = await client.say("vlad", "Hi.");
  const reading = rest(turn);
  reading.catch(() => {});
  await Promise.all([client.close(), client.close()]);
  await assert.rejects(reading, ConnectionLost);
  await assert.rejects(client.ping(), ConnectionLost);
  assert.equal(client.isConnected, false);
  assert.deepEqual(client.statuses.all.at(-1)[0], "closed");
});

test("a token is needed where there are tokens", async ({ connect }) => {
  const sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
  const { url } = await serve({ settings: { "server.tokens": [{ sha256, role: "engine" }] } });
  await assert.rejects(connect(url), { code: "unauthorized" });
  await assert.rejects(connect(url, { token: "wrong" }), { code: "unauthorized" });
  const client = await connect(url, { token: "test" });
  await client.upsertNpc("vlad", { persona: "vampire" });
});
