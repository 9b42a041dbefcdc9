/**
 * The JavaScript client of Palaver, for browsers and Node: one module, no dependencies.
 *
 *     const client = await connect("ws://127.0.0.1:8765");
 *     await client.upsertNpc("vlad", { persona: "vampire" });
 *     const turn = await client.say("vlad", "Good evening.", { player: "ada" });
 *     for await (const event of turn) {
 *       if (event.type === "turn.delta") show(event.text);
 *     }
 *
 * A cut is no error: the client connects again, resumes its session and goes on where it was. Only
 * what cannot be mended reaches the caller, as `ServerError` or `ConnectionLost`. Options are in
 * camelCase; messages keep the names that they have on the wire. Types are in palaver.d.ts.
 *
 * Apache-2.0. The protocol: docs/reference/protocol.md.
 */

export const VERSION = "0.1.0";
const PROTOCOL = 1;
const SUBPROTOCOL = "palaver.v1";

/** Messages after which a ping is put in between, however many are waiting. */
const BATCH = 32;
/** What may wait for the server at once; a call beyond it is refused. */
const MAX_WAITING = 4096;
const MAX_WAITING_CHARS = 16_000_000;
/** Unread events of a turn after which further text is added to the last one, and most of them. */
const MERGE_AFTER = 256;
const MAX_EVENTS = 20_000;
/** Far above what the protocol allows; only bounds on what a broken server can make us hold. */
const MAX_MESSAGE_CHARS = 1_000_000;
const MAX_TURN_CHARS = 4_000_000;
/** While so much waits in the socket, no more is put there. */
const MAX_BUFFERED_BYTES = 1_000_000;
const BUFFER_CHECK_MS = 20;
/** A connection that lived this long starts the attempts from the beginning. */
const STABLE_MS = 5_000;
const CLOSE_MS = 2_000;
const ERROR_MS = 50;
const USUAL_LIMITS = { message_bytes: 60_000, messages_per_s: 200 };
/** Left free in a message for everything but its facts. */
const ROOM_CHARS = 1_000;

/** What `tell` sends; the session itself is opened, kept and ended by the client. */
const TOLD = new Set([
  "npc.upsert",
  "npc.remove",
  "player.upsert",
  "facts.update",
  "actions.set",
  "turn.start",
  "turn.cancel",
  "turn.heard",
  "turn.feedback",
  "action.result",
  "save.mark",
]);

const SESSION = { session: "string", server: "object", capabilities: "array", limits: "object" };
/** What a message must have: one that lacks it is ignored, as one of a type nobody knows. */
const SERVER_FIELDS = {
  "session.ready": SESSION,
  "session.resumed": { session: "string" },
  "session.reset": SESSION,
  "turn.accepted": { turn: "string", npc: "string", tier: "string" },
  "turn.delta": { turn: "string", text: "string" },
  "turn.sentence": { turn: "string", index: "number", start: "number", text: "string" },
  "turn.emotion": { turn: "string", name: "string", intensity: "number" },
  "turn.action": { turn: "string", call: "string", name: "string", args: "object" },
  "turn.done": {
    turn: "string",
    status: "string",
    text: "string",
    served_by: "object",
    trail: "array",
    usage: "object",
    total_ms: "number",
  },
  error: { code: "string", message: "string" },
  pong: {},
};

/** Close codes after which another attempt would end in the same way. */
const FATAL = {
  1008: "the server refuses this client",
  1009: "a message was larger than the server takes; send less at once",
  4400: "the server does not understand this client; use versions that fit each other",
  4401: "the server does not accept the token; give `connect` the right one",
  4409: "the session was resumed by another client; give each client a session of its own",
};

/** What the server refuses. `code` is one of the protocol's. */
export class ServerError extends Error {
  constructor(code, message, { turn = null, retryable = false } = {}) {
    super(message);
    this.name = "ServerError";
    this.code = code;
    this.turn = turn;
    this.retryable = retryable;
  }
}

/** The server did not answer in time, or the session is over. */
export class ConnectionLost extends ServerError {
  constructor(message) {
    super("connection_lost", message, { retryable: true });
    this.name = "ConnectionLost";
  }
}

/** Open a session and return its `Client`. The first connection is tried once. */
export async function connect(url = "ws://127.0.0.1:8765", options = {}) {
  const {
    game = "default",
    save,
    token,
    clientName = "palaver-javascript",
    clientVersion = VERSION,
    engine = "",
    capabilities = ["sentence", "emotion", "action"],
    reconnect = true,
    timeoutMs = 10_000,
    turnTimeoutMs = 120_000,
    pingMs = 15_000,
    pongMs = 10_000,
    retryMs = 250,
    retryCapMs = 10_000,
    WebSocket = globalThis.WebSocket,
    onStatus = null,
    warn = (text) => console.warn(`palaver: ${text}`),
    ...unknown
  } = options;
  refuseUnknown(unknown);
  if (typeof WebSocket !== "function") {
    throw new TypeError(
      "there is no WebSocket here: use Node 22, start Node 20 with --experimental-websocket, " +
        "or give `connect` one as the option WebSocket",
    );
  }
  const address = new URL(url);
  if (address.pathname === "/") address.pathname = "/v1";
  const client = { name: clientName, version: clientVersion, engine };
  const start = compact({
    type: "session.start",
    protocol: PROTOCOL,
    client,
    token,
    game,
    save,
    capabilities: [...capabilities],
  });
  const session = new Client({
    url: address.href,
    start,
    reconnect,
    timeoutMs,
    turnTimeoutMs,
    pingMs,
    pongMs,
    retryMs,
    retryCapMs,
    WebSocket,
    onStatus: guarded(onStatus),
    warn: guarded(warn),
  });
  await session.opened;
  return session;
}

/**
 * A session with a Palaver server; made by `connect`.
 *
 * Every call waits until the server has handled it, so what it refuses is thrown where it was asked
 * for. A cut in between is no error, as long as the connection is back within `timeoutMs`.
 */
export class Client {
  #target;
  #link;
  #outbox = new Outbox();
  #state = new State();
  #turns = new Map();
  #accepted = new Set();
  #over = null;
  #open;
  #prefix = hex(crypto.getRandomValues(new Uint8Array(4)));
  #count = 0;

  /** Use `connect`. */
  constructor(target) {
    this.#target = target;
    let fail;
    /** Settled when the session is there, or cannot be had. */
    this.opened = new Promise((resolve, reject) => ([this.#open, fail] = [resolve, reject]));
    this.opened.catch(() => {});
    this.#link = new Link(target, this.#outbox, {
      opened: () => this.#open(),
      turn: (message, chars) => this.#onTurn(message, chars),
      error: (message) => this.#onError(message),
      reset: (messageBytes) => this.#onReset(messageBytes),
      lost: (error) => {
        fail(error);
        this.#end(error);
      },
    });
    this.#link.dial();
  }

  /** What the server said when it opened the session: id, version, capabilities, limits. */
  get ready() {
    return this.#link.ready;
  }

  /** Whether there is a connection at this moment. */
  get isConnected() {
    return this.#link.isConnected;
  }

  /** End the session. Open turns end with `ConnectionLost`. Safe to call twice. */
  async close() {
    this.#end(new ConnectionLost("the client was closed"));
    await this.#link.close();
  }

  /** Create or change an NPC. */
  async upsertNpc(npc, { persona, tier, zone, facts, ...unknown } = {}) {
    refuseUnknown(unknown);
    await this.tell("npc.upsert", { npc, persona, tier, zone, facts });
  }

  /** Remove an NPC; its memory stays. */
  async removeNpc(npc) {
    await this.tell("npc.remove", { npc });
  }

  /** Create or change a player. */
  async upsertPlayer(player, { name, zone, lang, facts, ...unknown } = {}) {
    refuseUnknown(unknown);
    await this.tell("player.upsert", { player, name, zone, lang, facts });
  }

  /** Change facts of an NPC, of a player, or (with neither) of the game. */
  async updateFacts(set = {}, { npc, player, unset = [], ...unknown } = {}) {
    refuseUnknown(unknown);
    await this.tell("facts.update", { npc, player, set, unset: [...unset] });
  }

  /** Declare what the engine can carry out; replaces what was declared before. */
  async setActions(actions, { npc, ...unknown } = {}) {
    refuseUnknown(unknown);
    await this.tell("actions.set", { npc, actions: [...actions] });
  }

  /** Let memory belong to this branch from here on. */
  async markSave(save) {
    await this.tell("save.mark", { save });
  }

  /** Return the milliseconds to the server and back; all calls before are then handled. */
  async ping() {
    const began = now();
    await this.#ask(null);
    return now() - began;
  }

  /** Say something to an NPC; resolves to a `Turn` when it is accepted. */
  async say(npc, text, options = {}) {
    return this.#start({ npc, text }, options);
  }

  /** Tell an NPC what happened, so that it speaks; resolves to a `Turn` when it is accepted. */
  async cue(npc, cue, options = {}) {
    return this.#start({ npc, cue }, { priority: "scene", ...options });
  }

  /** Send any other message of the protocol, and wait until it is handled. */
  async tell(type, fields = {}) {
    if (!TOLD.has(type)) throw new TypeError(`${type} is no message that a client tells`);
    await this.#ask(compact({ ...fields, type }), { turn: fields.turn ?? null });
  }

  async #start(message, options) {
    const {
      player,
      speaker,
      audience,
      lang,
      priority,
      firstTextMs,
      seed,
      turn = `${this.#prefix}-${++this.#count}`,
      ...unknown
    } = options;
    refuseUnknown(unknown);
    if (this.#turns.has(turn)) {
      throw new ServerError("duplicate_turn", `turn ${turn} is still running`, { turn });
    }
    const made = new Turn(this, turn, message.npc, this.#target.turnTimeoutMs);
    this.#turns.set(turn, made);
    try {
      await this.#ask(
        compact({
          type: "turn.start",
          turn,
          ...message,
          player,
          speaker,
          lang,
          priority,
          seed,
          audience: audience && [...audience],
          first_text_ms: firstTextMs,
        }),
        { turn, startsTurn: true },
      );
    } catch (error) {
      this.#forget(turn);
      throw error;
    }
    return made;
  }

  /** Send a message and wait until the server has handled it, within `timeoutMs`. */
  #ask(message, { turn = null, startsTurn = false } = {}) {
    if (this.#over) throw this.#over;
    const note = turn === null ? (handled) => this.#note(handled) : null;
    const request = this.#outbox.request(message, { note, turn, startsTurn });
    const limit = this.#link.limits.message_bytes;
    if (request.frame.length > limit) {
      throw new ServerError(
        "too_large",
        `the message has ${request.frame.length} bytes, but the server takes at most ${limit}; ` +
          "send less at once",
        { turn },
      );
    }
    this.#outbox.put(request);
    this.#link.pump();
    const { timeoutMs } = this.#target;
    const timer = setTimeout(() => {
      if (!this.#outbox.withdraw(request) && startsTurn) {
        // The server may have begun already; nobody will listen.
        this.#abandon(turn);
      }
      const reason = this.#link.problem?.message ?? "the server did not confirm it";
      request.fail(new ConnectionLost(`not handled within ${timeoutMs} ms: ${reason}`));
    }, timeoutMs);
    return request.done.finally(() => clearTimeout(timer));
  }

  /** Keep what a new session would have to be told. */
  #note(message) {
    if (message.type === "save.mark") this.#link.save = message.save;
    else this.#state.note(message);
  }

  #abandon(turn) {
    const cancel = this.#outbox.request({ type: "turn.cancel", turn, heard: "" }, { turn });
    // Whatever waits: without it the server would go on for nobody.
    this.#outbox.put(cancel, { always: true });
    this.#link.pump();
  }

  #forget(turn) {
    this.#turns.delete(turn);
    this.#accepted.delete(turn);
  }

  #onTurn(message, chars) {
    const turn = this.#turns.get(message.turn);
    if (turn === undefined) return;
    turn[RECEIVE](message, chars);
    if (message.type === "turn.accepted") {
      this.#accepted.add(turn.id);
      this.#outbox.accepted(turn.id);
    } else if (message.type === "turn.done") {
      // A turn that was over before we heard of its acceptance was accepted all the same.
      this.#outbox.accepted(turn.id);
      this.#forget(turn.id);
    }
  }

  #onError(message) {
    const error = serverError(message);
    if (!this.#outbox.refused(error, message.re)) {
      this.#target.warn(`the server says ${error.code}: ${error.message}`);
    }
  }

  #onReset(messageBytes) {
    for (const name of this.#accepted) {
      this.#turns
        .get(name)
        ?.[FAIL](
          new ConnectionLost(
            `turn ${name} was lost with its session; say it again if it still matters`,
          ),
        );
      this.#turns.delete(name);
    }
    this.#accepted.clear();
    this.#outbox.reset(this.#state.messages(messageBytes), (turn) => !this.#turns.has(turn));
  }

  #end(error) {
    if (this.#over) return;
    this.#over = error;
    this.#outbox.fail(error);
    for (const turn of this.#turns.values()) turn[FAIL](error);
    this.#turns.clear();
    this.#accepted.clear();
    this.#target.onStatus("closed", error.message);
  }
}

const RECEIVE = Symbol("receive");
const FAIL = Symbol("fail");

/**
 * One turn: what an NPC says and does in answer to an utterance or a cue.
 *
 * Iterating yields the messages of the turn as they come and ends after `turn.done`. Leaving the
 * loop early does not stop the NPC: `cancel` does. Whoever reads slowly loses nothing: after 256
 * unread events, text is joined to the text before it.
 */
export class Turn {
  #client;
  #timeoutMs;
  #events = [];
  #chars = 0;
  #result = null;
  #error = null;
  #waiters = new Set();

  /** Made by `say` and `cue` of a client. */
  constructor(client, id, npc, timeoutMs) {
    this.id = id;
    this.npc = npc;
    /** The policy it runs under, once it is accepted. */
    this.tier = null;
    this.#client = client;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether the reply has ended, one way or the other; events may still be unread. */
  get isOver() {
    return this.#result !== null || this.#error !== null;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** Return the next event, as iterators do. */
  async next() {
    while (this.#events.length === 0) {
      if (this.#error) throw this.#error;
      if (this.#result) return { done: true, value: undefined };
      await this.#change();
    }
    return { done: false, value: this.#events.shift() };
  }

  /** Wait for the end and return `turn.done`: the whole text, who spoke, the trail, the cost. */
  async done() {
    while (this.#result === null) {
      if (this.#error) throw this.#error;
      await this.#change();
    }
    return this.#result;
  }

  /** Wait for the end and return everything that was said. */
  async text() {
    return (await this.done()).text;
  }

  /** Stop the NPC; only `heard`, the beginning that was really shown or spoken, is remembered. */
  async cancel(heard) {
    await this.#client.tell("turn.cancel", { turn: this.id, heard });
  }

  /** Say that the reply was heard to its end; for clients with the capability `heard`. */
  async heard() {
    await this.#client.tell("turn.heard", { turn: this.id });
  }

  /** Say what the player thinks of the reply: `skip`, `like`, `dislike` or `report`. */
  async feedback(kind, note) {
    await this.#client.tell("turn.feedback", { turn: this.id, kind, note });
  }

  /** Accept or refuse an action, before it is carried out. */
  async actionResult(call, ok, message) {
    await this.#client.tell("action.result", { turn: this.id, call, ok, message });
  }

  /** Wait for something to happen to this turn, at most so long as a turn may be silent. */
  #change() {
    return new Promise((resolve, reject) => {
      const waiter = { resolve, timer: null };
      this.#waiters.add(waiter);
      if (this.#timeoutMs === null) return;
      waiter.timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(
          new ConnectionLost(
            `no word about turn ${this.id} for ${this.#timeoutMs} ms; cancel it, or give ` +
              "`connect` a longer turnTimeoutMs",
          ),
        );
      }, this.#timeoutMs);
    });
  }

  #wake() {
    for (const { resolve, timer } of this.#waiters) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiters.clear();
  }

  [RECEIVE](event, chars) {
    if (this.isOver) return;
    this.#chars += chars;
    if (event.type === "turn.accepted") {
      this.tier = event.tier;
    } else if (this.#events.length >= MAX_EVENTS || this.#chars > MAX_TURN_CHARS) {
      this[FAIL](new ServerError("internal", `turn ${this.id} has no end`, { turn: this.id }));
    } else {
      if (event.type === "turn.done") this.#result = event;
      this.#append(event);
    }
    this.#wake();
  }

  #append(event) {
    const last = this.#events.length < MERGE_AFTER ? null : this.#events.at(-1);
    if (last?.type === "turn.delta" && event.type === "turn.delta") {
      this.#events[this.#events.length - 1] = { ...event, text: last.text + event.text };
    } else {
      this.#events.push(event);
    }
  }

  [FAIL](error) {
    if (this.isOver) return;
    this.#error = error;
    this.#wake();
  }
}

/**
 * What the client has to send, and what of it the server has surely handled.
 *
 * The protocol has no receipts. But a server handles the messages of a connection in order, so a
 * `pong` says that everything before its `ping` was handled, and that no error about it is still
 * to come. So a ping goes behind every batch, and what is not yet confirmed is kept, to be sent
 * again after a cut: all messages may be repeated without harm.
 */
class Outbox {
  #restore = [];
  #waiting = [];
  #sent = new Map();
  #turns = new Map();
  #barriers = [];
  #numbers = 0;
  #nonces = 0;
  #highest = -Infinity;
  #sincePing = 0;
  #restoring = 0;
  #count = 0;
  #chars = 0;

  /** Make a request; `put` sends it. A message of null only waits for those before it. */
  request(message, { note = null, turn = null, startsTurn = false, number = null } = {}) {
    const at = number ?? ++this.#numbers;
    const frame = message === null ? "" : encode({ ...message, id: `m${at}` });
    const request = { number: at, id: `m${at}`, frame, turn, startsTurn };
    request.done = new Promise((resolve, reject) => {
      request.confirm = () => {
        // As it was sent: the caller may have changed its objects since.
        if (note !== null && frame) note(JSON.parse(frame));
        resolve();
      };
      request.fail = reject;
    });
    // Whoever waited may have run out of time; then nobody asks for the error.
    request.done.catch(() => {});
    return request;
  }

  /** Send a request when its turn comes. */
  put(request, { always = false } = {}) {
    const isFull = this.#count >= MAX_WAITING;
    const chars = this.#chars + request.frame.length;
    if (!always && (isFull || chars > MAX_WAITING_CHARS)) {
      throw new ServerError(
        "overloaded",
        `${this.#count} calls wait for the server already; await some of them first`,
        { turn: request.turn, retryable: true },
      );
    }
    this.#count += 1;
    this.#chars = chars;
    request.isCounted = true;
    this.#waiting.push(request);
  }

  /** It is kept no longer. */
  #release(request) {
    if (!request.isCounted) return;
    request.isCounted = false;
    this.#count -= 1;
    this.#chars -= request.frame.length;
  }

  /** Take a request back whose caller gave up; return whether it had not been sent yet. */
  withdraw(request) {
    const at = this.#waiting.indexOf(request);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      this.#release(request);
      return true;
    }
    // It is on its way: what came of it is still noted, but nobody waits for it.
    if (request.startsTurn) {
      this.#turns.delete(request.turn);
      this.#sent.delete(request.id);
      this.#release(request);
    }
    return false;
  }

  /** Return the next frame to send, or null if there is nothing. */
  next() {
    while (this.#sincePing < BATCH) {
      const request =
        this.#restore.shift() ?? (this.#restoring ? undefined : this.#waiting.shift());
      if (request === undefined) break;
      this.#sent.set(request.id, request);
      this.#highest = Math.max(this.#highest, request.number);
      if (request.startsTurn) this.#turns.set(request.turn, request);
      this.#sincePing += 1;
      if (request.frame) return request.frame;
    }
    return this.#sincePing ? this.ping() : null;
  }

  /** Return a ping that confirms everything sent before it. */
  ping() {
    this.#nonces += 1;
    this.#sincePing = 0;
    this.#barriers.push([this.#nonces, this.#highest]);
    // A server that never answers must not fill our memory; a later one confirms the same.
    if (this.#barriers.length > MAX_WAITING) this.#barriers.shift();
    return encode({ type: "ping", nonce: `b${this.#nonces}` });
  }

  /** Confirm everything that was sent before this ping. */
  pong(nonce) {
    const number = /^b(\d{1,15})$/.exec(nonce ?? "")?.[1];
    if (number === undefined) return;
    let highest = null;
    while (this.#barriers.length && this.#barriers[0][0] <= Number(number)) {
      highest = this.#barriers.shift()[1];
    }
    if (highest === null) return;
    for (const request of [...this.#sent.values()]) {
      if (request.number <= highest && !request.startsTurn) this.#settle(request, null);
    }
  }

  /** Confirm the request that started a turn. */
  accepted(turn) {
    const request = this.#turns.get(turn);
    if (request !== undefined) this.#settle(request, null);
  }

  /** Fail the request an error is about; return whether there is one. */
  refused(error, re) {
    const request = this.#sent.get(re) ?? this.#turns.get(error.turn);
    if (request === undefined) return false;
    this.#settle(request, error);
    return true;
  }

  #settle(request, error) {
    this.#release(request);
    this.#sent.delete(request.id);
    if (request.startsTurn) this.#turns.delete(request.turn);
    if (error === null) request.confirm();
    else request.fail(error);
    if (request.number <= 0) this.#restoring -= 1;
  }

  /** Send again what may have been lost: a new connection goes on with the session. */
  reconnected() {
    const again = [...this.#sent.values()].sort((one, other) => one.number - other.number);
    // Requests that restore a reset session have numbers up to 0 and go first.
    this.#restore.unshift(...again.filter((request) => request.number <= 0));
    this.#waiting.unshift(...again.filter((request) => request.number > 0));
    this.#sent.clear();
    this.#turns.clear();
    this.#barriers = [];
    this.#sincePing = 0;
    this.#highest = -Infinity;
  }

  /** Begin a new session: first its state, then what was not yet confirmed. */
  reset(state, isLost) {
    this.#restore = [];
    for (const [id, request] of this.#sent) if (request.number <= 0) this.#sent.delete(id);
    this.reconnected();
    this.#waiting = this.#waiting.filter((request) => {
      const lost = request.turn !== null && !request.startsTurn && isLost(request.turn);
      // Its turn has ended with an error of its own; there is nothing left to say of it.
      if (lost) {
        this.#release(request);
        request.confirm();
      }
      return !lost;
    });
    const messages = [...state];
    this.#restoring = messages.length;
    this.#restore = messages.map((message, place) =>
      this.request(message, { number: place - messages.length + 1 }),
    );
  }

  /** Fail everything: the client is over. */
  fail(error) {
    for (const one of [...this.#sent.values(), ...this.#restore, ...this.#waiting]) {
      this.#release(one);
      one.fail(error);
    }
    this.#sent.clear();
    this.#turns.clear();
    this.#restore = [];
    this.#waiting = [];
  }
}

/** What the server was told of the game, to tell it again to a new session. */
class State {
  #upserts = new Map();
  #facts = new Map();
  #actions = new Map();

  /** Take in a message that the server has handled. */
  note(message) {
    const { id: _, facts, ...rest } = message;
    switch (message.type) {
      case "npc.upsert":
      case "player.upsert": {
        const key = target(message);
        this.#upserts.set(key, { ...this.#upserts.get(key), ...rest });
        this.#merge(key, facts ?? {}, []);
        break;
      }
      case "npc.remove": {
        const key = target(message);
        this.#upserts.delete(key);
        this.#facts.delete(key);
        this.#actions.delete(key);
        break;
      }
      case "facts.update":
        this.#merge(target(message), message.set ?? {}, message.unset ?? []);
        break;
      case "actions.set":
        this.#actions.set(target(message), rest);
        break;
    }
  }

  #merge(key, set, unset) {
    // As the server does it: first what goes, then what comes.
    const facts = this.#facts.get(key) ?? new Map();
    for (const name of unset) facts.delete(name);
    for (const [name, value] of Object.entries(set)) facts.set(name, value);
    this.#facts.set(key, facts);
  }

  /** Yield what a new session has to be told, in an order in which it can be understood. */
  *messages(messageBytes) {
    yield* this.#upserts.values();
    for (const [key, facts] of this.#facts) {
      const [what, id] = JSON.parse(key);
      const whose = what === "game" ? {} : { [what]: id };
      let part = [];
      let size = 0;
      const update = () => ({ type: "facts.update", ...whose, set: Object.fromEntries(part) });
      for (const fact of facts) {
        const chars = encode(fact).length;
        if (part.length && size + chars > messageBytes - ROOM_CHARS) {
          yield update();
          [part, size] = [[], 0];
        }
        part.push(fact);
        size += chars;
      }
      if (part.length) yield update();
    }
    yield* this.#actions.values();
  }
}

/** Keeps one session connected: dials, greets, reads, writes, and begins again after a cut. */
class Link {
  ready = null;
  isConnected = false;
  /** Why there is no connection, or null. */
  problem = null;
  save;
  #target;
  #outbox;
  #receiver;
  #socket = null;
  #closing = null;
  #lastSeq = 0;
  #attempt = 0;
  #since = 0;
  #timers = new Map();
  #credit = 0;
  #creditAt = 0;
  #saidAt = 0;
  #heardAt = 0;
  #pingAt = null;

  constructor(target, outbox, receiver) {
    this.#target = target;
    this.#outbox = outbox;
    this.#receiver = receiver;
    this.save = target.start.save;
  }

  /** The limits of the session, or the usual ones before there is any. */
  get limits() {
    return { ...USUAL_LIMITS, ...this.ready?.limits };
  }

  /** Try to connect, and stay connected until there is no hope. */
  dial() {
    const { url, timeoutMs, WebSocket } = this.#target;
    this.#since = now();
    let socket;
    try {
      socket = new WebSocket(url, SUBPROTOCOL);
    } catch (error) {
      // Later, as every other failure: whoever made the client has to have it first.
      const reason = `cannot connect to ${url}: ${error.message}`;
      this.#after("dial", 0, () => this.#ended(new ConnectionLost(reason), true));
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const current = (act) => (event) => {
      if (this.#socket === socket) act(event);
    };
    socket.onopen = current(() => this.#greet(socket));
    socket.onmessage = current(({ data }) => this.#receive(data));
    socket.onclose = current((event) => this.#closed(event));
    // A close follows and says more, but for some sockets that were never open (Node 20).
    socket.onerror = current(() =>
      this.#after("error", ERROR_MS, () => this.#closed({ code: 1006, reason: "" })),
    );
    this.#after("dial", timeoutMs, () => this.#drop(`${url} does not answer in time`));
  }

  /** End the session now, within two seconds. */
  close() {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close() {
    const socket = this.#socket;
    this.#forgetTimers();
    this.#socket = null;
    if (socket === null) return;
    const wasConnected = this.isConnected;
    this.isConnected = false;
    let timer;
    try {
      if (wasConnected) socket.send(encode({ type: "session.end" }));
      socket.close(1000);
      await new Promise((resolve) => {
        socket.onclose = resolve;
        timer = setTimeout(resolve, CLOSE_MS);
      });
    } catch {
      // It was closed already.
    } finally {
      clearTimeout(timer);
    }
  }

  #greet(socket) {
    if (socket.protocol !== SUBPROTOCOL) {
      this.#drop(`${this.#target.url} is no Palaver server`, true);
      return;
    }
    const { start } = this.#target;
    if (this.ready === null) {
      this.#put(encode(start));
      return;
    }
    const { session } = this.ready;
    // The branch it is on now goes here, not into `save.mark`, which would fork it once more.
    const resume = { type: "session.resume", session, last_seq: this.#lastSeq, save: this.save };
    this.#put(encode(compact({ ...start, ...resume })));
  }

  #answered(message) {
    switch (message?.type) {
      case "error":
        this.#drop(serverError(message), !message.retryable);
        return;
      case "session.resumed":
        this.#outbox.reconnected();
        break;
      case "session.ready":
      case "session.reset": {
        const again = this.ready !== null;
        this.ready = message;
        this.#lastSeq = 0;
        if (again) {
          const reason = message.reason ?? "a new session";
          this.#target.warn(`session reset (${reason}); telling the server everything again`);
          this.#receiver.reset(this.limits.message_bytes);
          this.#target.onStatus("reset", reason);
        } else {
          this.#outbox.reconnected();
        }
        break;
      }
      default:
        this.#drop("the server does not follow the protocol", true);
        return;
    }
    this.isConnected = true;
    this.problem = null;
    this.#credit = Math.max(1, this.limits.messages_per_s);
    this.#creditAt = now();
    this.#pingAt = null;
    this.#stop("dial");
    this.#beat();
    this.#receiver.opened();
    this.#target.onStatus("connected", message.type);
    this.pump();
  }

  #receive(data) {
    this.#heardAt = now();
    // Binary frames are for audio, which this client does not ask for.
    if (typeof data !== "string") return;
    if (data.length > MAX_MESSAGE_CHARS) {
      this.#drop(`the server sent a message of ${data.length} characters`);
      return;
    }
    const [seq, message] = this.#parse(data);
    if (!this.isConnected) {
      this.#answered(message);
    } else if (seq !== null) {
      if (seq <= this.#lastSeq) return;
      if (seq > this.#lastSeq + 1) {
        this.#drop(`the connection lost something: message ${this.#lastSeq + 1} is missing`);
        return;
      }
      // Counted even where nobody understands it: a newer server has more types.
      this.#lastSeq = seq;
      if (message !== null) this.#receiver.turn(message, data.length);
    } else if (message?.type === "pong") {
      this.#outbox.pong(message.nonce);
    } else if (message?.type === "error") {
      this.#receiver.error(message);
    }
    this.pump();
  }

  /** Return `seq` and message of a frame; null where it has none, or is not understood. */
  #parse(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#target.warn("ignored a message that is no JSON");
      return [null, null];
    }
    const type = message?.type;
    if (typeof type !== "string") return [null, null];
    const numbered = type.startsWith("turn.") && Number.isSafeInteger(message.seq);
    const seq = numbered ? message.seq : null;
    if (!Object.hasOwn(SERVER_FIELDS, type)) return [seq, null];
    for (const [name, kind] of Object.entries(SERVER_FIELDS[type])) {
      if (kindOf(message[name]) !== kind) {
        this.#target.warn(`ignored a message ${type} without a right ${name}`);
        return [seq, null];
      }
    }
    return [seq, message];
  }

  /** Send what may be sent now. */
  pump() {
    if (!this.isConnected) return;
    const perS = Math.max(1, Number(this.limits.messages_per_s) || 1);
    for (;;) {
      if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
        this.#after("pump", BUFFER_CHECK_MS, () => this.pump());
        return;
      }
      // It keeps to the rate that the server allows, so that the server need not refuse anything.
      const time = now();
      this.#credit = Math.min(perS, this.#credit + ((time - this.#creditAt) * perS) / 1000);
      this.#creditAt = time;
      if (this.#credit < 1) {
        this.#after("pump", ((1 - this.#credit) / perS) * 1000, () => this.pump());
        return;
      }
      const frame = this.#outbox.next();
      if (frame === null) return;
      this.#credit -= 1;
      this.#put(frame);
    }
  }

  #put(frame) {
    this.#saidAt = now();
    this.#socket.send(frame);
  }

  /** Ping where nothing was said for long; where nothing is heard after it, the line is dead. */
  #beat() {
    const { pingMs, pongMs } = this.#target;
    const time = now();
    if (this.#pingAt !== null && this.#heardAt >= this.#pingAt) this.#pingAt = null;
    let due = this.#saidAt + pingMs;
    if (this.#pingAt !== null) {
      due = this.#pingAt + pongMs;
      if (time >= due) {
        this.#drop("the server is silent");
        return;
      }
    } else if (time >= due) {
      this.#put(this.#outbox.ping());
      this.#pingAt = this.#saidAt;
      due = time + Math.min(pingMs, pongMs);
    }
    this.#after("beat", Math.max(1, due - time), () => this.#beat());
  }

  #closed({ code, reason }) {
    const said = reason ? ` (${reason})` : "";
    if (Object.hasOwn(FATAL, code)) {
      this.#drop(`${FATAL[code]}${said}`, true);
    } else if (this.isConnected || code !== 1006) {
      this.#drop(`the connection ended with ${code}${said}`);
    } else {
      this.#drop(
        `cannot reach ${this.#target.url}; start the server with \`palaver serve\`, and allow ` +
          "a web page by its origin in server.origins",
      );
    }
  }

  /** Give the connection up. */
  #drop(why, isLast = false) {
    const socket = this.#socket;
    this.#socket = null;
    try {
      socket?.close();
    } catch {
      // It was closed already.
    }
    this.#ended(typeof why === "string" ? new ConnectionLost(why) : why, isLast);
  }

  #ended(error, isLast) {
    this.#forgetTimers();
    this.isConnected = false;
    this.problem = error;
    if (this.#closing) return;
    const { reconnect, retryMs, retryCapMs } = this.#target;
    if (isLast || this.ready === null || !reconnect) {
      this.#receiver.lost(error);
      return;
    }
    // Full jitter: clients that were cut together do not come back together.
    this.#attempt = now() - this.#since > STABLE_MS ? 0 : this.#attempt + 1;
    const delayMs = Math.random() * Math.min(retryCapMs, retryMs * 2 ** this.#attempt);
    this.#after("dial", delayMs, () => this.dial());
    this.#target.onStatus("reconnecting", error.message);
  }

  #after(name, ms, act) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(act, ms));
  }

  #stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #forgetTimers() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}

/** Return a message as it is sent: one JSON object, ASCII. */
function encode(message) {
  const text = JSON.stringify(message, (_, value) => {
    const kind = typeof value;
    const isNumber = kind !== "number" || Number.isFinite(value);
    if (!isNumber || kind === "function" || kind === "symbol" || kind === "bigint") {
      throw new TypeError(`only plain data can be sent, and ${String(value)} is none`);
    }
    return value;
  });
  return text.replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Return an object without what was left out. */
function compact(fields) {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== null),
  );
}

/** Return what a message is about, as a key. */
function target(message) {
  for (const what of ["npc", "player"]) {
    if (message[what] !== undefined) return JSON.stringify([what, message[what]]);
  }
  return '["game",""]';
}

function refuseUnknown(unknown) {
  const [name] = Object.keys(unknown);
  if (name !== undefined) throw new TypeError(`there is no option ${name}`);
}

/** Return a caller's function so that its errors are its own, and not the connection's. */
function guarded(act) {
  return (...args) => {
    try {
      act?.(...args);
    } catch (error) {
      console.error("palaver: a callback failed:", error);
    }
  };
}

function serverError({ code, message, turn, retryable }) {
  return new ServerError(code, message, { turn: turn ?? null, retryable: retryable === true });
}

function kindOf(value) {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function now() {
  return performance.now();
}
