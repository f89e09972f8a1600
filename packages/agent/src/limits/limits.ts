import { BelayError, compareVersions, type Op, type Step } from "@belay/shared";
import type { Clock } from "../clock.js";
import { readOwned } from "../owned-file.js";
import { ACTING, type LimitsConfig, type VersionRange } from "./config-limits.js";
import { isWithin } from "./hours.js";

/**
 * The host's own say: what its owner lets nobody do. Asked before a step is accepted, and again when its turn has come, so
 * that what is refused has touched nothing; what was begun is finished, or undone, even if a window closes meanwhile.
 */
export class Limits {
  readonly #config: LimitsConfig;
  readonly #clock: Pick<Clock, "now">;

  constructor(config: LimitsConfig, clock: Pick<Clock, "now">) {
    this.#config = config;
    this.#clock = clock;
  }

  /** Is there anything that it doesn't allow? */
  get isAny(): boolean {
    return Object.values(this.#config).some((limit) => limit !== null);
  }

  /** Throws `op-refused`, `hours-refused`, `version-refused`, `artifact-refused`, `artifacts-invalid`. Looking is free. */
  async mustAllow(step: Pick<Step, "op" | "check">): Promise<void> {
    const { op, check } = step;
    if (check || !ACTING.some((kind) => kind === op.kind)) return;
    const { ops, hours, artifacts } = this.#config;
    if (ops !== null && !ops.has(op.kind)) {
      throw refused("op-refused", `this host lets nobody ${op.kind}`, "ops", { op: op.kind });
    }
    const now = this.#clock.now();
    // What was stopped may be started at any time.
    if (hours !== null && op.kind !== "start" && !isWithin(hours, now)) {
      const at = new Date(now).toISOString();
      throw refused("hours-refused", `it is ${at}, and this host is not changed at that time`, "hours", { at });
    }
    this.#checkVersion(op);
    const digest = digestOf(op);
    if (artifacts !== null && digest !== null && !(await listed(artifacts)).has(digest)) {
      throw refused("artifact-refused", `${digest} is not in ${artifacts}`, "artifacts", { sha256: digest });
    }
  }

  #checkVersion(op: Op): void {
    const { versions, agentVersions } = this.#config;
    if (op.kind === "swap") mustBeIn(versions, op.to, "versions");
    else if (op.kind === "upgrade-agent") mustBeIn(agentVersions, op.to, "agentVersions");
    // Whose a fetched version is shows only when it is swapped in: it must be within what is allowed for either.
    else if (op.kind === "fetch" && (agentVersions === null || !isIn(agentVersions, op.version))) {
      mustBeIn(versions, op.version, "versions");
    }
  }
}

function mustBeIn(range: VersionRange | null, version: string, name: string): void {
  if (isIn(range, version)) return;
  const { lowest, highest } = range ?? { lowest: null, highest: null };
  const bounds = `from ${lowest ?? "any"} to ${highest ?? "any"}`;
  throw refused("version-refused", `${version} is not within this host's ${name}, ${bounds}`, name, { version });
}

function isIn(range: VersionRange | null, version: string): boolean {
  const { lowest = null, highest = null } = range ?? {};
  return (
    (lowest === null || compareVersions(version, lowest) >= 0) &&
    (highest === null || compareVersions(version, highest) <= 0)
  );
}

/** Going back takes what is on the host already. */
function digestOf(op: Op): string | null {
  return op.kind === "fetch" || op.kind === "swap" || op.kind === "upgrade-agent" ? op.sha256 : null;
}

/** The digests of a list as sha256sum writes it; a line that is none of its lines makes the whole list no list. */
async function listed(file: string): Promise<Set<string>> {
  const hint = "make it with sha256sum, from releases that you verified";
  const lines = (await readOwned(file, "artifacts-invalid", hint))
    .split("\n")
    .filter((line) => !/^\s*(#|$)/.test(line));
  return new Set(
    lines.map((line) => {
      const digest = /^([0-9a-f]{64})(?:\s|$)/.exec(line)?.[1];
      if (digest !== undefined) return digest;
      throw new BelayError("artifacts-invalid", `${file} has a line with no SHA-256: ${line.slice(0, 100)}`, { hint });
    }),
  );
}

function refused(code: string, message: string, field: string, context: Record<string, unknown>): BelayError {
  return new BelayError(code, message, { hint: `\`limits.${field}\` in this host's agent.yaml says so`, context });
}
