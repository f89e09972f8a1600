import type { Admission, Standing } from "./rules.js";
import type { Server } from "./servers.js";

/**
 * Auth's state, which several auths may share. It remembers the version that last wrote it, who is alive on it, and whether
 * it was ever corrupted. Every rule about versions (rules.ts) is decided on a state that can't change before the decision is
 * written, so two auths that start at the same moment can't both think they are alone. Every method throws Unavailable when
 * the backend can't be had at the moment.
 */
export interface Backend {
  /** Safe to ask again after `wait`. */
  admit(): Promise<Admission>;
  /** Moves up to `count` resources to this major's format. Returns how many are left. */
  migrateSome(count: number): Promise<number>;
  /** Resources that are not in this major's format. */
  unmigrated(): Promise<number>;
  /** The heartbeat. Writes nothing where the backend was replaced. */
  beat(): Promise<Standing>;
  /** One audit event in a transaction of its own. The unbroken sequence shows what a restore lost. */
  audit(): Promise<void>;
  /** `owner` names the connection, so that a late goodbye of an old process can't remove its successor. Idempotent. */
  addServer(server: Server, owner: string): Promise<void>;
  removeServer(server: Server, owner: string): Promise<void>;
  /** Who is connected to the cluster, over all its live auths. */
  servers(): Promise<Server[]>;
  /** Takes this auth off the list of the living. Whoever dies without it is swept by the others. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

/** The backend is locked, unreachable, or too busy: what was asked was not done, and may be asked again. */
export class Unavailable extends Error {}
