/** Types of palaver.js. Messages have the fields that they have on the wire. */

export declare const VERSION: string;

export type Capability = "sentence" | "emotion" | "action" | "heard";
export type Priority = "player" | "scene" | "ambient" | "background";
export type FeedbackKind = "skip" | "like" | "dislike" | "report";
export type Status = "connected" | "reconnecting" | "reset" | "closed";
/** Plain data, as JSON has it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Facts = { [name: string]: Json };

export interface ConnectOptions {
  /** The running game or shard under which NPCs, players, facts and memory live. */
  game?: string;
  /** Memory branch to go on with; otherwise the game's last one. */
  save?: string;
  /** Where the server asks for one. */
  token?: string;
  /** Who connects, for the server's log. */
  clientName?: string;
  clientVersion?: string;
  /** The engine and its version. */
  engine?: string;
  /** What to receive or promise: with `heard`, a reply is remembered only after `Turn.heard`. */
  capabilities?: Iterable<Capability | (string & {})>;
  /** Whether to connect again after a cut. The first connection is tried once. */
  reconnect?: boolean;
  /** Limit of connecting and of every call but reading a turn; 10,000. */
  timeoutMs?: number;
  /** Longest silence of a turn, or null for no limit; 120,000. */
  turnTimeoutMs?: number | null;
  /** Silence after which the client pings; 15,000. The server closes after 60,000. */
  pingMs?: number;
  /** Time for the answer to a ping; 10,000. Then the connection counts as dead. */
  pongMs?: number;
  /** The n-th attempt to connect comes after 0 to min(retryCapMs, retryMs * 2 ** n); 250. */
  retryMs?: number;
  /** 10,000. */
  retryCapMs?: number;
  /** Instead of the global one, which Node has from version 22 on. */
  WebSocket?: new (url: string, protocol: string) => any;
  /** Called when the connection changes, with the reason in words. */
  onStatus?: ((status: Status, reason: string) => void) | null;
  /** Called with what went wrong and concerns no call; null for silence, otherwise console.warn. */
  warn?: ((text: string) => void) | null;
}

export interface TurnOptions {
  /** The player who speaks or is spoken to. */
  player?: string;
  /** The NPC that said it, instead of a player. */
  speaker?: string;
  /** Ids of those who also hear and remember it, at most 32. */
  audience?: Iterable<string>;
  /** Language of the reply; otherwise the player's. */
  lang?: string;
  /** `player` for `say`, `scene` for `cue`. */
  priority?: Priority;
  /** A shorter limit for the first words than the tier's. */
  firstTextMs?: number;
  /** For repeatable replies. */
  seed?: number;
  /** Id of the turn, unique in the session; otherwise one is made up. */
  turn?: string;
}

export interface ActionSpec {
  name: string;
  description?: string;
  /** JSON Schema of an object, without `$ref` and `pattern`. */
  args?: { [keyword: string]: Json };
  /** What comes after the action is held until `Turn.actionResult`. */
  confirm?: boolean;
  confirm_ms?: number;
}

export interface LimitsInfo {
  message_bytes: number;
  turns: number;
  queue: number;
  resume_ms: number;
  silence_ms: number;
  messages_per_s: number;
}

export interface SessionReady {
  type: "session.ready" | "session.reset";
  /** Keep it secret. */
  session: string;
  protocol: number;
  server: { name: string; version: string };
  /** Those of the client's that are granted. */
  capabilities: string[];
  limits: LimitsInfo;
}

export interface TurnDelta {
  type: "turn.delta";
  turn: string;
  seq: number;
  text: string;
}

export interface TurnSentence {
  type: "turn.sentence";
  turn: string;
  seq: number;
  index: number;
  /** Offset in the whole text, in code points: `Array.from(text)` counts them. */
  start: number;
  text: string;
}

export interface TurnEmotion {
  type: "turn.emotion";
  turn: string;
  seq: number;
  name: string;
  /** 0 to 1. */
  intensity: number;
}

export interface TurnAction {
  type: "turn.action";
  turn: string;
  seq: number;
  call: string;
  name: string;
  args: { [name: string]: Json };
}

export interface TrailEntry {
  backend: string;
  outcome: "served" | "failed" | "late" | "refused" | "objected" | "lost" | "died" | "skipped";
  at_ms: number;
  reason?: string | null;
  begun_ms?: number | null;
  first_ms?: number | null;
  cost_usd?: number | null;
  prompt_tokens?: number | null;
  completion_tokens?: number | null;
  server?: string | null;
}

export interface TurnDone {
  type: "turn.done";
  turn: string;
  seq: number;
  status: "completed" | "truncated" | "cancelled" | "rescued";
  text: string;
  served_by: { backend: string; type: string; model: string | null; adapter: string | null };
  trail: TrailEntry[];
  usage: { prompt_tokens: number; completion_tokens: number; cost_usd: number };
  ttft_ms: number | null;
  total_ms: number;
  cached: boolean;
}

export type TurnEvent = TurnDelta | TurnSentence | TurnEmotion | TurnAction | TurnDone;

/** What the server refuses. */
export declare class ServerError extends Error {
  /** One of the protocol's error codes, or `connection_lost`. */
  readonly code: string;
  /** The turn that was not accepted. */
  readonly turn: string | null;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
}

/** The server did not answer in time, or the session is over. */
export declare class ConnectionLost extends ServerError {}

/**
 * Open a session.
 *
 * @param url Address of the server, `ws://` or `wss://`; without a path `/v1` is meant. By default
 *   `ws://127.0.0.1:8765`.
 * @throws {ServerError} The server refuses.
 * @throws {ConnectionLost} It cannot be reached in time.
 */
export declare function connect(url?: string, options?: ConnectOptions): Promise<Client>;

/**
 * A session; made by `connect`. Every call waits until the server has handled it.
 *
 * All calls throw `ServerError` where the server refuses, `ConnectionLost` where nothing was
 * confirmed within `timeoutMs` or the session is over, and `TypeError` for an unknown option.
 */
export declare class Client {
  private constructor();
  readonly ready: SessionReady;
  readonly isConnected: boolean;
  close(): Promise<void>;
  upsertNpc(
    npc: string,
    fields: { persona: string; tier?: string; zone?: string; facts?: Facts },
  ): Promise<void>;
  removeNpc(npc: string): Promise<void>;
  upsertPlayer(
    player: string,
    fields?: { name?: string; zone?: string; lang?: string; facts?: Facts },
  ): Promise<void>;
  updateFacts(
    set?: Facts,
    whose?: { npc?: string; player?: string; unset?: Iterable<string> },
  ): Promise<void>;
  setActions(actions: Iterable<ActionSpec>, whose?: { npc?: string }): Promise<void>;
  markSave(save: string): Promise<void>;
  /** Milliseconds to the server and back; all calls before are then handled. */
  ping(): Promise<number>;
  say(npc: string, text: string, options?: TurnOptions): Promise<Turn>;
  cue(npc: string, cue: string, options?: TurnOptions): Promise<Turn>;
  /** Send any other message but those of the session, with its fields as they are on the wire. */
  tell(type: string, fields?: { [field: string]: Json | undefined }): Promise<void>;
}

/** What an NPC says and does in answer; iterate over it, or wait for `done` or `text`. */
export declare class Turn implements AsyncIterableIterator<TurnEvent> {
  private constructor();
  readonly id: string;
  readonly npc: string;
  readonly tier: string | null;
  readonly isOver: boolean;
  [Symbol.asyncIterator](): this;
  next(): Promise<IteratorResult<TurnEvent, undefined>>;
  done(): Promise<TurnDone>;
  text(): Promise<string>;
  /** Stop the NPC; `heard` is the beginning of the text that was really shown or spoken. */
  cancel(heard?: string): Promise<void>;
  heard(): Promise<void>;
  feedback(kind: FeedbackKind, note?: string): Promise<void>;
  actionResult(call: string, ok: boolean, message?: string): Promise<void>;
}
