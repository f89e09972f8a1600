import { BelayError } from "@belay/shared";
import type { CommandResult, Exec } from "../exec.js";
import type { Service, ServiceStatus } from "./service.js";

const SHOW_TIMEOUT_MS = 10_000;
/** A job may wait for the unit's own TimeoutStartSec or ExecReload; 90 s is systemd's default for both. */
const JOB_TIMEOUT_MS = 100_000;
const PROPERTIES = "MainPID,ActiveState,SubState,NRestarts,Result,LoadState,NeedDaemonReload";

/** A service that systemd supervises. Everything goes through systemctl, as argument lists. */
export class SystemdService implements Service {
  readonly name: string;
  readonly #unit: string;
  readonly #exec: Exec;
  readonly #systemctl: string;

  constructor(options: { name: string; unit: string; exec: Exec; systemctl?: string }) {
    this.name = options.name;
    this.#unit = options.unit;
    this.#exec = options.exec;
    this.#systemctl = options.systemctl ?? "systemctl";
  }

  async status(): Promise<ServiceStatus> {
    return statusOf(await this.#show());
  }

  async start(): Promise<void> {
    const shown = await this.#show();
    if (shown.get("LoadState") === "not-found") {
      throw new BelayError("service-unknown", `systemd knows no unit ${this.#unit}`, {
        hint: "install the unit file, or correct `unit` in agent.yaml",
        context: { unit: this.#unit },
      });
    }
    if (shown.get("NeedDaemonReload") === "yes") await this.#job("daemon-reload", []);
    if (statusOf(shown).state === "running") return;
    // A unit that crashed too often refuses to start until its failures are forgotten; also sets NRestarts to 0.
    await this.#job("reset-failed", [this.#unit]);
    await this.#job("start", [this.#unit]);
  }

  async stop(timeoutMs: number): Promise<void> {
    if (statusOf(await this.#show()).state === "stopped") return;
    const stopped = await this.#systemctlRun(["stop", this.#unit], timeoutMs).catch(async (error: unknown) => {
      if (!(error instanceof BelayError && error.code === "command-timeout")) throw error;
      await this.#job("kill", ["--signal=SIGKILL", this.#unit]);
      return this.#systemctlRun(["stop", this.#unit], JOB_TIMEOUT_MS);
    });
    this.#succeed("stop", stopped);
  }

  async reload(): Promise<void> {
    if ((await this.#show()).get("NeedDaemonReload") === "yes") await this.#job("daemon-reload", []);
    await this.#job("reload", [this.#unit]);
  }

  async close(): Promise<void> {}

  async #show(): Promise<Map<string, string>> {
    const shown = await this.#systemctlRun(["show", "-p", PROPERTIES, this.#unit], SHOW_TIMEOUT_MS);
    this.#succeed("show", shown);
    return parseShow(shown.stdout);
  }

  async #job(verb: string, args: string[]): Promise<void> {
    this.#succeed(verb, await this.#systemctlRun([verb, ...args], JOB_TIMEOUT_MS));
  }

  #systemctlRun(args: string[], timeoutMs: number): Promise<CommandResult> {
    return this.#exec.run([this.#systemctl, "--no-ask-password", ...args], { timeoutMs });
  }

  #succeed(verb: string, result: CommandResult): void {
    if (result.code === 0) return;
    throw new BelayError(
      "systemctl-failed",
      `systemctl ${verb} ${this.#unit}: ${result.stderr.trim() || `exit ${result.code}`}`,
      {
        hint: `look at \`journalctl -u ${this.#unit}\``,
        context: { unit: this.#unit, verb, exit: result.code },
      },
    );
  }
}

/** `systemctl show` prints one `Name=value` a line. */
export function parseShow(text: string): Map<string, string> {
  const shown = new Map<string, string>();
  for (const line of text.split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) shown.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return shown;
}

function statusOf(shown: Map<string, string>): ServiceStatus {
  const pid = Number(shown.get("MainPID") ?? 0);
  const restarts = Number(shown.get("NRestarts") ?? 0);
  return { state: stateOf(shown), pid: pid > 0 ? pid : null, restarts: Number.isInteger(restarts) ? restarts : 0 };
}

function stateOf(shown: Map<string, string>): ServiceStatus["state"] {
  switch (shown.get("ActiveState")) {
    case "active":
    case "reloading":
      return "running";
    case "inactive":
      return "stopped";
    case "failed":
      return "failed";
    case "activating":
      // Between a crash and the next start systemd says activating (auto-restart): it is not running.
      return shown.get("SubState") === "auto-restart" ? "failed" : "unknown";
    default:
      return "unknown";
  }
}
