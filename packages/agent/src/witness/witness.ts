import {
  BelayError,
  type Checkpoint,
  errorInfo,
  isConsistent,
  isSignedBy,
  type LogCheckpoint,
  namedVerifier,
  readCheckpoint,
  readVerifier,
  type SignedCheckpoint,
  type Verifier,
  type Witnessed,
  writeVerifier,
} from "@belay/shared";
import type { Logger } from "../log.js";
import type { Trusted, WitnessMemory } from "./memory.js";

/** A log's name becomes a file's. */
const LOG_NAME = /^[A-Za-z0-9._-]{1,64}$/;
const REFUSALS: ReadonlySet<string> = new Set([
  "checkpoint-malformed",
  "checkpoint-unsigned",
  "log-forked",
  "log-replaced",
  "log-rewound",
  "verifier-malformed",
  "witness-full",
]);

/**
 * Remembers the newest checkpoint of belayd's audit log that this host was shown, and takes a later one only if it continues
 * that. So nobody rewrites the log unseen, whatever they hold of belayd's. The key is the one that agent.yaml names, or the
 * first one seen; a new key is taken from the hand of the one before. Another log, though the same key signs it, is taken only
 * when agent.yaml names it. What contradicts is refused, told and kept.
 */
export class Witness {
  readonly #memory: WitnessMemory;
  /** Names a log, and its key. */
  readonly #configured: Verifier | null;
  readonly #log: Logger;
  #trusted: Trusted | null;
  #newest: SignedCheckpoint | null;
  #hearing: Promise<void> = Promise.resolve();

  private constructor(parts: {
    memory: WitnessMemory;
    configured: Verifier | null;
    log: Logger;
    trusted: Trusted | null;
    newest: SignedCheckpoint | null;
  }) {
    this.#memory = parts.memory;
    this.#configured = parts.configured;
    this.#log = parts.log;
    this.#trusted = parts.trusted;
    this.#newest = parts.newest;
  }

  static async open(memory: WitnessMemory, configured: Verifier | null, log: Logger): Promise<Witness> {
    const kept = await memory.trusted();
    const named = configured === null ? null : writeVerifier(configured);
    // Whoever writes another log or key into agent.yaml means it.
    const trusted = kept === null || kept.configured === named ? kept : null;
    const newest =
      kept === null
        ? null
        : await memory.newest(kept.log).catch((error: unknown) => {
            log.error(
              { error: errorInfo(error) },
              "the checkpoint that was seen last can't be read: this host begins anew",
            );
            return null;
          });
    return new Witness({ memory, configured, log, trusted, newest });
  }

  /** For the first word to belayd. */
  get newest(): { readonly log: string; readonly size: number } | null {
    const checkpoint = this.#newest?.checkpoint;
    return checkpoint === undefined ? null : { log: checkpoint.origin, size: checkpoint.size };
  }

  /** One after the other. Answers with what is to be told; null: it was taken, and there is nothing to say. */
  hear(message: LogCheckpoint): Promise<Witnessed | null> {
    const answer = this.#hearing.then(() => this.#hear(message));
    this.#hearing = answer.then(
      () => {},
      () => {},
    );
    return answer;
  }

  /** Settles when nothing is being written. */
  async settled(): Promise<void> {
    await this.#hearing;
  }

  async #hear(message: LogCheckpoint): Promise<Witnessed | null> {
    try {
      const seen = readCheckpoint(message.note);
      if (!LOG_NAME.test(seen.checkpoint.origin))
        throw refusal("checkpoint-malformed", "a log has another kind of name");
      const trusted = this.#judgeKey(seen, message);
      this.#mustFollow(seen.checkpoint.origin);
      const known = await this.#known(seen.checkpoint.origin);
      if (known !== null && !this.#continues(known.checkpoint, seen.checkpoint, message)) return this.#ask(known);
      await this.#take(seen, trusted);
      return null;
    } catch (error) {
      if (error instanceof BelayError && REFUSALS.has(error.code)) return this.#refuse(message.note, error);
      // A full disk is no forgery: the next checkpoint comes, and is held against the same one as this.
      this.#log.error({ error: errorInfo(error) }, "checkpoint of the audit log can't be kept");
      return null;
    }
  }

  /** Throws `checkpoint-unsigned`. Answers with the key to trust from here on. */
  #judgeKey(seen: SignedCheckpoint, message: LogCheckpoint): string {
    const { origin, nextKey } = seen.checkpoint;
    const pinned =
      this.#trusted === null
        ? (this.#configured?.key ?? readVerifier(message.key).key)
        : Buffer.from(this.#trusted.key, "base64");
    if (!isSignedBy(seen, namedVerifier(origin, pinned))) {
      throw refusal("checkpoint-unsigned", "this checkpoint was not signed by the key that this host knows");
    }
    const next = nextKey === null ? null : readVerifier(nextKey);
    return (next !== null && isSignedBy(seen, next) ? next.key : pinned).toString("base64");
  }

  /** Throws `log-replaced`: who begins a new log has hidden what was in the one before, as far as it is up to this host. */
  #mustFollow(origin: string): void {
    const followed = this.#trusted?.log ?? this.#configured?.name ?? origin;
    if (origin === followed) return;
    const context = { log: origin, followed, known: this.#newest?.checkpoint.size ?? 0 };
    throw new BelayError("log-replaced", `belayd shows the log ${origin}; this host follows ${followed}`, {
      hint: "If a new log was begun on purpose, name it in this host's agent.yaml: see docs/audit.md, A new log.",
      context,
    });
  }

  async #known(origin: string): Promise<SignedCheckpoint | null> {
    if (this.#newest?.checkpoint.origin === origin) return this.#newest;
    return this.#memory.newest(origin);
  }

  /** False: it may, but what shows it is missing. Throws `log-rewound` or `log-forked`. */
  #continues(known: Checkpoint, seen: Checkpoint, message: LogCheckpoint): boolean {
    const context = { log: seen.origin, known: known.size, shown: seen.size };
    if (seen.size < known.size) {
      throw refusal("log-rewound", `the audit log ends at ${seen.size}, and had ${known.size} entries`, context);
    }
    if (seen.size > known.size && message.from !== known.size) return false;
    const proof = seen.size === known.size ? [] : message.proof.map((hash) => Buffer.from(hash, "base64"));
    if (isConsistent(known, seen, proof)) return true;
    throw refusal("log-forked", `the first ${known.size} entries of the audit log are not what they were`, context);
  }

  async #take(seen: SignedCheckpoint, key: string): Promise<void> {
    const { origin, size } = seen.checkpoint;
    if (this.#newest?.note === seen.note) return;
    if (this.#newest !== null && this.#newest.checkpoint.origin !== origin) {
      this.#log.warn(
        { before: this.#newest.checkpoint.origin, size: this.#newest.checkpoint.size, now: origin },
        "this host follows another audit log from now on; the last checkpoint of the one before is kept",
      );
    }
    await this.#memory.remember(seen);
    const configured = this.#configured === null ? null : writeVerifier(this.#configured);
    if (this.#trusted?.key !== key || this.#trusted.log !== origin) {
      const trusted = { log: origin, key, configured };
      await this.#memory.trust(trusted);
      if (this.#trusted?.key !== key) this.#log.info({ log: origin, key, size }, "this key signs the audit log");
      this.#trusted = trusted;
    }
    this.#newest = seen;
  }

  #ask(known: SignedCheckpoint): Witnessed {
    const { origin: log, size } = known.checkpoint;
    return { type: "witnessed", log, size, refused: null, known: null };
  }

  async #refuse(note: string, error: BelayError): Promise<Witnessed> {
    const refused = error.toJSON();
    this.#log.error({ error: refused, kept: this.#memory.dir }, "checkpoint of the audit log refused");
    await this.#memory.keepEvidence(note).catch((trouble: unknown) => {
      this.#log.error({ error: errorInfo(trouble) }, "the refused checkpoint can't be kept");
    });
    const { origin: log, size } = this.#newest?.checkpoint ?? { origin: "none", size: 0 };
    return { type: "witnessed", log, size, refused, known: this.#newest?.note ?? null };
  }
}

function refusal(code: string, message: string, context: Record<string, unknown> = {}): BelayError {
  return new BelayError(code, message, {
    hint: "Somebody may have rewritten belayd's audit log, or begun anew: docs/audit.md says how to find out.",
    context,
  });
}
