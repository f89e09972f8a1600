import { BelayError } from "@belay/shared";
import type { IdentityRow, IdentityStore } from "../store/identities.js";
import type { HostCertificate } from "./host-certificate.js";

export type RefusedCertificate =
  | "certificate-unknown"
  | "certificate-revoked"
  | "certificate-replaced"
  | "certificate-superseded"
  | "certificate-expired"
  | "certificate-early";

/** What was begun with the certificate before, when its successor is first shown, may be finished with it. */
const GRACE_MS = 60_000;

/**
 * Every host's identity, in memory and on disk: which certificates still count. The disk comes first where something ends,
 * memory comes first where something is only noticed.
 */
export class Identities {
  readonly #store: IdentityStore;
  readonly #failed: (error: unknown) => void;
  readonly #rows = new Map<string, IdentityRow>();

  /** `failed` hears of what could not be noted; the next use of the certificate notes it again. */
  constructor(store: IdentityStore, failed: (error: unknown) => void) {
    this.#store = store;
    this.#failed = failed;
  }

  async load(): Promise<void> {
    for (const row of await this.#store.all()) this.#rows.set(row.host, row);
  }

  get(host: string): IdentityRow | null {
    return this.#rows.get(host) ?? null;
  }

  all(): IdentityRow[] {
    return [...this.#rows.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  /** Why this certificate does not count, or null. A newer life of the identity ends all certificates of those before. */
  judge(certificate: HostCertificate, now: number): RefusedCertificate | null {
    const row = this.#rows.get(certificate.host);
    if (row === undefined || certificate.generation > row.generation) return "certificate-unknown";
    if (certificate.generation < row.generation) return "certificate-replaced";
    if (row.revoked !== null) return "certificate-revoked";
    if (now >= certificate.notAfter) return "certificate-expired";
    if (now < certificate.notBefore) return "certificate-early";
    const superseded = certificate.sequence < row.used && now > (row.usedAt ?? 0) + GRACE_MS;
    return superseded ? "certificate-superseded" : null;
  }

  /**
   * Takes note of one that counts. A host has a new certificate on its disk before it shows it, so the ones before are then
   * of no use to it. A number beyond what we remember is ours all the same: a database that was put back forgets.
   */
  shown({ host, sequence, issuer }: HostCertificate, now: number): void {
    const row = this.#rows.get(host);
    if (row === undefined || sequence <= row.used) return;
    const next = { ...row, used: sequence, usedAt: now, issuer, issued: Math.max(row.issued, sequence) };
    this.#rows.set(host, next);
    this.#store.saveUse(next).catch(this.#failed);
  }

  /** From a join: the one before, if any, is over. */
  began(row: IdentityRow): void {
    this.#rows.set(row.host, row);
  }

  /** The next certificate of this life. Throws `certificate-revoked` where it has ended meanwhile. */
  async issue({ host, generation }: HostCertificate, expiresAt: number): Promise<IdentityRow> {
    const row = await this.#store.issue(host, generation, expiresAt);
    const known = this.#rows.get(host);
    if (row === null || known === undefined || known.generation !== generation || known.revoked !== null) {
      throw new BelayError("certificate-revoked", `the identity of ${host} has ended`);
    }
    const next = { ...known, issued: Math.max(known.issued, row.issued), expiresAt };
    this.#rows.set(host, next);
    return row;
  }

  trusts(host: string, authorities: readonly string[]): void {
    const row = this.#rows.get(host);
    if (row === undefined || row.trusts?.join() === authorities.join()) return;
    this.#rows.set(host, { ...row, trusts: authorities });
    this.#store.saveTrusts(host, row.generation, authorities).catch(this.#failed);
  }

  /** For ever. Throws `identity-unknown` where there is nothing to end. */
  async revoke(host: string, revoked: NonNullable<IdentityRow["revoked"]>): Promise<void> {
    const row = await this.#store.revoke(host, revoked);
    if (row === null) {
      throw new BelayError("identity-unknown", `${host} has no identity that could be revoked`, {
        hint: "`belay agent list` shows them.",
      });
    }
    const known = this.#rows.get(host);
    this.#rows.set(host, { ...(known ?? row), revoked });
  }
}
