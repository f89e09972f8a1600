import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError, errorInfo } from "@belay/shared";
import { makeDir, orMissing, writeDurably } from "../durable.js";
import type { CommandResult } from "../exec.js";
import type { Logger } from "../log.js";
import { parseShow } from "./systemd-show.js";

/** Whom a stop of a unit has systemd stop, too, as `systemctl show` names these relations. */
export const TAKES_ALONG = "RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo";
const SHOW_TIMEOUT_MS = 10_000;
/** The service itself is up by then and waits to be watched; systemd goes on with what takes longer. */
const START_TIMEOUT_MS = 30_000;

/** Kept over the agent's lives (I14): a stop and the start after it may be steps of their own. */
interface Taken {
  readonly units: readonly string[];
  /** A start has brought them back since. */
  readonly isBack: boolean;
}

/**
 * The units that go down with a service because they require it, or are part of it. systemd stops them with it and starts none of them
 * again, so whoever stops it notes which of them run, and whoever starts it starts those (docs/decisions/0055). They are somebody
 * else's: nothing that is wrong with them is a reason to stop less, or to go back.
 */
export class TakenAlong {
  readonly #unit: string;
  readonly #file: string;
  readonly #log: Logger;
  readonly #systemctl: (args: string[], timeoutMs: number) => Promise<CommandResult>;
  #taken: Taken | null = null;

  constructor(options: {
    unit: string;
    file: string;
    log: Logger;
    systemctl: (args: string[], timeoutMs: number) => Promise<CommandResult>;
  }) {
    this.#unit = options.unit;
    this.#file = options.file;
    this.#log = options.log.child({ unit: options.unit });
    this.#systemctl = options.systemctl;
  }

  /** Before a stop. `isSound`: it runs, and has not crashed since it was started: what is down now was not taken along before. */
  async note(shown: ReadonlyMap<string, string>, isSound: boolean): Promise<void> {
    try {
      const before = await this.#known();
      const kept = before.isBack && isSound ? [] : before.units;
      const units = [...new Set([...kept, ...(await this.#activeOf(namesIn(shown)))])];
      if (units.length > 0 || before.units.length > 0) await this.#keep({ units, isBack: false });
    } catch (error) {
      this.#log.warn({ error: errorInfo(error) }, "what a stop takes along can't be noted");
    }
  }

  /** After a start. Idempotent. */
  async bringBack(): Promise<void> {
    try {
      const { units, isBack } = await this.#known();
      if (isBack || units.length === 0) return;
      // All that such a target wants besides may have been stopped on purpose.
      const isTarget = (unit: string) => unit.endsWith(".target");
      await this.#start(units.filter((unit) => !isTarget(unit)));
      await this.#start(units.filter(isTarget), "--job-mode=ignore-dependencies");
      const left = (await this.#show(units)).filter((shown) => !isActive(shown)).map((shown) => shown.get("Id"));
      if (left.length > 0) this.#log.warn({ units: left }, "units that were stopped along did not come up again");
      await this.#keep({ units, isBack: true });
    } catch (error) {
      this.#log.warn({ error: errorInfo(error) }, "what was stopped along can't be started again");
    }
  }

  async #start(units: readonly string[], ...how: string[]): Promise<void> {
    if (units.length === 0) return;
    try {
      await this.#systemctl(["start", ...how, "--", ...units], START_TIMEOUT_MS);
    } catch (error) {
      // What is not up is told below.
      if (!(error instanceof BelayError) || error.code !== "command-timeout") throw error;
    }
  }

  /** Those of them, and of whom they take along in turn, that run. */
  async #activeOf(names: readonly string[]): Promise<string[]> {
    const looked = new Set([this.#unit]);
    const active: string[] = [];
    for (let next = [...names]; next.length > 0; ) {
      for (const name of next) looked.add(name);
      const shown = await this.#show(next);
      active.push(...shown.filter(isActive).map((each) => each.get("Id") ?? ""));
      next = [...new Set(shown.flatMap(namesIn))].filter((name) => !looked.has(name));
    }
    return active;
  }

  async #show(units: readonly string[]): Promise<Map<string, string>[]> {
    const args = ["show", "-p", `Id,ActiveState,${TAKES_ALONG}`, "--", ...units];
    const { stdout } = await this.#systemctl(args, SHOW_TIMEOUT_MS);
    return stdout.split(/\n\n+/).map(parseShow);
  }

  async #known(): Promise<Taken> {
    this.#taken ??= (await readTaken(this.#file)) ?? { units: [], isBack: true };
    return this.#taken;
  }

  async #keep(taken: Taken): Promise<void> {
    this.#taken = taken;
    await makeDir(dirname(this.#file), 0o700);
    await writeDurably(this.#file, `${JSON.stringify(taken)}\n`, 0o600);
  }
}

function namesIn(shown: ReadonlyMap<string, string>): string[] {
  return TAKES_ALONG.split(",").flatMap((relation) => (shown.get(relation) ?? "").split(" ").filter(Boolean));
}

function isActive(shown: ReadonlyMap<string, string>): boolean {
  return ["active", "reloading"].includes(shown.get("ActiveState") ?? "");
}

/** Null: no stop has ever taken anything along. */
async function readTaken(file: string): Promise<Taken | null> {
  const text = await orMissing(readFile(file, "utf8"));
  if (text === null) return null;
  const { units, isBack } = JSON.parse(text) as Partial<Taken>;
  if (Array.isArray(units) && units.every((unit) => typeof unit === "string") && typeof isBack === "boolean") {
    return { units, isBack };
  }
  throw new BelayError("service-state-corrupt", `${file} does not say which units were stopped along`, {
    hint: "remove it, and start by hand what this host lacks",
    context: { file },
  });
}
