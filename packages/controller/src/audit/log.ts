import { createPublicKey, type KeyObject, randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  BelayError,
  errorInfo,
  isSignedBy,
  MerkleTree,
  proveConsistency,
  readCheckpoint,
  readVerifier,
  type SignedCheckpoint,
  signCheckpoint,
  verifierOf,
  writeVerifier,
} from "@belay/shared";
import type { Logger } from "pino";
import { Edge } from "./edge.js";
import { type AuditEntry, type AuditSink, BELAYD_ITSELF, type NewEntry, readEntry, writeEntry } from "./entry.js";
import { AuditFolder } from "./folder.js";
import { type AuditKeys, openAuditKeys } from "./key.js";
import { Pending } from "./pending.js";
import { hashesOf, readBundle, TILE_HEIGHT, TILE_WIDTH, tileAt, tilePath, tilesOf } from "./tiles.js";

interface Job {
  readonly entry: NewEntry;
  readonly at: number;
  readonly resolve: (seq: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Full tiles never change; a proof wants a few of them. */
const MAX_CACHED_TILES = 64;

/**
 * The audit log: append-only, a Merkle tree over its entries (RFC 6962), signed checkpoints. An entry is on disk when `append`
 * settles (I7, I14). Entries that come while a write is under way share the next one's fsync. Every so often what came is laid
 * out in tiles and put under a new checkpoint, always in this order: entries, tiles, checkpoint, each durable before the next,
 * so that no checkpoint anybody has seen is ever contradicted by a later one.
 */
export class AuditLog implements AuditSink {
  readonly origin: string;
  readonly #folder: AuditFolder;
  readonly #pending: Pending;
  readonly #keys: AuditKeys;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #everyMs: number;
  readonly #tiles = new Map<string, Buffer[]>();
  readonly #watchers = new Set<(newest: SignedCheckpoint, before: SignedCheckpoint | null) => void>();
  /** The log as its newest checkpoint has it. */
  #edge: Edge;
  #newest: SignedCheckpoint | null;
  /** On disk, and under no checkpoint yet. */
  #fresh: Buffer[];
  #lastAt: number;
  #queue: Job[] = [];
  #working: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** Whoever waits for a checkpoint of what is on disk now. */
  #publishers: (() => void)[] = [];
  /** Unfinished tiles of the checkpoints before: they stay a while for whoever is copying. */
  #partials: readonly (readonly string[])[] = [];
  #closed = false;

  private constructor(parts: {
    origin: string;
    folder: AuditFolder;
    pending: Pending;
    keys: AuditKeys;
    edge: Edge;
    newest: SignedCheckpoint | null;
    fresh: Buffer[];
    lastAt: number;
    now: () => number;
    log: Logger;
    checkpointEveryMs: number;
  }) {
    this.origin = parts.origin;
    this.#folder = parts.folder;
    this.#pending = parts.pending;
    this.#keys = parts.keys;
    this.#edge = parts.edge;
    this.#newest = parts.newest;
    this.#fresh = parts.fresh;
    this.#lastAt = parts.lastAt;
    this.#now = parts.now;
    this.#log = parts.log;
    this.#everyMs = parts.checkpointEveryMs;
  }

  /**
   * Opens the log in `dir`, beginning one where there is none, and puts what an earlier life left pending under a checkpoint.
   * Throws `audit-damaged` for a log that is not what its newest checkpoint says, and as `openAuditKeys`.
   */
  static async open(options: {
    dir: string;
    keyFile: string;
    now: () => number;
    log: Logger;
    checkpointEveryMs: number;
  }): Promise<AuditLog> {
    const { dir, keyFile, now, log, checkpointEveryMs } = options;
    const folder = new AuditFolder(dir);
    const [note, named] = [await folder.read("checkpoint"), await folder.read("key")];
    const keys = await openAuditKeys(keyFile, named !== null);
    const newest = note === null ? null : readCheckpoint(note.toString("utf8"));
    const origin =
      named === null
        ? `belay-audit-${randomBytes(4).toString("hex")}`
        : readVerifier(named.toString("utf8").trim()).name;
    if (newest !== null) mustBeOurs(newest, origin, keys);
    const key = `${writeVerifier(verifierOf(origin, keys.key))}\n`;
    if (named?.toString("utf8") !== key) await folder.put("key", Buffer.from(key));
    await folder.sync();
    const edge = await readEdge(folder, newest);
    const { pending, entries } = await Pending.open(join(dir, "pending"));
    try {
      const fresh = unpublished(entries, edge.size);
      const last = fresh.at(-1) ?? (await lastEntry(folder, edge));
      const lastAt = last === null ? 0 : readEntry(last).at;
      const parts = { origin, folder, pending, keys, edge, newest, fresh, lastAt, now, log, checkpointEveryMs };
      const opened = new AuditLog(parts);
      if (opened.size === 0) await opened.append(begun(origin, keys.key));
      await opened.publish();
      return opened;
    } catch (error) {
      await pending.close();
      throw error;
    }
  }

  /** Entries on disk. */
  get size(): number {
    return this.#edge.size + this.#fresh.length;
  }

  get newest(): SignedCheckpoint {
    if (this.#newest === null) throw new BelayError("internal", "the audit log has no checkpoint yet");
    return this.#newest;
  }

  /** What signs its checkpoints, the open half. */
  get key(): KeyObject {
    return createPublicKey(this.#keys.key);
  }

  /** Told of every new checkpoint, once it is on disk. Must not throw. */
  watch(watcher: (newest: SignedCheckpoint, before: SignedCheckpoint | null) => void): void {
    this.#watchers.add(watcher);
  }

  async append(entry: NewEntry): Promise<void> {
    await this.record(entry);
  }

  /** As `append`; answers with the entry's place. */
  record(entry: NewEntry): Promise<number> {
    if (this.#closed) return Promise.reject(new BelayError("shutting-down", "belayd is stopping"));
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, at: this.#now(), resolve, reject });
      this.#work();
    });
  }

  /** Puts everything that is on disk under a checkpoint now. Settles when that is done, or has failed and is logged. */
  publish(): Promise<void> {
    return new Promise((resolve) => {
      this.#publishers.push(resolve);
      this.#work();
    });
  }

  /** What shows that the newest checkpoint continues the log as it was at this size. Throws `audit-behind`. */
  async proofFrom(size: number): Promise<{ readonly newest: SignedCheckpoint; readonly proof: Buffer[] }> {
    // The edge is replaced as a whole with every checkpoint: what is taken here stays together.
    const [edge, newest] = [this.#edge, this.newest];
    if (size > edge.size) {
      throw new BelayError("audit-behind", `the log has ${edge.size} entries, not ${size}`);
    }
    const subtreeAt = (height: number, index: number) => this.#subtree(edge, height, index);
    return { newest, proof: await proveConsistency(size, edge.size, subtreeAt) };
  }

  /** A file of the layout: tiles, checkpoint, key. Also an unfinished tile that has grown since. Null: there is none. */
  async file(path: string): Promise<Buffer | null> {
    if (path === "checkpoint") return Buffer.from(this.newest.note);
    if (path === "key") return Buffer.from(`${writeVerifier(verifierOf(this.origin, this.#keys.key))}\n`);
    const tile = tileAt(path);
    if (tile === null) return null;
    const found = await this.#folder.read(path);
    if (found !== null || tile.width === TILE_WIDTH) return found;
    const grown = [...tilesOf(this.#edge.size)].find(
      ({ level, index }) => level === tile.level && index === tile.index,
    );
    if (grown === undefined || grown.width < tile.width) return null;
    const bytes = await this.#folder.read(tilePath(grown));
    if (bytes === null || tile.level !== "entries") return bytes?.subarray(0, tile.width * 32) ?? null;
    const { entries } = readBundle(bytes);
    return bytes.subarray(
      0,
      entries.slice(0, tile.width).reduce((sum, entry) => sum + 2 + entry.length, 0),
    );
  }

  /** Entries from the newest on disk backwards; `before`: only those before this place. */
  async *backwards(before = Number.POSITIVE_INFINITY): AsyncGenerator<AuditEntry> {
    const from = Math.min(before, this.size) - 1;
    for (let index = Math.floor(from / TILE_WIDTH); index >= 0; index -= 1) {
      const entries = await this.#bundle(index);
      for (let place = Math.min(entries.length - 1, from - index * TILE_WIDTH); place >= 0; place -= 1) {
        yield readEntry(entries[place] as Buffer);
      }
    }
  }

  /** The entry at a place; null: the log has none there. */
  async entry(seq: number): Promise<AuditEntry | null> {
    const bytes = (await this.#bundle(Math.floor(seq / TILE_WIDTH)))[seq % TILE_WIDTH];
    return bytes === undefined ? null : readEntry(bytes);
  }

  /** Puts what is on disk under a last checkpoint. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.publish();
    await this.#pending.close();
  }

  #work(): void {
    this.#working ??= this.#drain().finally(() => {
      this.#working = null;
      if (this.#queue.length > 0 || this.#publishers.length > 0) this.#work();
    });
  }

  async #drain(): Promise<void> {
    // Everything of this turn joins the first group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 || this.#publishers.length > 0) {
      if (this.#queue.length > 0) await this.#writeGroup(this.#queue.splice(0));
      const publishers = this.#publishers.splice(0);
      if (publishers.length === 0) continue;
      await this.#publish().catch((error: unknown) => {
        this.#log.error({ error: errorInfo(error) }, "no checkpoint of the audit log now; trying again");
        this.#publishSoon();
      });
      for (const publisher of publishers) publisher();
    }
  }

  async #writeGroup(jobs: readonly Job[]): Promise<void> {
    const written: { job: Job; bytes: Buffer; seq: number }[] = [];
    let at = this.#lastAt;
    for (const job of jobs) {
      at = Math.max(at, job.at);
      const seq = this.size + written.length;
      try {
        written.push({ job, bytes: writeEntry({ seq, at, ...job.entry }), seq });
      } catch (error) {
        job.reject(error);
      }
    }
    try {
      if (written.length > 0) await this.#pending.append(written.map(({ bytes }) => bytes));
    } catch (error) {
      for (const { job } of written) job.reject(error);
      return;
    }
    this.#lastAt = at;
    this.#fresh.push(...written.map(({ bytes }) => bytes));
    for (const { job, seq } of written) job.resolve(seq);
    this.#publishSoon();
  }

  #publishSoon(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.publish();
    }, this.#everyMs);
  }

  async #publish(): Promise<void> {
    const before = this.#newest;
    const handsOver = this.#keys.before !== null && before !== null && before.checkpoint.nextKey === null;
    if (this.#fresh.length === 0 && !handsOver) return;
    const edge = this.#edge.copy();
    const full = this.#fresh.flatMap((entry) => edge.add(entry));
    const partials = edge.partials();
    for (const { tile, bytes } of [...full, ...partials]) await this.#folder.put(tilePath(tile), bytes);
    await this.#folder.sync();
    const newest = this.#sign(edge);
    await this.#folder.put("checkpoint", Buffer.from(newest.note));
    await this.#folder.sync();
    this.#fresh = [];
    this.#edge = edge;
    this.#newest = newest;
    for (const watcher of this.#watchers) watcher(newest, before);
    await this.#pending.clear();
    await this.#tidy(
      full.map(({ tile }) => tilePath(tile)),
      partials.map(({ tile }) => tilePath(tile)),
    );
  }

  #sign(edge: Edge): SignedCheckpoint {
    const { key, before } = this.#keys;
    const { root, size } = edge;
    if (root === null) throw new BelayError("internal", "a checkpoint of an empty log");
    const nextKey = before === null ? null : writeVerifier(verifierOf(this.origin, key));
    const keys = before === null ? [key] : [key, before];
    return readCheckpoint(signCheckpoint({ origin: this.origin, size, root, nextKey }, keys));
  }

  /** The unfinished tiles of the checkpoint before stay: a copy that was begun a moment ago finds them. */
  async #tidy(full: readonly string[], partials: readonly string[]): Promise<void> {
    for (const path of full) await this.#folder.remove(`${path}.p`);
    const [newer = [], older = []] = this.#partials;
    const kept = new Set([...partials, ...newer]);
    for (const path of older) if (!kept.has(path)) await this.#folder.remove(path);
    this.#partials = [partials, newer];
  }

  async #bundle(index: number): Promise<readonly Buffer[]> {
    const edge = this.#edge;
    if (index < Math.floor(edge.size / TILE_WIDTH)) return this.#fullBundle(index);
    const first = Math.floor(edge.size / TILE_WIDTH);
    return [...edge.bundle, ...this.#fresh].slice((index - first) * TILE_WIDTH, (index - first + 1) * TILE_WIDTH);
  }

  async #fullBundle(index: number): Promise<readonly Buffer[]> {
    const path = tilePath({ level: "entries", index, width: TILE_WIDTH });
    const bytes = await this.#folder.read(path);
    if (bytes === null) throw missing(this.#folder.dir, path);
    return readBundle(bytes).entries;
  }

  async #subtree(edge: Edge, height: number, index: number): Promise<Buffer> {
    const level = Math.floor(height / TILE_HEIGHT);
    const span = 2 ** (height % TILE_HEIGHT);
    const tile = Math.floor((index * span) / TILE_WIDTH);
    const full = Math.floor(edge.size / TILE_WIDTH ** (level + 1));
    const hashes = tile < full ? await this.#tile(level, tile) : edge.hashesAt(level);
    const start = (index * span) % TILE_WIDTH;
    return new MerkleTree(hashes.slice(start, start + span)).root;
  }

  async #tile(level: number, index: number): Promise<Buffer[]> {
    const path = tilePath({ level, index, width: TILE_WIDTH });
    const known = this.#tiles.get(path);
    if (known !== undefined) return known;
    const bytes = await this.#folder.read(path);
    if (bytes === null) throw missing(this.#folder.dir, path);
    const hashes = hashesOf(bytes);
    const [oldest] = this.#tiles.keys();
    if (this.#tiles.size >= MAX_CACHED_TILES && oldest !== undefined) this.#tiles.delete(oldest);
    this.#tiles.set(path, hashes);
    return hashes;
  }
}

function mustBeOurs(newest: SignedCheckpoint, origin: string, { key, before }: AuditKeys): void {
  const ours = [key, ...(before === null ? [] : [before])].map((one) => verifierOf(origin, one));
  if (newest.checkpoint.origin === origin && ours.some((one) => isSignedBy(newest, one))) return;
  throw damaged("its newest checkpoint was not signed by the key that is here");
}

/** Reads the unfinished tiles back, and holds them against the checkpoint. */
async function readEdge(folder: AuditFolder, newest: SignedCheckpoint | null): Promise<Edge> {
  if (newest === null) return new Edge(0, [], []);
  const { size, root } = newest.checkpoint;
  let bundle: readonly Buffer[] = [];
  const hashes: Buffer[][] = [];
  for (let level = 0, count = size; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH)) hashes[level] = [];
  for (const tile of tilesOf(size)) {
    if (tile.width === TILE_WIDTH) continue;
    const bytes = await folder.read(tilePath(tile));
    if (bytes === null) throw missing(folder.dir, tilePath(tile));
    if (tile.level === "entries") bundle = readBundle(bytes).entries;
    else hashes[tile.level] = hashesOf(bytes);
  }
  const edge = new Edge(size, bundle, hashes);
  if (edge.root?.equals(root) !== true || bundle.length !== size % TILE_WIDTH) {
    throw damaged(`its newest tiles are not what its checkpoint of ${size} entries says`);
  }
  return edge;
}

/** What is pending and not under the checkpoint yet: a crash may have come between the checkpoint and the clearing. */
function unpublished(entries: readonly Buffer[], size: number): Buffer[] {
  const fresh = entries.filter((entry) => readEntry(entry).seq >= size);
  for (const [index, entry] of fresh.entries()) {
    const { seq } = readEntry(entry);
    if (seq !== size + index) throw damaged(`entry ${size + index} is missing: ${seq} is pending behind ${size}`);
  }
  return fresh;
}

async function lastEntry(folder: AuditFolder, edge: Edge): Promise<Buffer | null> {
  const last = edge.bundle.at(-1);
  if (last !== undefined || edge.size === 0) return last ?? null;
  const path = tilePath({ level: "entries", index: edge.size / TILE_WIDTH - 1, width: TILE_WIDTH });
  const bytes = await folder.read(path);
  if (bytes === null) throw missing(folder.dir, path);
  return readBundle(bytes).entries.at(-1) ?? null;
}

function begun(origin: string, key: KeyObject): NewEntry {
  return {
    who: BELAYD_ITSELF,
    from: null,
    action: "log-begun",
    phase: "done",
    about: { log: origin, key: writeVerifier(verifierOf(origin, key)) },
  };
}

function missing(dir: string, path: string): BelayError {
  return damaged(`${join(dir, path)} is missing`);
}

function damaged(why: string): BelayError {
  return new BelayError("audit-damaged", `the audit log is damaged: ${why}`, {
    hint: "`belay-audit-verify` says what is whole. docs/audit.md says how a new log is begun, with this one kept.",
  });
}
