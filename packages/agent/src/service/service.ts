import type { ServiceState } from "@belay/shared";

export interface ServiceStatus {
  state: ServiceState;
  /** The main process; null when there is none. */
  pid: number | null;
  /** Restarts on its own since it was last started on purpose. */
  restarts: number;
  /** What is not right about it although it runs, in words: a stale PID file. */
  ailments: readonly string[];
}

/** How this host's owner has defined a service for its supervisor. */
export interface Definition {
  /** Digest over all of it: another means that somebody has changed it. */
  sha256: string;
  files: readonly string[];
  /** The one of them that was changed last. One that was taken away can't be named. */
  newest: string;
}

/** One service of this host, whoever supervises it. All calls are made one at a time, except `status`. */
export interface Service {
  readonly name: string;
  /** Looks, changes nothing. */
  status(): Promise<ServiceStatus>;
  /**
   * Its main process as far as that shows without asking its supervisor, at a hundredth of the price of `status`: a live process of
   * it. Null: that doesn't show.
   */
  glimpse(): Promise<number | null>;
  /**
   * Looks at all that a `reload` right after it depends on, so that this one need not: while it is asked, the service still serves
   * everybody. Nothing else that changes the service may come in between. `alone`: nobody else's program was run since the last look
   * either, so that one of a moment ago is still good. Answers its status.
   */
  beforeReload(alone: boolean): Promise<ServiceStatus>;
  /**
   * Looks at the definition on the disk, whether or not it is in force yet; what of it lies below `versionsDir` belongs to a version.
   * Null: there are no files that would say. Changes nothing.
   */
  definition(versionsDir: string): Promise<Definition | null>;
  /**
   * Reads how it is defined, if that has changed, touches no process, and answers its status, which may be a moment old. Throws where
   * it couldn't be started by it. Idempotent.
   */
  needDefinition(): Promise<ServiceStatus>;
  /** Idempotent: a running service is left alone. Returns when it was started, not when it is healthy. */
  start(): Promise<void>;
  /**
   * Idempotent. Asks, and after `timeoutMs` insists. Returns when no process of it is left. Stops also what couldn't be started again:
   * who has not touched anything yet asks `needDefinition` first.
   */
  stop(timeoutMs: number): Promise<void>;
  /** Asks the running service to renew itself, keeping sessions. Not idempotent. Doesn't wait for the effect. Throws where it can't. */
  reload(): Promise<void>;
  /** The agent goes away: stops watching. The service itself goes on. */
  close(): Promise<void>;
}
