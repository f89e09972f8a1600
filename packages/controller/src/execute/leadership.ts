import { randomBytes } from "node:crypto";
import { BelayError, errorInfo, type Hello } from "@belay/shared";
import type { Logger } from "pino";
import { type AuditSink, BELAYD_ITSELF } from "../audit/entry.js";
import type { LeaseStore } from "../store/leases.js";

/** What a host knows that this belayd can't: another one leads, or led when this one's database was a copy already. */
export interface Superseded {
  readonly host: string;
  readonly fence: number;
  readonly line: string | null;
}

/**
 * Whether this belayd is the one that leads (I13). A lease says who leads within one database; copies of a database know nothing
 * of each other, but hosts have met both: each tells, with its first word, the highest fencing number it took a step under, and
 * whose that was. A number that is not from here means that this belayd stands still until a person has looked.
 */
export class Leadership {
  /** This start of this belayd. */
  readonly line: string;
  readonly #leases: LeaseStore;
  readonly #log: Logger;
  readonly #lines: ReadonlySet<string>;
  readonly #raisedTo: number;
  readonly #audit: AuditSink;
  #superseded: Superseded | null = null;

  private constructor(parts: {
    line: string;
    leases: LeaseStore;
    log: Logger;
    lines: ReadonlySet<string>;
    raisedTo: number;
    audit: AuditSink;
  }) {
    this.line = parts.line;
    this.#leases = parts.leases;
    this.#log = parts.log;
    this.#lines = parts.lines;
    this.#raisedTo = parts.raisedTo;
    this.#audit = parts.audit;
  }

  static async begin(leases: LeaseStore, audit: AuditSink, log: Logger): Promise<Leadership> {
    const line = randomBytes(8).toString("hex");
    const { lines, raisedTo } = await leases.begin(line);
    return new Leadership({ line, leases, log, lines, raisedTo, audit });
  }

  get leads(): boolean {
    return this.#superseded === null;
  }

  get superseded(): Superseded | null {
    return this.#superseded;
  }

  /** A host has said hello. To be called before anything is sent to it. */
  meet(host: string, { lease }: Hello): void {
    if (lease === undefined || lease.fence <= this.#raisedTo) return;
    const isKnown = lease.line === null || this.#lines.has(lease.line);
    if (isKnown && lease.fence <= this.#leases.knownFence) return;
    if (this.#superseded !== null) return;
    const by = { host, fence: lease.fence, line: lease.line };
    this.#superseded = by;
    this.#log.fatal({ ...by, newest: this.#leases.knownFence }, `${sentence(by)}: nothing more is sent to any host`);
    this.#audit
      .append({ who: BELAYD_ITSELF, from: null, action: "belayd-superseded", phase: "done", about: by })
      .catch((error: unknown) => this.#log.error({ error: errorInfo(error) }, "that is not on record"));
  }

  /** Throws `superseded`. */
  mustLead(): void {
    if (this.#superseded === null) return;
    throw new BelayError("superseded", sentence(this.#superseded), {
      hint:
        "Another belayd leads these hosts, or this one's database is an old copy. Stop this one; if no other is left, " +
        `\`belayd raise-fence --above ${this.#superseded.fence}\`, then start it. See docs/audit.md.`,
      context: { ...this.#superseded },
    });
  }
}

function sentence({ host, fence }: Superseded): string {
  return `${host} has taken steps under lease ${fence}, which is not from this database`;
}
