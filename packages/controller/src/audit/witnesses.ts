import {
  errorInfo,
  type Hello,
  isConsistent,
  isSignedBy,
  type LogCheckpoint,
  readCheckpoint,
  type SignedCheckpoint,
  verifierOf,
  type Witnessed,
  writeVerifier,
} from "@belay/shared";
import type { Logger } from "pino";
import { BELAYD_ITSELF, type NewEntry } from "./entry.js";
import type { AuditLog } from "./log.js";

/** How checkpoints get to hosts. */
export interface Reach {
  send(host: string, message: LogCheckpoint): boolean;
  broadcast(message: LogCheckpoint): void;
}

/** Proofs kept for the newest checkpoint: after a restart thousands of hosts come back with one and the same size. */
const MAX_PROOFS = 64;
/** What hosts contradicted and is on record in this life: one host can't fill the log with it. */
const MAX_REPORTED = 1_000;

/**
 * Shows every new checkpoint to all agents, with the proof that it continues the one before: one frame for all of them. Whoever
 * comes, or has missed one, gets its own proof. What an agent holds against it is told and put on record.
 */
export class Witnesses {
  readonly #audit: AuditLog;
  readonly #reach: Reach;
  readonly #outdone: (host: string, size: number) => void;
  readonly #log: Logger;
  readonly #reported = new Set<string>();
  #proofs = new Map<number, Promise<LogCheckpoint>>();
  /** In the order of checkpoints: nobody is shown an older one after a newer one. */
  #telling: Promise<void> = Promise.resolve();

  /** `outdone`: a host holds what our own key has signed, and our log does not. */
  constructor(audit: AuditLog, reach: Reach, outdone: (host: string, size: number) => void, log: Logger) {
    this.#audit = audit;
    this.#reach = reach;
    this.#outdone = outdone;
    this.#log = log;
    audit.watch((_newest, before) => {
      this.#proofs = new Map();
      this.#tell(before?.checkpoint.size ?? 0, (message) => this.#reach.broadcast(message));
    });
  }

  /** An agent was welcomed. */
  met(host: string, { witnessed }: Hello): void {
    const { origin, size } = this.#audit.newest.checkpoint;
    const known = witnessed?.log === origin ? witnessed.size : 0;
    if (known === size) {
      // It may have seen another log of that size: the same checkpoint once more costs nothing, and shows it.
      this.#show(host, size);
      return;
    }
    if (known > size) {
      this.#report(host, { action: "witness-ahead", about: { host, log: origin, seen: known, here: size } });
      this.#log.error(
        { host, seen: known, here: size },
        "a host has seen more of the audit log than there is: an old copy?",
      );
    }
    this.#show(host, Math.min(known, size));
  }

  said(host: string, { log, size, refused, known }: Witnessed): void {
    if (refused === null) {
      const { origin, size: here } = this.#audit.newest.checkpoint;
      if (log === origin && size <= here) this.#show(host, size);
      return;
    }
    this.#log.error({ host, error: refused, known }, "a host refuses a checkpoint of the audit log");
    const about = { host, log, seen: size, code: refused.code, known: known ?? "" };
    const isNew = this.#report(host, { action: "witness-refused", about });
    if (isNew && known !== null) this.#look(host, known);
  }

  /** What a host says proves nothing; what we signed ourselves does. */
  #look(host: string, note: string): void {
    this.#contradicts(note)
      .then((size) => size !== null && this.#outdone(host, size))
      .catch((error: unknown) => this.#log.info({ host, error: errorInfo(error) }, "what a host holds proves nothing"));
  }

  /** The size of a checkpoint that our key signed for this log, and that the log does not lead to; null: it is none. */
  async #contradicts(note: string): Promise<number | null> {
    const seen = readCheckpoint(note);
    if (!isSignedBy(seen, verifierOf(this.#audit.origin, this.#audit.key))) return null;
    const { size } = seen.checkpoint;
    if (size > this.#audit.newest.checkpoint.size) return size;
    const { newest, proof } = await this.#audit.proofFrom(size);
    return isConsistent(seen.checkpoint, newest.checkpoint, proof) ? null : size;
  }

  /** Settles when everything there is to show was handed over. */
  async settled(): Promise<void> {
    await this.#telling;
  }

  #show(host: string, from: number): void {
    this.#tell(from, (message) => void this.#reach.send(host, message));
  }

  #tell(from: number, hand: (message: LogCheckpoint) => void): void {
    this.#telling = this.#telling
      .then(() => this.#messageFrom(from))
      .then(hand)
      .catch((error: unknown) => {
        this.#log.error({ error: errorInfo(error), from }, "a checkpoint of the audit log can't be shown");
      });
  }

  #messageFrom(from: number): Promise<LogCheckpoint> {
    const made = this.#proofs.get(from);
    if (made !== undefined) return made;
    const message = this.#audit.proofFrom(from).then(({ newest, proof }) => this.#message(newest, from, proof));
    if (this.#proofs.size < MAX_PROOFS) this.#proofs.set(from, message);
    return message;
  }

  #message({ note }: SignedCheckpoint, from: number, proof: readonly Buffer[]): LogCheckpoint {
    const key = writeVerifier(verifierOf(this.#audit.origin, this.#audit.key));
    return { type: "checkpoint", note, key, from, proof: proof.map((hash) => hash.toString("base64")) };
  }

  /** False: it is on record already. */
  #report(host: string, { action, about }: Pick<NewEntry, "action" | "about">): boolean {
    const what = `${host} ${action}`;
    if (this.#reported.has(what) || this.#reported.size >= MAX_REPORTED) return false;
    this.#reported.add(what);
    const entry: NewEntry = { who: BELAYD_ITSELF, from: null, action, phase: "done", about };
    this.#audit.append(entry).catch((error: unknown) => {
      this.#log.error({ host, error: errorInfo(error) }, "what a witness says is not on record");
    });
    return true;
  }
}
