import { randomBytes } from "node:crypto";
import { BelayError, errorInfo, type Hello } from "@belay/shared";
import type { Logger } from "pino";
import type { Superseded } from "../api/contract.js";
import { type AuditSink, BELAYD_ITSELF, type Detail } from "../audit/entry.js";
import type { LeaseStore } from "../store/leases.js";

/** How many hosts are named to people. */
const NAMED_HOSTS = 20;

/** A host took steps under a lease that is not from here. */
interface Doubt {
  readonly host: string;
  readonly fence: number;
  readonly line: string | null;
}

/**
 * Whether this belayd is the one that leads (I13). A lease says who leads within one database; copies of a database know nothing
 * of each other, but hosts have met both. Each tells, with its first word, the highest fencing number that it took a step under,
 * and whose that was: where it is not from here, nothing goes on that has to do with this host. One host's word is no reason to
 * stand still for all; a checkpoint that this belayd's key has signed and its log does not hold is.
 */
export class Leadership {
  /** This start of this belayd. */
  readonly line: string;
  readonly #leases: LeaseStore;
  readonly #audit: AuditSink;
  readonly #log: Logger;
  readonly #lines: ReadonlySet<string>;
  readonly #raisedTo: number;
  readonly #doubts = new Map<string, Doubt>();
  #proof: string | null = null;

  private constructor(
    line: string,
    parts: { leases: LeaseStore; audit: AuditSink; log: Logger; lines: ReadonlySet<string>; raisedTo: number },
  ) {
    this.line = line;
    this.#leases = parts.leases;
    this.#audit = parts.audit;
    this.#log = parts.log;
    this.#lines = parts.lines;
    this.#raisedTo = parts.raisedTo;
  }

  static async begin(leases: LeaseStore, audit: AuditSink, log: Logger): Promise<Leadership> {
    const line = randomBytes(8).toString("hex");
    const { lines, raisedTo } = await leases.begin(line);
    return new Leadership(line, { leases, audit, log, lines, raisedTo });
  }

  /** A host has said hello. To be called before anything is sent to it. */
  meet(host: string, { lease }: Pick<Hello, "lease">): void {
    if (lease === undefined || lease.fence <= this.#raisedTo || this.#doubts.has(host)) return;
    const isKnown = lease.line === null || this.#lines.has(lease.line);
    if (isKnown && lease.fence <= this.#leases.knownFence) return;
    const doubt = { host, ...lease };
    this.#doubts.set(host, doubt);
    this.#say({ ...doubt, newest: this.#leases.knownFence }, `${sentence(doubt)}: nothing goes on that concerns it`);
  }

  /** Somebody holds a checkpoint that our own key signed, and that our log contradicts: another belayd has gone on with it. */
  outdone(host: string, size: number): void {
    if (this.#proof !== null) return;
    this.#proof = `${host} holds ${size} entries of this audit log, signed, which are not in it`;
    this.#say({ host, size }, `${this.#proof}: nothing more is sent to any host`);
  }

  /** What is known against its leading, and which hosts that is about; null: nothing. */
  get superseded(): Superseded | null {
    if (this.#proof !== null) return { why: this.#proof, hosts: "all", more: 0 };
    const [first] = this.#doubts.values();
    if (first === undefined) return null;
    const hosts = [...this.#doubts.keys()].slice(0, NAMED_HOSTS);
    return { why: sentence(first), hosts, more: this.#doubts.size - hosts.length };
  }

  /** Nothing may be sent to a host where this is false. */
  leads(host: string): boolean {
    return this.#proof === null && !this.#doubts.has(host);
  }

  /** As `leads`, for all of a plan's hosts. */
  leadsAll(hosts: Readonly<Record<string, unknown>>): boolean {
    if (this.#proof !== null) return false;
    for (const host of this.#doubts.keys()) if (hosts[host] !== undefined) return false;
    return true;
  }

  /** Throws `superseded`. */
  mustLead(hosts: Readonly<Record<string, unknown>>): void {
    if (this.leadsAll(hosts)) return;
    const doubt = [...this.#doubts.values()].find(({ host }) => hosts[host] !== undefined);
    const why = this.#proof ?? (doubt === undefined ? "another belayd leads" : sentence(doubt));
    throw new BelayError("superseded", why, {
      hint:
        "Another belayd leads, or this one's data is an old copy. Stop this one. Where no other is left: belayd raise-fence " +
        `--above ${doubt?.fence ?? "N"}, as docs/audit.md tells.`,
      ...(doubt === undefined ? {} : { context: { ...doubt } }),
    });
  }

  #say(about: Detail, what: string): void {
    this.#log.fatal(about, what);
    this.#audit
      .append({ who: BELAYD_ITSELF, from: null, action: "belayd-superseded", phase: "done", about })
      .catch((error: unknown) => this.#log.error({ error: errorInfo(error) }, "that is not on record"));
  }
}

function sentence({ host, fence }: Doubt): string {
  return `${host} has taken steps under lease ${fence}, which is not from this database`;
}
