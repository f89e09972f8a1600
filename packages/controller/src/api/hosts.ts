import type { HostFacts } from "@belay/shared";
import type { BrokenGlass } from "../run/evidence.js";

/** Another belayd leads, or this one's data is an old copy. */
export interface Superseded {
  /** How that is known. */
  readonly why: string;
  /** Which hosts nothing is sent to: the first of them by name, and how many `more`. */
  readonly hosts: readonly string[] | "all";
  readonly more: number;
}

export interface Status {
  readonly version: string;
  readonly fleet: string;
  readonly hosts: { readonly declared: number; readonly present: number; readonly undeclared: number };
  readonly activeRuns: readonly string[];
  /** Null: it leads. */
  readonly superseded: Superseded | null;
  /** In runs that go on: gates that an admin let pass alone. */
  readonly brokenGlass: readonly (BrokenGlass & { readonly run: string })[];
}

export interface FleetView {
  readonly fleet: string;
  readonly environment: string;
  readonly clusters: readonly {
    readonly name: string;
    readonly trusts: string | null;
    readonly managed: boolean;
    readonly hosts: number;
  }[];
}

export interface HostView {
  readonly host: string;
  readonly declared: boolean;
  readonly cluster: string | null;
  readonly roles: readonly string[];
  readonly present: boolean;
  readonly lastSeenAt: number | null;
  readonly facts: HostFacts | null;
  /** Host's clock minus ours at the last facts, milliseconds. */
  readonly clockOffsetMs: number | null;
  readonly quarantine: { readonly by: string; readonly reason: string; readonly at: number } | null;
}
