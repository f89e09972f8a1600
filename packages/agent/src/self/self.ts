import { BelayError } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { SelfConfig } from "../config.js";
import type { Exec } from "../exec.js";
import type { UpgradeFiles } from "./upgrade-files.js";

/** The agent as a thing on its host that can be replaced: who supervises it, and how it stands with its controller. */
export interface Self {
  readonly files: UpgradeFiles;
  /** The file that a new version must be able to read. */
  readonly configFile: string;
  /** Settles when somebody watches the pending upgrade. Idempotent. Throws `rescue-not-ready`. */
  arm(step: string): Promise<void>;
  /** Ends this process soon, for its supervisor to start what the link leads to. Its steps are halted. */
  leave(): void;
  /** How long the controller has been served on this very connection; null: it isn't. */
  servedMs(): number | null;
  /** Why the last connection ended; null: none has. */
  lastTrouble(): string | null;
}

/** What of it the connection and the process itself know. */
export type SelfParts = Pick<Self, "configFile" | "leave" | "servedMs" | "lastTrouble">;

const ARM_TIMEOUT_MS = 10_000;
const ARM_POLL_MS = 50;
const SYSTEMCTL_TIMEOUT_MS = 10_000;

export function openSelf(
  config: SelfConfig,
  world: { exec: Exec; clock: Clock; files: UpgradeFiles },
  parts: SelfParts,
): Self {
  const { exec, clock, files } = world;
  return {
    ...parts,
    files,
    async arm(step) {
      if (config.manager === "systemd") await startRescue(config.rescue, exec);
      const until = clock.ticks() + ARM_TIMEOUT_MS;
      while (!(await files.isWatched(step))) {
        if (clock.ticks() >= until) throw notReady(config);
        await clock.sleep(ARM_POLL_MS);
      }
    },
  };
}

async function startRescue(unit: string, exec: Exec): Promise<void> {
  const started = await exec.run(["systemctl", "--no-ask-password", "start", unit], {
    timeoutMs: SYSTEMCTL_TIMEOUT_MS,
  });
  if (started.code === 0) return;
  throw new BelayError(
    "rescue-not-ready",
    `systemctl start ${unit}: ${started.stderr.trim() || `exit ${started.code}`}`,
    {
      hint: `look at \`journalctl -u ${unit}\`; the agent's package brings this unit`,
      context: { unit },
    },
  );
}

function notReady(config: SelfConfig): BelayError {
  const who = config.manager === "systemd" ? config.rescue : "`belay-agent supervise`";
  return new BelayError("rescue-not-ready", `nobody watches this upgrade: ${who} did not say so`, {
    hint: "nothing was touched. See `self` in docs/configuration.md for who must run",
  });
}
