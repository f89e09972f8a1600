import { join } from "node:path";
import { BelayError } from "@belay/shared";
import { type Agent, startAgent } from "./agent.js";
import { systemClock } from "./clock.js";
import type { AgentConfig } from "./config.js";
import { startChild, systemExec } from "./exec.js";
import { systemHttp } from "./http.js";
import { HostIdentity } from "./identity/host-identity.js";
import { readToken } from "./identity/token.js";
import { type JournalDisk, openJournalDisk } from "./journal/disk.js";
import { byToken, webSocketDial } from "./link/socket.js";
import type { Logger, LogLevel } from "./log.js";
import { systemdRestart } from "./self/rescue.js";
import { supervise } from "./self/supervise.js";
import { UpgradeFiles } from "./self/upgrade-files.js";
import { watchUpgrade } from "./self/watch.js";

/**
 * Starts the agent with this host's own time, disk and network. `leave` ends this process soon, to be started again. Throws
 * what `startAgent` throws, and `token-invalid` or `config-unreadable` where a token does for an identity.
 */
export async function startDaemon(config: AgentConfig, log: Logger, leave: () => void): Promise<Agent> {
  const identity = await openIdentity(config, log);
  const controller = identity ?? byToken(config.controller, await readToken(config.tokenFile, log));
  return startAgent({
    config,
    leave,
    controller,
    ...(identity === null ? {} : { identity }),
    clock: systemClock,
    random: Math.random,
    dial: webSocketDial(controller),
    http: systemHttp,
    exec: systemExec,
    log,
    machine: { os: process.platform, arch: process.arch },
    journalDisk: await openJournalOf(config),
    env: { PATH: process.env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  });
}

/**
 * Who this host is; null: nobody, because belayd is on this very machine and is told a token in the clear. Joins by
 * `tokenFile`, or agent.yaml's own. Throws `identity-damaged`.
 */
export async function openIdentity(
  { controller: base, host, stateDir, tokenFile: own }: AgentConfig,
  log: Logger,
  tokenFile = own,
): Promise<HostIdentity | null> {
  if (base.startsWith("http:")) return null;
  return HostIdentity.open({ base, host, stateDir, tokenFile, clock: systemClock, random: Math.random, log });
}

/** Where the agent's memory lies. */
export function openJournalOf({ stateDir }: AgentConfig): Promise<JournalDisk> {
  return openJournalDisk(join(stateDir, "journal"));
}

/** What stands beside an agent, and under its upgrades, until `signal`. Throws `usage` where agent.yaml asks for none. */
export async function standBy(
  command: "supervise" | "rescue",
  config: AgentConfig,
  { level, log, signal }: { level: LogLevel; log: Logger; signal: AbortSignal },
): Promise<void> {
  const { self } = config;
  const world = { files: new UpgradeFiles(config.stateDir), clock: systemClock, log, signal };
  if (command === "supervise" && self?.manager === "process") {
    const argv = [self.program, "--config", config.file, "--log-level", level];
    await supervise({ ...world, start: () => startChild(argv) });
  } else if (command === "rescue" && self?.manager === "systemd") {
    const watched = watchUpgrade({ ...world, restartAgent: systemdRestart(self, systemExec) });
    await watched.catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  } else {
    throw new BelayError("usage", `${config.file} asks for no ${command}: self is ${self?.manager ?? "not declared"}`, {
      hint: "`supervise` goes with `self: { manager: process }`, `rescue` with `self: { manager: systemd }`",
    });
  }
}
