import type { HostOnDisk, StateServer } from "../fleet-on-disk/index.js";

export interface AuditEvent {
  readonly seq: number;
  readonly version: string;
}

/** A cluster's state as a test looks at it, past the stand-in: with the tools of whatever keeps it. */
export interface KeptState {
  /** What the cluster's layout names; null: a file on the host. */
  readonly server: StateServer | null;
  /** The version that last wrote it; null: nobody did. */
  version(host: HostOnDisk): Promise<string | null>;
  /** The audit events in their order, each with the version that wrote it. */
  audit(host: HostOnDisk): Promise<AuditEvent[]>;
  /** Majors that any resource is in the format of, ascending. */
  formats(host: HostOnDisk): Promise<number[]>;
  /** Keeps a copy, and returns what puts it back, whoever runs on it. */
  copy(host: HostOnDisk): Promise<() => Promise<void>>;
}

/** A state that can be looked at from anywhere: a server keeps it. */
export interface ReadState {
  version(): Promise<string | null>;
  audit(): Promise<AuditEvent[]>;
  formats(): Promise<number[]>;
}

/** One kind of backend. `fresh` is an empty state of its own for one test. */
export interface States {
  fresh(): Promise<KeptState>;
}
