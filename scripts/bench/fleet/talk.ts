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

/** Forget how agents came back the last time. With `backoff` false they dial anew without waiting. */
export interface Brace {
  readonly type: "brace";
  readonly backoff: boolean;
}

/** Answer when all agents have come back, or when the time is over; with `cut`, cut all their connections first. */
export interface ComeBack {
  readonly type: "come-back";
  readonly cut: boolean;
  readonly withinMs: number;
}

export type Order = Start | Gather | Brace | ComeBack;

/** How one agent came back; times by the clock of this machine, null for what has not happened. */
export interface Return {
  readonly welcomedAt: number | null;
  /** When it had sent what is on its host: nothing is missing then that belayd wants to know of it. */
  readonly toldAt: number | null;
  readonly dials: number;
  /** What it chose to wait before its dials, milliseconds. */
  readonly backoffMs: number;
}

/** Why dials came to nothing, and how many did. */
export type Failures = Readonly<Record<string, number>>;

export type Answer =
  | { readonly type: "started" }
  /** Steps whose outcome is on belayd's disk, and when its agent learned of that. */
  | { readonly type: "gathered"; readonly acks: readonly (readonly [step: string, at: number])[] }
  | { readonly type: "braced" }
  | { readonly type: "returned"; readonly returns: readonly Return[]; readonly failures: Failures }
  | { readonly type: "failed"; readonly message: string };
