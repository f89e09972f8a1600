import {
  isSignedBy,
  leafHash,
  readCheckpoint,
  readVerifier,
  type SignedCheckpoint,
  type Verifier,
} from "@belay/shared";
import { Edge } from "./edge.js";
import { readEntry } from "./entry.js";
import type { Finding, Verdict } from "./finding.js";
import { readPending } from "./pending.js";
import { beginningOf, hashesOf, readBundle, TILE_WIDTH, type Tile, tileAt, tilePath, tilesOf } from "./tiles.js";

/** A log to look at: a folder, an archive, or belayd's API. */
export interface LogFiles {
  /** Null: there is no such file. */
  read(path: string): Promise<Buffer | null>;
  /** Every file there is; null where that can't be said. */
  list(): Promise<readonly string[] | null>;
}

/**
 * Verifies a whole log with nothing but its files: every entry's form and place, every hash, the root, the signature, and
 * that it continues what witnesses have seen. `key` null: the one beside the log is taken, which proves less.
 */
export async function verifyLog(
  files: LogFiles,
  options: { key: Verifier | null; witnesses: readonly SignedCheckpoint[] },
): Promise<Verdict> {
  const findings: Finding[] = [];
  const keyGiven = options.key !== null;
  const nothing = { origin: null, size: 0, root: null, pending: 0, witnessed: 0, keyGiven };
  const note = await files.read("checkpoint");
  if (note === null)
    return { ...nothing, findings: [{ code: "checkpoint-missing", message: "there is no checkpoint" }] };
  let newest: SignedCheckpoint;
  try {
    newest = readCheckpoint(note.toString("utf8"));
  } catch (error) {
    return { ...nothing, findings: [{ code: "checkpoint-malformed", message: (error as Error).message }] };
  }
  const { origin, size, root } = newest.checkpoint;
  const key = options.key ?? (await keyBeside(files));
  if (key === null) findings.push({ code: "key-missing", message: "there is no key to verify the signature with" });
  else if (!isSignedBy(newest, key)) {
    findings.push({ code: "signature-wrong", message: `the checkpoint was not signed by ${key.name}'s key` });
  }
  const walk = new Walk(files, new Set(options.witnesses.map(({ checkpoint }) => checkpoint.size)));
  const bad = await walk.through(size);
  if (bad !== null) findings.push(bad);
  else if (walk.rootAt(size)?.equals(root) !== true) {
    findings.push({
      code: "root-differs",
      message: `these ${size} entries are not what the checkpoint was signed for`,
    });
  }
  let witnessed = 0;
  for (const witness of options.witnesses) {
    const seen = judge(witness, { origin, size, key, rootAt: (at) => walk.rootAt(at), whole: bad === null });
    if (seen !== null) findings.push(seen);
    else if (bad === null) witnessed += 1;
  }
  const pending = await lookBeyond(files, size, findings);
  return { origin, size, root: root.toString("hex"), pending, witnessed, keyGiven, findings };
}

/** Goes through a log from its first entry on, building the tree anew from the entries alone. */
class Walk {
  readonly #files: LogFiles;
  readonly #wanted: ReadonlySet<number>;
  readonly #roots = new Map<number, Buffer | null>();
  readonly #edge = new Edge(0, [], []);
  #lastAt = 0;

  constructor(files: LogFiles, wanted: ReadonlySet<number>) {
    this.#files = files;
    this.#wanted = wanted;
  }

  /** The root as it was at a size that was asked for, or at the end. */
  rootAt(size: number): Buffer | null {
    return this.#roots.get(size) ?? null;
  }

  /** The first thing that is wrong; null: nothing. */
  async through(size: number): Promise<Finding | null> {
    const bundles = [...tilesOf(size)].filter(({ level }) => level === "entries");
    for (const bundle of bundles) {
      const finding = await this.#throughBundle(bundle);
      if (finding !== null) return finding;
    }
    this.#roots.set(size, this.#edge.root);
    return this.#compare(this.#edge.partials());
  }

  async #throughBundle(tile: Tile): Promise<Finding | null> {
    const first = tile.index * TILE_WIDTH;
    const bytes = await whole(this.#files, tile);
    if (bytes === null) return { code: "entries-missing", message: `${tilePath(tile)} is missing`, entry: first };
    const { entries, rest } = readBundle(bytes);
    const stored = await whole(this.#files, { ...tile, level: 0 });
    const hashes = stored === null ? [] : hashesOf(stored);
    for (let place = 0; place < tile.width; place += 1) {
      const entry = entries[place];
      if (entry === undefined) {
        return { code: "entries-missing", message: `entry ${first + place} is missing`, entry: first + place };
      }
      const finding = this.#look(entry, first + place, hashes[place]);
      if (finding !== null) return finding;
      const full = this.#edge.add(entry);
      if (this.#wanted.has(this.#edge.size)) this.#roots.set(this.#edge.size, this.#edge.root);
      const differs = await this.#compare(full);
      if (differs !== null) return differs;
    }
    if (entries.length === tile.width && rest === 0) return null;
    const message = `${tilePath(tile)} holds more than its ${tile.width} entries`;
    return { code: "entries-missing", message, entry: first + tile.width };
  }

  #look(bytes: Buffer, seq: number, hash: Buffer | undefined): Finding | null {
    if (hash !== undefined && !hash.equals(leafHash(bytes))) {
      return { code: "entry-changed", message: `entry ${seq} is not what its hash was made of`, entry: seq };
    }
    try {
      const entry = readEntry(bytes);
      if (entry.seq !== seq) {
        const message = `at place ${seq} is the entry that was written at ${entry.seq}`;
        return { code: "entry-misplaced", message, entry: seq };
      }
      if (entry.at < this.#lastAt) {
        return { code: "entry-misplaced", message: `entry ${seq} is older than the one before it`, entry: seq };
      }
      this.#lastAt = entry.at;
      return null;
    } catch (error) {
      return { code: "entry-malformed", message: `entry ${seq}: ${(error as Error).message}`, entry: seq };
    }
  }

  /** Holds tiles as they are stored against those that follow from the entries. */
  async #compare(tiles: readonly { readonly tile: Tile; readonly bytes: Buffer }[]): Promise<Finding | null> {
    for (const { tile, bytes } of tiles) {
      const path = tilePath(tile);
      const stored = await whole(this.#files, tile);
      if (stored === null) return { code: "tile-missing", message: `${path} is missing`, entry: firstUnder(tile) };
      if (stored.equals(bytes)) continue;
      const [theirs, ours] = [hashesOf(stored), hashesOf(bytes)];
      const place = ours.findIndex((hash, index) => theirs[index]?.equals(hash) !== true);
      if (tile.level === "entries" || place === -1) {
        return { code: "tile-differs", message: `${path} is not as it was written`, entry: firstUnder(tile) };
      }
      const span = TILE_WIDTH ** tile.level;
      const entry = (tile.index * TILE_WIDTH + place) * span;
      const message = `${path} has another hash for the entries ${entry} to ${entry + span - 1}: one of them was changed, or it was`;
      return { code: "entry-among", message, entry };
    }
    return null;
  }
}

/** A tile of this width; where it has grown since, as much of it. */
async function whole(files: LogFiles, tile: Tile): Promise<Buffer | null> {
  const found = await files.read(tilePath(tile));
  if (found !== null || tile.width === TILE_WIDTH) return found;
  const listed = (await files.list()) ?? [];
  const grown = listed
    .map((path) => tileAt(path))
    .filter((one) => one !== null)
    .find((one) => one.level === tile.level && one.index === tile.index && one.width > tile.width);
  const bytes = grown === undefined ? null : await files.read(tilePath(grown));
  return bytes === null ? null : beginningOf(bytes, tile);
}

function firstUnder({ level, index }: Tile): number {
  return index * TILE_WIDTH * (level === "entries" ? 1 : TILE_WIDTH ** level);
}

/** What a witness has to say against a log; null: nothing. */
function judge(
  witness: SignedCheckpoint,
  log: {
    origin: string;
    size: number;
    key: Verifier | null;
    rootAt: (size: number) => Buffer | null;
    /** False: the log's entries could not be read to the end. */
    whole: boolean;
  },
): Finding | null {
  const { origin, size, root } = witness.checkpoint;
  if (origin !== log.origin) {
    const message = `the witness knows ${origin}, which has ${size} entries; this is ${log.origin}`;
    return { code: "witness-of-another-log", message };
  }
  if (log.key !== null && !isSignedBy(witness, log.key)) {
    return {
      code: "witness-unsigned",
      message: `the witness' checkpoint of ${size} entries was not signed by this key`,
    };
  }
  if (size > log.size) {
    const message = `a witness has seen ${size} entries; this log ends after ${log.size}`;
    return { code: "rewound", message, entry: log.size };
  }
  const ours = log.rootAt(size);
  if (ours?.equals(root) === true || (ours === null && !log.whole)) return null;
  return { code: "forked", message: `the first ${size} entries are not those that a witness has seen`, entry: 0 };
}

/** Looks at what lies beside the log; answers with how many entries are pending. */
async function lookBeyond(files: LogFiles, size: number, findings: Finding[]): Promise<number> {
  const listed = (await files.list()) ?? [];
  const wanted = new Set([...tilesOf(size)].map((tile) => tilePath(tile)));
  const isLive = listed.includes("pending");
  for (const path of listed) {
    const tile = tileAt(path);
    if (tile === null || wanted.has(path)) continue;
    const now = [...tilesOf(size)].find(({ level, index }) => level === tile.level && index === tile.index);
    if (now !== undefined && now.width > tile.width) {
      const [left, whole] = [await files.read(path), await files.read(tilePath(now))];
      if (left !== null && whole !== null && left.equals(beginningOf(whole, tile))) continue;
      findings.push({ code: "leftover-differs", message: `${path} is no beginning of ${tilePath(now)}` });
    } else if (!isLive) {
      findings.push({ code: "beyond-checkpoint", message: `${path} is not under the checkpoint of ${size} entries` });
    }
  }
  const bytes = isLive ? await files.read("pending") : null;
  if (bytes === null) return 0;
  try {
    return readPending(bytes, "pending").filter((entry) => readEntry(entry).seq >= size).length;
  } catch (error) {
    findings.push({ code: "pending-damaged", message: (error as Error).message });
    return 0;
  }
}

async function keyBeside(files: LogFiles): Promise<Verifier | null> {
  const text = await files.read("key");
  try {
    return text === null ? null : readVerifier(text.toString("utf8").trim());
  } catch {
    return null;
  }
}
