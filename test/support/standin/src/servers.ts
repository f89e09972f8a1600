import type { Instance } from "./alive.js";
import type { Client } from "./compat.js";

export interface Server extends Client {
  readonly uuid: string;
}

/** A server whose auth was silent for this long is gone. Several heartbeats of that auth. */
export const GONE_AFTER_MS = 1_500;

/** The owner of a connection, unique over all auths of a backend. */
export function ownerId(me: Instance, owner: string): string {
  return `${me.id}#${owner}`;
}

/** The auth that holds an owner's connection. */
export function instanceOf(owner: string): string {
  return owner.slice(0, owner.lastIndexOf("#"));
}
