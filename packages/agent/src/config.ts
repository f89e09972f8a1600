import { BelayError, errorInfo, readVerifier, type Verifier } from "@belay/shared";
import { LineCounter, parseDocument } from "yaml";
import { type ApproveConfig, approve } from "./approvals/config-approve.js";
import { type BackendConfig, backend } from "./config-backend.js";
import { Field } from "./field.js";
import { isLoopback } from "./http.js";
import { type LimitsConfig, limits } from "./limits/config-limits.js";
import { SELF_SERVICE } from "./self/self-service.js";

/** The host owner's word on what this agent may do: /etc/belay/agent.yaml. */
export interface AgentConfig {
  /** Where it was read from: what an agent of another version will have to read, too. */
  file: string;
  /** Base address of belayd, with no trailing slash: https, or http on loopback. */
  controller: string;
  /** This host's name, as fleet.yaml declares it. */
  host: string;
  /** The token it joins with; for a belayd on loopback, the token that it shows each time. */
  tokenFile: string;
  stateDir: string;
  services: ReadonlyMap<string, ServiceConfig>;
  /** Every path of every op lies in one of these, or in stateDir. */
  directories: readonly string[];
  /** What health and backup commands may run, by name. */
  commands: ReadonlyMap<string, readonly string[]>;
  /** State backends that backups may keep and put back, by name. */
  backends: ReadonlyMap<string, BackendConfig>;
  /** The age identity that encrypted copies are read back with; null: this host can't read its own. */
  identityFile: string | null;
  /** Executables for certain moments of a step: drain, undrain ... */
  hooksDir: string;
  /** Who starts this agent again when it ends; null: nobody that it knows of, so it can't be upgraded through belayd. */
  self: SelfConfig | null;
  /** Who signs belayd's audit log; null: whoever signed the first checkpoint that this host saw. */
  auditKey: Verifier | null;
  /** Whose word counts when something is to be changed here. */
  approve: ApproveConfig;
  /** What nobody may do here, whoever asks. */
  limits: LimitsConfig;
}

export type SelfConfig =
  | { manager: "systemd"; unit: string; rescue: string }
  /** `belay-agent supervise` runs `program`, which leads over the link to the current version. */
  | { manager: "process"; program: string };

export type ServiceConfig = SystemdConfig | ProcessConfig;

export interface SystemdConfig {
  manager: "systemd";
  unit: string;
}

export interface ProcessConfig {
  manager: "process";
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Where the service writes its main pid; null: its oldest process is the main one. */
  pidFile: string | null;
  logFile: string;
  reloadSignal: NodeJS.Signals;
  /** How long after a crash it is started again. */
  restartDelayMs: number;
  /** What the service should be before anybody has ever started or stopped it. */
  initially: "running" | "stopped";
}

const SERVICE_FIELDS = {
  systemd: ["manager", "unit"],
  process: ["manager", "argv", "env", "cwd", "pidFile", "logFile", "reloadSignal", "restartDelayMs", "initially"],
} as const;
const DEFAULT_PROGRAM = "/opt/belay/agent/current/belay-agent";
const NAME = /^[A-Za-z0-9@_.:-]{1,128}$/;
const FIELDS = [
  "controller",
  "host",
  "tokenFile",
  "stateDir",
  "services",
  "directories",
  "commands",
  "backends",
  "identityFile",
  "hooksDir",
  "self",
  "audit",
  "approve",
  "limits",
];
const RELOAD_SIGNALS = ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** Reads agent.yaml's text. Throws `config-invalid`, naming file, line and field. */
export function parseConfig(text: string, file: string): AgentConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const line = lines.linePos(error.pos[0]).line;
    throw new BelayError("config-invalid", `${file}:${line}: ${error.message.split("\n")[0]}`, {
      hint: "correct the YAML",
      context: { file, line },
    });
  }
  const root = Field.root(file, lines, document);
  root.members(FIELDS);
  const stateDir = root.member("stateDir").path("/var/lib/belay-agent");
  const supervisor = root.member("self").absent ? null : self(root.member("self"));
  const services = [...root.member("services").members()].map(
    ([name, field]) => [name, service(name, field, stateDir, supervisor)] as const,
  );
  const backends = [...root.member("backends").members()].map(([name, field]) => {
    if (!NAME.test(name)) throw field.bad("is not a name for a backend");
    return [name, backend(field)] as const;
  });
  const identityFile = root.member("identityFile");
  const commands = [...root.member("commands").members()].map(([name, field]) => {
    if (!NAME.test(name)) throw field.bad("is not a name for a command");
    return [name, field.argv()] as const;
  });
  const directories = root
    .member("directories")
    .list()
    .map((each) => each.path());
  return {
    file,
    controller: address(root.member("controller")),
    host: root.member("host").matching(/^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/, "a host name of fleet.yaml"),
    tokenFile: root.member("tokenFile").path("/etc/belay/token"),
    stateDir,
    services: new Map(services),
    directories,
    commands: new Map(commands),
    backends: new Map(backends),
    hooksDir: root.member("hooksDir").path("/etc/belay/hooks.d"),
    identityFile: identityFile.absent ? null : identityFile.path(),
    self: supervisor,
    auditKey: auditKey(root.member("audit")),
    approve: approve(root.member("approve"), stateDir),
    limits: limits(root.member("limits"), stateDir),
  };
}

function auditKey(field: Field): Verifier | null {
  field.members(["key"]);
  const key = field.member("key");
  if (key.absent) return null;
  try {
    return readVerifier(key.text());
  } catch (error) {
    throw key.bad("is no key of an audit log", errorInfo(error).hint);
  }
}

const SELF_FIELDS = { systemd: ["manager", "unit", "rescue"], process: ["manager", "program"] } as const;

function self(field: Field): SelfConfig {
  const manager = field.member("manager").oneOf(["systemd", "process"] as const);
  field.members(SELF_FIELDS[manager]);
  if (manager === "process") return { manager, program: field.member("program").path(DEFAULT_PROGRAM) };
  const unitOf = (name: string, fallback: string) =>
    field.member(name).absent ? fallback : field.member(name).matching(NAME, "a unit's name");
  return {
    manager,
    unit: unitOf("unit", "belay-agent.service"),
    rescue: unitOf("rescue", "belay-agent-rescue.service"),
  };
}

function service(name: string, field: Field, stateDir: string, supervisor: SelfConfig | null): ServiceConfig {
  if (!/^[A-Za-z0-9@_.-]{1,128}$/.test(name)) throw field.bad("is not a name for a service");
  if (name === SELF_SERVICE) throw field.bad("is the agent itself", "describe it under `self`");
  const manager = field.member("manager").oneOf(["systemd", "process"] as const);
  field.members(SERVICE_FIELDS[manager]);
  if (manager === "systemd") return { manager, unit: field.member("unit").matching(NAME, "a unit's name") };
  if (supervisor?.manager === "systemd") {
    // Whatever systemd finds in the agent's own control group ends with the agent, and counts towards its memory.
    throw field
      .member("manager")
      .bad(
        "can't be process under an agent that systemd keeps",
        "write a unit for it, and name that: manager: systemd",
      );
  }
  const env = [...field.member("env").members()].map(([key, value]) => [key, value.text()] as const);
  const pidFile = field.member("pidFile");
  return {
    manager,
    argv: field.member("argv").argv(),
    env: Object.fromEntries(env),
    cwd: field.member("cwd").path("/"),
    pidFile: pidFile.absent ? null : pidFile.path(),
    logFile: field.member("logFile").path(`${stateDir}/${name}.log`),
    reloadSignal: field.member("reloadSignal").oneOf(RELOAD_SIGNALS, "SIGHUP"),
    restartDelayMs: field.member("restartDelayMs").integer({ min: 0, max: 3_600_000, fallback: 5000 }),
    initially: field.member("initially").oneOf(["running", "stopped"] as const, "stopped"),
  };
}

function address(field: Field): string {
  const text = field.matching(/^https?:\/\/[^/?#\s]+\/?$/, "an address like https://belay.internal:7443");
  if (text.startsWith("http:") && !isLoopback(new URL(text).hostname)) {
    throw field.bad("must be https: this host's token would travel in the clear");
  }
  return text.replace(/\/$/, "");
}
