import { BelayError } from "@belay/shared";
import type { Clock } from "../clock.js";
import { isInGroup, processesIn } from "./proc.js";

/** After SIGKILL only a process stuck in the kernel stays this long. */
const KILL_TIMEOUT_MS = 5_000;
const LOOK_AGAIN_MS = 100;

export interface Stopped {
  readonly name: string;
  readonly unit: string;
  /** The control group that the unit had; empty: none. */
  readonly group: string;
  /** Has systemd kill what is left of the unit. False: it would not. */
  readonly kill: () => Promise<boolean>;
  readonly clock: Clock;
}

/**
 * Ends what a stopped unit has left. With KillMode=process systemd leaves children behind: of two versions at once, one would be such a
 * child. They may be anybody's, a session's shell for one, and only systemd may end those: the agent has no right to. Idempotent; throws
 * `service-stop-failed` for what survives.
 */
export async function endLeftovers({ name, unit, group, kill, clock }: Stopped): Promise<void> {
  const until = clock.ticks() + KILL_TIMEOUT_MS;
  for (;;) {
    const left = group === "" ? [] : await processesIn(group);
    if (left.length === 0) return;
    if (clock.ticks() >= until) {
      throw new BelayError("service-stop-failed", `${name} survives SIGKILL`, {
        hint: "a process is stuck in the kernel: look at its disk or network file system",
        context: { unit, pids: left },
      });
    }
    // What ended by itself meanwhile, and a systemd that forgets what a stopped unit left, are no reason to give up.
    if (!(await kill())) for (const pid of left) if (await isInGroup(pid, group)) killIfAllowed(pid);
    await clock.sleep(LOOK_AGAIN_MS);
  }
}

/** Gone by now, or somebody else's: whoever kills looks again at what is left. */
function killIfAllowed(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "EPERM") throw error;
  }
}
