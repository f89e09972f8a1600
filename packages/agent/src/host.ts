import type { Allowed } from "./allowed.js";
import type { Clock } from "./clock.js";
import type { Exec } from "./exec.js";
import type { Banner } from "./facts/banner.js";
import type { Http } from "./http.js";
import type { Controller } from "./link/socket.js";
import type { Logger } from "./log.js";
import type { Self } from "./self/self.js";

/** What machine this is, in Node's words. */
export interface Machine {
  os: string;
  arch: string;
}

/** The host as ops see it: everything they may use to look at it and to change it. */
export interface Host {
  name: string;
  machine: Machine;
  allowed: Allowed;
  clock: Clock;
  http: Http;
  exec: Exec;
  log: Logger;
  /** Remembers which build is installed. */
  banner: Banner;
  /** Where artifacts come from, and with which credentials. */
  controller: Controller;
  /** A download that stands still this long is given up; it resumes at the next attempt. */
  downloadIdleMs: number;
  /** Where the agent keeps what it must remember. */
  stateDir: string;
  /** Where the host's owner puts executables for certain moments. */
  hooksDir: string;
  /** The age identity that encrypted copies are read back with; null: there is none here. */
  identityFile: string | null;
  /** The agent's own place on this host; null: agent.yaml doesn't say who supervises it. */
  self: Self | null;
}
