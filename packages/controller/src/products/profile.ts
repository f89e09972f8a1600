import type { Role } from "@belay/shared";
import type { Vars } from "../inventory/fleet.js";

/**
 * All that is particular to one product, as data. Op templates are ops whose strings hold `{name}` placeholders; a
 * string that is nothing but a placeholder takes the value's own type (`"{settleMs}"` becomes a number, `"{snapshot}"`
 * an object). Filled in by `plan/program.ts`.
 */
export interface Profile {
  readonly product: string;
  /** Default variables of a host: where things lie, what the service is called. */
  readonly vars: Vars;
  /** Programs by name: the ops a host is asked to do in a stage, in order. `name:role` wins over `name`. */
  readonly programs: Readonly<Record<string, readonly OpTemplate[]>>;
  /** What an agent must look at on a host of this role (a FactProbe template). */
  readonly probe: Readonly<Record<Role, unknown>>;
  /** Path that answers a managed cluster's version, and the JSON pointer to it. */
  readonly managed: { readonly path: string; readonly pointer: string };
  /** Bytes unpacked per byte packed, for disk space checks. */
  readonly unpackedPerPacked: number;
  /** The product is the agents themselves. */
  readonly ofAgents?: true;
}

/** An op with placeholders; `kind` is always literal. */
export interface OpTemplate {
  readonly kind: string;
  readonly [field: string]: unknown;
}
