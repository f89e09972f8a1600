import type { KnownHost } from "./known-hosts.js";

/** What the bench and a process full of agents say to each other. */

export interface Start {
  readonly type: "start";
  readonly controller: string;
  /** Each host's state is in a folder below. On tmpfs, where each agent's journal stands in for a disk that it would not share with others. */
  readonly dir: string;
  readonly hosts: readonly KnownHost[];
}

/** Answer when so many more outcomes were acknowledged. */
export interface Gather {
  readonly type: "gather";
  readonly acks: number;
}

export type Order = Start | Gather;

export type Answer =
  | { readonly type: "started" }
  /** Steps whose outcome is on belayd's disk, and when its agent learned of that. */
  | { readonly type: "gathered"; readonly acks: readonly (readonly [step: string, at: number])[] }
  | { readonly type: "failed"; readonly message: string };
