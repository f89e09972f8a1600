export { AGENT_VERSION } from "./about.js";
export { type Agent, type AgentOptions, startAgent } from "./agent.js";
export { allowedBy } from "./allowed.js";
export { Approvals } from "./approvals/approvals.js";
export { type Clock, listen, systemClock } from "./clock.js";
export { type AgentConfig, type ProcessConfig, parseConfig, type ServiceConfig, type SystemdConfig } from "./config.js";
export { unmanage } from "./entry/unmanage.js";
export { type Exec, systemExec } from "./exec.js";
export { Banner } from "./facts/banner.js";
export { samplesOf } from "./facts/metrics.js";
export { Gathering } from "./gather.js";
export type { Host } from "./host.js";
export { type Http, systemHttp } from "./http.js";
export { HostIdentity, type HostIdentityOptions } from "./identity/host-identity.js";
export { IdentityFile } from "./identity/identity-file.js";
export { findAuthority } from "./identity/introduction.js";
export { believing, namesIn } from "./identity/peer.js";
export { type JournalDisk, openJournalDisk } from "./journal/disk.js";
export { Journal, type JournalEntry } from "./journal/journal.js";
export { Limits } from "./limits/limits.js";
export { backoffMs } from "./link/backoff.js";
export {
  byToken,
  type Controller,
  type Dial,
  type Socket,
  type SocketEvents,
  socketError,
  webSocketDial,
} from "./link/socket.js";
export type { RedialPolicy } from "./link/supervisor.js";
export { createLogger, LOG_LEVELS, type Logger, type LogLevel, silentLogger } from "./log.js";
export { settle } from "./ops/settle.js";
export { ownedPath } from "./owned-file.js";
export { whatWasSaid } from "./said.js";
export { systemdRestart } from "./self/rescue.js";
export { openSelf } from "./self/self.js";
export { UpgradeFiles } from "./self/upgrade-files.js";
export { watchUpgrade } from "./self/watch.js";
export { isBelow } from "./service/proc.js";
export { ProcessService } from "./service/process.js";
export type { Service, ServiceStatus } from "./service/service.js";
export { SystemdService } from "./service/systemd.js";
export { definitionOf } from "./service/unit-files.js";
