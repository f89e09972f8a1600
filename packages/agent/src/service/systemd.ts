import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";
import type { Clock } from "../clock.js";
import { orMissing } from "../durable.js";
import type { CommandResult, Exec } from "../exec.js";
import type { Logger } from "../log.js";
import { endLeftovers } from "./leftovers.js";
import { isInGroup } from "./proc.js";
import type { Definition, Service, ServiceStatus } from "./service.js";
import { mainProcess } from "./systemd-main.js";
import { isUsable, parseShow, restartsOf, stateOf, wordsOfLoad } from "./systemd-show.js";
import { TAKES_ALONG, TakenAlong } from "./taken-along.js";
import { definitionOf } from "./unit-files.js";

const SHOW_TIMEOUT_MS = 10_000;
/** A job may wait for the unit's own TimeoutStartSec or ExecReload; 90 s is systemd's default for both. */
const JOB_TIMEOUT_MS = 100_000;
/** A service that has just been started writes its PID file when it is up. */
const AGREE_TIMEOUT_MS = 10_000;
const AGREE_POLL_MS = 100;
const PROPERTIES = `MainPID,ActiveState,SubState,Job,NRestarts,Result,LoadState,NeedDaemonReload,CanReload,ExecReload,PIDFile,ControlGroup,FragmentPath,DropInPaths,${TAKES_ALONG}`;
/** So old may be what systemd said, where nothing was done since: each question starts a process. */
const JUST_NOW_MS = 1_000;
/** How long what was seen before a reload counts. */
const SEEN_BEFORE_MS = 10_000;
/** In so short a time nobody else makes a unit fail too often: a stop and a start forget its failures once for both. */
const FORGOTTEN_MS = 10_000;

/** What systemd said. */
interface Seen {
  readonly shown: Map<string, string>;
  /** Of the unit's files. */
  readonly stamps: string;
  readonly at: number;
}

/** A service that systemd supervises. Everything goes through systemctl, as argument lists. */
export class SystemdService implements Service {
  readonly name: string;
  readonly #unit: string;
  readonly #exec: Exec;
  readonly #clock: Clock;
  readonly #systemctl: string;
  readonly #unitFolders: readonly string[] | undefined;
  readonly #along: TakenAlong;
  /** Of the unit, as last seen. */
  #pidFile = "";
  #group = "";
  #seen: Seen | null = null;
  /** Of the unit's files, as systemd has read them, if it says so; null: not known. */
  #inForce: string | null = null;
  #seenBeforeReload: Seen | null = null;
  #forgottenAt = Number.NEGATIVE_INFINITY;

  constructor(options: {
    name: string;
    unit: string;
    exec: Exec;
    clock: Clock;
    log: Logger;
    stateDir: string;
    systemctl?: string;
    /** Where unit files lie; absent: where systemd looks for them. */
    unitFolders?: readonly string[];
  }) {
    this.name = options.name;
    this.#unit = options.unit;
    this.#exec = options.exec;
    this.#clock = options.clock;
    this.#systemctl = options.systemctl ?? "systemctl";
    this.#unitFolders = options.unitFolders;
    this.#along = new TakenAlong({
      unit: options.unit,
      file: join(options.stateDir, "services", `${options.name}.along.json`),
      log: options.log,
      systemctl: (args, timeoutMs) => this.#systemctlRun(args, timeoutMs),
    });
  }

  async status(): Promise<ServiceStatus> {
    return statusOf(await this.#show());
  }

  definition(versionsDir: string): Promise<Definition | null> {
    return definitionOf(this.#unit, versionsDir, this.#unitFolders);
  }

  async needDefinition(): Promise<ServiceStatus> {
    const shown = (await this.#stillTrue(this.#seen, JUST_NOW_MS)) ?? (await this.#fresh());
    this.#needUnit(shown);
    return statusOf(shown);
  }

  async start(): Promise<void> {
    const shown = await this.#fresh();
    if (stateOf(shown) === "running") return this.#along.bringBack();
    this.#needUnit(shown);
    // systemd would leave a start waiting for RestartSec to pass; a unit that is stopped first starts at once.
    if (shown.get("SubState") === "auto-restart") {
      await this.#along.note(shown, false);
      await this.#job("stop", [this.#unit]);
    }
    const isFailed = shown.get("ActiveState") === "failed";
    if (isFailed || this.#clock.ticks() - this.#forgottenAt > FORGOTTEN_MS) {
      const forgotten = await this.#forget();
      if (isFailed) this.#succeed("reset-failed", forgotten);
    }
    this.#forgottenAt = Number.NEGATIVE_INFINITY;
    try {
      await this.#job("start", [this.#unit]);
    } catch (error) {
      // A unit of Type=notify may take its time to become ready, as an auth that migrates does: whoever watches it judges.
      if (!isTimeout(error)) throw error;
    }
    await this.#along.bringBack();
  }

  async stop(timeoutMs: number): Promise<void> {
    const shown = await this.#fresh();
    const group = shown.get("ControlGroup") ?? "";
    // Perhaps by an earlier life that did not come to the rest of this.
    if (stateOf(shown) === "stopped") return this.#endLeftovers(group);
    this.#seen = null;
    await this.#along.note(shown, stateOf(shown) === "running" && restartsOf(shown) === 0);
    const stopped = await this.#systemctlRun(["stop", this.#unit], timeoutMs).catch(async (error: unknown) => {
      if (!isTimeout(error)) throw error;
      await this.#job("kill", ["--signal=SIGKILL", this.#unit]);
      return this.#systemctlRun(["stop", this.#unit], JOB_TIMEOUT_MS);
    });
    this.#succeed("stop", stopped);
    await this.#endLeftovers(group);
    // What crashed until systemd gave up, was killed above, or ended with an error stays failed: whoever stopped it
    // takes that for a service between two restarts.
    await this.#forget();
    this.#forgottenAt = this.#clock.ticks();
  }

  async beforeReload(alone: boolean): Promise<ServiceStatus> {
    const shown = (alone ? await this.#stillTrue(this.#seen, JUST_NOW_MS) : null) ?? (await this.#fresh());
    this.#seenBeforeReload = this.#seen;
    return statusOf(shown);
  }

  /** Through the unit's own ExecReload. Throws `service-cannot-reload` where that can't work: a restart can. */
  async reload(): Promise<void> {
    const before = this.#seenBeforeReload;
    this.#seenBeforeReload = null;
    const shown = (await this.#stillTrue(before, SEEN_BEFORE_MS)) ?? (await this.#fresh());
    if (stateOf(shown) !== "running") {
      throw new BelayError("service-not-running", `${this.name} does not run`, { hint: "start it" });
    }
    this.#needUnit(shown);
    if (shown.get("CanReload") === "no") {
      throw cannotReload(this.#unit, "its unit has no ExecReload");
    }
    await this.#agreement(shown);
    await this.#job("reload", [this.#unit]);
  }

  /** The PID file is where a successor announces itself; without one only systemd knows. */
  async glimpse(): Promise<number | null> {
    if (this.#pidFile === "") return (await this.status()).pid;
    const named = Number(await orMissing(readFile(this.#pidFile, "utf8")));
    return named > 0 && (await isInGroup(named, this.#group)) ? named : null;
  }

  async close(): Promise<void> {}

  /** Null: it is too long ago, or the unit's files are others now: the switch of a link may do that. */
  async #stillTrue(seen: Seen | null, maxAgeMs: number): Promise<Map<string, string> | null> {
    if (seen === null || this.#clock.ticks() - seen.at > maxAgeMs) return null;
    if (seen.shown.get("NeedDaemonReload") === "yes") return null;
    return (await stampsOf(seen.shown).catch(() => null)) === seen.stamps ? seen.shown : null;
  }

  /**
   * A reload that signals the PID in a stale file hits nobody, or somebody else. One that signals what systemd calls the main process
   * hits the wrong one as long as that drains after the last reload: it hears nothing any more, or forks once too often.
   */
  async #agreement(first: Map<string, string>): Promise<void> {
    const until = this.#clock.ticks() + AGREE_TIMEOUT_MS;
    for (let shown = first; ; shown = await this.#show()) {
      const { ailments, pid } = await statusOf(shown);
      if (ailments.length === 0) {
        const signalled = Number(shown.get("MainPID") ?? 0);
        if (pid === signalled || !/\$(MAINPID\b|\{MAINPID\})/.test(shown.get("ExecReload") ?? "")) return;
        const why = `its ExecReload signals $MAINPID, which is ${signalled}, left by the last reload to drain, and not ${pid}`;
        throw cannotReload(this.#unit, why);
      }
      if (this.#clock.ticks() >= until) throw cannotReload(this.#unit, ailments.join("; "));
      await this.#clock.sleep(AGREE_POLL_MS);
    }
  }

  #endLeftovers(group: string): Promise<void> {
    const kill = async () =>
      (await this.#systemctlRun(["kill", "--signal=SIGKILL", this.#unit], JOB_TIMEOUT_MS)).code === 0;
    return endLeftovers({ name: this.name, unit: this.#unit, group, kill, clock: this.#clock });
  }

  /**
   * A unit that crashed too often refuses to start until its failures are forgotten. For one that systemd doesn't even hold
   * in memory there is nothing to forget, which it calls an error.
   */
  #forget(): Promise<CommandResult> {
    this.#seen = null;
    return this.#systemctlRun(["reset-failed", this.#unit], JOB_TIMEOUT_MS);
  }

  /**
   * What systemd knows, once it has read unit files that changed on the disk. It notices only newer ones: not the older one to which the
   * link of a version leads again, nor what has taken the place of one that it couldn't use.
   */
  async #fresh(): Promise<Map<string, string>> {
    const shown = await this.#show();
    const isOther = this.#seen !== null && this.#seen.stamps !== this.#inForce;
    if (shown.get("NeedDaemonReload") !== "yes" && isUsable(shown) && !isOther) return shown;
    await this.#job("daemon-reload", []);
    this.#inForce = null;
    return this.#show();
  }

  #needUnit(shown: Map<string, string>): void {
    if (isUsable(shown)) return;
    const load = shown.get("LoadState") ?? "";
    const code = load === "not-found" ? "service-unknown" : "unit-unusable";
    throw new BelayError(code, `${wordsOfLoad(load)} ${this.#unit}`, {
      hint: "install or repair the unit file, or correct `unit` in agent.yaml",
      context: { unit: this.#unit, load },
    });
  }

  async #show(): Promise<Map<string, string>> {
    const at = this.#clock.ticks();
    const answer = await this.#systemctlRun(["show", "-p", PROPERTIES, this.#unit], SHOW_TIMEOUT_MS);
    this.#succeed("show", answer);
    const shown = parseShow(answer.stdout);
    this.#pidFile = shown.get("PIDFile") ?? "";
    this.#group = shown.get("ControlGroup") ?? "";
    // A file that can't be looked at is no reason to know nothing of the service; it only has to be asked about again.
    const stamps = await stampsOf(shown).catch(() => null);
    this.#seen = stamps === null ? null : { shown, stamps, at };
    if (shown.get("NeedDaemonReload") !== "yes") this.#inForce ??= stamps;
    return shown;
  }

  async #job(verb: string, args: string[]): Promise<void> {
    this.#seen = null;
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

async function statusOf(shown: Map<string, string>): Promise<ServiceStatus> {
  const { pid, ailment } = await mainProcess({
    mainPid: Number(shown.get("MainPID") ?? 0),
    pidFile: shown.get("PIDFile") ?? "",
    group: shown.get("ControlGroup") ?? "",
  });
  return { state: stateOf(shown), pid, restarts: restartsOf(shown), ailments: ailment === null ? [] : [ailment] };
}

/** Tells the files that a unit was read from, and the folders of its drop-ins, links followed, from others in their place. */
async function stampsOf(shown: Map<string, string>): Promise<string> {
  const fragment = shown.get("FragmentPath") ?? "";
  const dropIns = (shown.get("DropInPaths") ?? "").split(" ").filter((file) => file !== "");
  const files = [...(fragment === "" ? [] : [fragment, `${fragment}.d`]), ...dropIns, ...dropIns.map(dirname)];
  const stamps = await Promise.all(files.map((file) => orMissing(stat(file))));
  return stamps
    .map((file) => (file === null ? "gone" : `${file.dev}:${file.ino}:${file.mtimeMs}:${file.size}`))
    .join(" ");
}

function isTimeout(error: unknown): boolean {
  return error instanceof BelayError && error.code === "command-timeout";
}

function cannotReload(unit: string, why: string): BelayError {
  return new BelayError("service-cannot-reload", `${unit} can't be reloaded: ${why}`, {
    hint: "restart it; a reload keeps sessions only where ExecReload and the PID file work",
    context: { unit },
  });
}
