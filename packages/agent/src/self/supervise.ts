import { errorInfo } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { Child } from "../exec.js";
import { type Watch, type Watching, watchUpgrade } from "./watch.js";

/** Once its signal is aborted, the agent ends too. */
export interface Supervising extends Watch {
  /** Starts what the link leads to at this moment. Throws `command-not-started`. */
  start: () => Promise<Child>;
}

/** As long as systemd's unit waits. */
const RESTART_DELAY_MS = 1_000;
const LOOK_MS = 200;

/**
 * What systemd is elsewhere, for machines that have none: keeps one agent running, and is the net under its upgrades. The
 * agent's exit, by itself or by force, is always followed by a start of what the link leads to then.
 */
export async function supervise({ files, clock, log, start, signal }: Supervising): Promise<void> {
  let child: Child | null = null;
  const end = () => child?.kill("SIGTERM");
  signal.addEventListener("abort", end, { once: true });
  const restartAgent = async () => {
    child?.kill("SIGKILL");
    await child?.ended;
  };
  const watching = keepWatching({ files, clock, log, restartAgent, signal });
  while (!signal.aborted) {
    try {
      child = await start();
      log.info({ agentPid: child.pid }, "agent started");
      const how = await child.ended;
      log.info({ agentPid: child.pid, how }, "agent ended");
    } catch (error) {
      log.error({ error: errorInfo(error) }, "the agent can't be started");
    }
    await pause(RESTART_DELAY_MS, clock, signal);
  }
  await watching;
}

/** A watch that failed (a full disk, say) is taken up again: there is nobody else to do it. */
async function keepWatching(watching: Watching): Promise<void> {
  const { clock, log, signal } = watching;
  while (!signal.aborted) {
    try {
      await watchUpgrade(watching);
    } catch (error) {
      if (!signal.aborted) log.error({ error: errorInfo(error) }, "the agent's upgrade can't be watched");
    }
    await pause(LOOK_MS, clock, signal);
  }
}

/** Until the time is over, or this must end. */
async function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => {});
}
