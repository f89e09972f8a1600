import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { BelayError, readCheckpoint, type SignedCheckpoint } from "@belay/shared";
import { makeDir, orMissing, writeDurably } from "../durable.js";

/** Whom this host takes checkpoints from. */
export interface Trusted {
  /** The log seen last. */
  readonly log: string;
  /** The key that signs now, base64. */
  readonly key: string;
  /** The log and key that agent.yaml named then, as it writes them; null: none. */
  readonly configured: string | null;
}

/** More logs than a belayd ever begins, and few enough to be no way to fill a disk. */
const MAX_LOGS = 16;
const MAX_EVIDENCE = 32;
const SUFFIX = ".checkpoint";

/** What a witness remembers: below stateDir, a file for each log (its newest checkpoint), and one for what it refused. */
export class WitnessMemory {
  readonly dir: string;

  constructor(stateDir: string) {
    this.dir = join(stateDir, "witness");
  }

  async trusted(): Promise<Trusted | null> {
    const text = await orMissing(readFile(join(this.dir, "trusted.json"), "utf8"));
    return text === null ? null : (JSON.parse(text) as Trusted);
  }

  async trust(trusted: Trusted): Promise<void> {
    await makeDir(this.dir, 0o755);
    await writeDurably(join(this.dir, "trusted.json"), `${JSON.stringify(trusted)}\n`);
  }

  /** The newest checkpoint of a log that was taken; null: none. */
  async newest(log: string): Promise<SignedCheckpoint | null> {
    const note = await orMissing(readFile(join(this.dir, `${log}.checkpoint`), "utf8"));
    return note === null ? null : readCheckpoint(note);
  }

  /** Of every log that was ever followed, by name. */
  async all(): Promise<SignedCheckpoint[]> {
    const files = (await orMissing(readdir(this.dir))) ?? [];
    const logs = files.filter((file) => file.endsWith(SUFFIX) && !file.startsWith("."));
    const newest = await Promise.all(logs.sort().map((file) => this.newest(file.slice(0, -SUFFIX.length))));
    return newest.filter((each) => each !== null);
  }

  /** Throws `witness-full` for one log too many. */
  async remember({ checkpoint, note }: SignedCheckpoint): Promise<void> {
    await makeDir(this.dir, 0o755);
    const name = `${checkpoint.origin}.checkpoint`;
    const known = (await readdir(this.dir)).filter((file) => file.endsWith(".checkpoint"));
    if (known.length >= MAX_LOGS && !known.includes(name)) {
      throw new BelayError("witness-full", `${this.dir} remembers ${known.length} audit logs already`, {
        hint: "keep what is there somewhere else, then remove what nobody needs",
      });
    }
    await writeDurably(join(this.dir, name), note);
  }

  /** Keeps a note that was refused. The first ones count: later ones are not kept when there are many. */
  async keepEvidence(note: string): Promise<void> {
    const dir = join(this.dir, "refused");
    await makeDir(dir, 0o755);
    const name = `${createHash("sha256").update(note).digest("hex").slice(0, 16)}.checkpoint`;
    const kept = await readdir(dir);
    if (kept.length < MAX_EVIDENCE && !kept.includes(name)) await writeDurably(join(dir, name), note);
  }
}
